// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Protos.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace caat;
using ::onnx::AttributeProto;
using ::onnx::TensorProto;

TensorProto::DataType caat::dataTypeOf(Type element) {
  using Result = TensorProto::DataType;
  return llvm::TypeSwitch<Type, Result>(element)
      .Case([](Float32Type) { return TensorProto::FLOAT; })
      .Case([](Float64Type) { return TensorProto::DOUBLE; })
      .Case([](Float16Type) { return TensorProto::FLOAT16; })
      .Case([](BFloat16Type) { return TensorProto::BFLOAT16; })
      .Case([](Float8E4M3FNType) { return TensorProto::FLOAT8E4M3FN; })
      .Case([](Float8E4M3FNUZType) { return TensorProto::FLOAT8E4M3FNUZ; })
      .Case([](Float8E5M2Type) { return TensorProto::FLOAT8E5M2; })
      .Case([](Float8E5M2FNUZType) { return TensorProto::FLOAT8E5M2FNUZ; })
      .Case([](Float8E8M0FNUType) { return TensorProto::FLOAT8E8M0; })
      .Case([](Float4E2M1FNType) { return TensorProto::FLOAT4E2M1; })
      .Case([](ComplexType type) {
        return type.getElementType().isF32()   ? TensorProto::COMPLEX64
               : type.getElementType().isF64() ? TensorProto::COMPLEX128
                                               : TensorProto::UNDEFINED;
      })
      .Case([](IntegerType type) -> Result {
        bool isUnsigned = type.isUnsigned();
        switch (type.getWidth()) {
        case 1:
          return TensorProto::BOOL;
        case 2:
          return isUnsigned ? TensorProto::UINT2 : TensorProto::INT2;
        case 4:
          return isUnsigned ? TensorProto::UINT4 : TensorProto::INT4;
        case 8:
          return isUnsigned ? TensorProto::UINT8 : TensorProto::INT8;
        case 16:
          return isUnsigned ? TensorProto::UINT16 : TensorProto::INT16;
        case 32:
          return isUnsigned ? TensorProto::UINT32 : TensorProto::INT32;
        case 64:
          return isUnsigned ? TensorProto::UINT64 : TensorProto::INT64;
        default:
          return TensorProto::UNDEFINED;
        }
      })
      .Default(TensorProto::UNDEFINED);
}

void caat::fillType(TensorType type, ArrayAttr dims, ::onnx::TypeProto &proto) {
  auto &tensor = *proto.mutable_tensor_type();
  tensor.set_elem_type(dataTypeOf(type.getElementType()));
  if (!type.hasRank())
    return;
  auto &shape = *tensor.mutable_shape(); // also where there are no dimensions
  for (auto [index, extent] : llvm::enumerate(type.getShape())) {
    auto &dim = *shape.add_dim();
    if (!ShapedType::isDynamic(extent))
      dim.set_dim_value(extent);
    else if (dims && index < dims.size())
      if (StringRef text = cast<StringAttr>(dims[index]).getValue(); !text.empty())
        dim.set_dim_param(text.str());
  }
}

void caat::fillTensorType(RankedTensorType type, TensorProto &proto) {
  proto.set_data_type(dataTypeOf(type.getElementType()));
  for (int64_t extent : type.getShape())
    proto.add_dims(extent);
}

/// Elements of less than a byte, the first in the low bits.
static std::string packedBytes(DenseElementsAttr dense, unsigned bits) {
  std::string bytes;
  unsigned filled = 8;
  auto append = [&](const APInt &element) {
    if (filled == 8) {
      bytes.push_back(0);
      filled = 0;
    }
    bytes.back() |= static_cast<char>(element.getZExtValue() << filled);
    filled += bits;
  };
  if (isa<FloatType>(dense.getElementType()))
    for (const APFloat &element : dense.getValues<APFloat>())
      append(element.bitcastToAPInt());
  else
    for (const APInt &element : dense.getValues<APInt>())
      append(element);
  return bytes;
}

llvm::Expected<std::string> caat::storedBytes(ElementsAttr value) {
  std::string bytes;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return llvm::createStringError("the elements of a constant are missing");
    bytes.assign(blob->getData().begin(), blob->getData().end());
  } else if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    Type element = dense.getElementType();
    unsigned bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 0;
    if (bits == 1) {
      for (bool flag : dense.getValues<bool>())
        bytes.push_back(flag);
    } else if (bits != 0 && bits < 8) {
      bytes = packedBytes(dense, bits);
    } else {
      ArrayRef<char> raw = dense.getRawData();
      for (int64_t i = 0, copies = dense.isSplat() ? dense.getNumElements() : 1; i < copies; ++i)
        bytes.append(raw.begin(), raw.end());
    }
  } else {
    return llvm::createStringError("a constant is not dense");
  }
  if (static_cast<int64_t>(bytes.size()) != caat::onnx::storageBytes(cast<RankedTensorType>(value.getShapedType())))
    return llvm::createStringError("a constant has another size than its type says");
  return bytes;
}

llvm::Error caat::fillAttribute(StringRef name, Attribute value, AttributeProto &proto) {
  proto.set_name(name.str());
  auto done = [&](AttributeProto::AttributeType type) {
    proto.set_type(type);
    return llvm::Error::success();
  };
  return llvm::TypeSwitch<Attribute, llvm::Error>(value)
      .Case([&](IntegerAttr attr) {
        proto.set_i(attr.getValue().getSExtValue());
        return done(AttributeProto::INT);
      })
      .Case([&](FloatAttr attr) {
        proto.set_f(attr.getValueAsDouble());
        return done(AttributeProto::FLOAT);
      })
      .Case([&](StringAttr attr) {
        proto.set_s(attr.getValue().str());
        return done(AttributeProto::STRING);
      })
      .Case([&](TypeAttr attr) {
        proto.set_i(dataTypeOf(attr.getValue()));
        return done(AttributeProto::INT);
      })
      .Case([&](DenseI64ArrayAttr attr) {
        proto.mutable_ints()->Add(attr.asArrayRef().begin(), attr.asArrayRef().end());
        return done(AttributeProto::INTS);
      })
      .Case([&](DenseF32ArrayAttr attr) {
        proto.mutable_floats()->Add(attr.asArrayRef().begin(), attr.asArrayRef().end());
        return done(AttributeProto::FLOATS);
      })
      .Case([&](ArrayAttr attr) -> llvm::Error {
        for (Attribute element : attr) {
          auto text = dyn_cast<StringAttr>(element);
          if (!text)
            return llvm::createStringError("attribute '" + name + "' is a list of another kind than ONNX has");
          proto.add_strings(text.getValue().str());
        }
        return done(AttributeProto::STRINGS);
      })
      .Case([&](ElementsAttr attr) -> llvm::Error {
        llvm::Expected<std::string> bytes = storedBytes(attr);
        if (!bytes)
          return bytes.takeError();
        fillTensorType(cast<RankedTensorType>(attr.getShapedType()), *proto.mutable_t());
        proto.mutable_t()->set_raw_data(std::move(*bytes));
        return done(AttributeProto::TENSOR);
      })
      .Default([&](Attribute) {
        return llvm::createStringError("attribute '" + name + "' is of a kind that ONNX does not have");
      });
}
