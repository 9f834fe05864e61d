// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Tensors.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Endian.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;
using ::onnx::TensorProto;

static_assert(llvm::endianness::native == llvm::endianness::little, "tensors are stored as little endian");

Type caat::importer::elementType(int dataType, MLIRContext *context) {
  Builder b(context);
  switch (dataType) {
  case TensorProto::FLOAT:
    return b.getF32Type();
  case TensorProto::UINT8:
    return b.getIntegerType(8, /*isSigned=*/false);
  case TensorProto::INT8:
    return b.getIntegerType(8);
  case TensorProto::UINT16:
    return b.getIntegerType(16, false);
  case TensorProto::INT16:
    return b.getIntegerType(16);
  case TensorProto::INT32:
    return b.getIntegerType(32);
  case TensorProto::INT64:
    return b.getIntegerType(64);
  case TensorProto::BOOL:
    return b.getI1Type();
  case TensorProto::FLOAT16:
    return b.getF16Type();
  case TensorProto::DOUBLE:
    return b.getF64Type();
  case TensorProto::UINT32:
    return b.getIntegerType(32, false);
  case TensorProto::UINT64:
    return b.getIntegerType(64, false);
  case TensorProto::COMPLEX64:
    return ComplexType::get(b.getF32Type());
  case TensorProto::COMPLEX128:
    return ComplexType::get(b.getF64Type());
  case TensorProto::BFLOAT16:
    return b.getBF16Type();
  case TensorProto::FLOAT8E4M3FN:
    return Float8E4M3FNType::get(context);
  case TensorProto::FLOAT8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case TensorProto::FLOAT8E5M2:
    return Float8E5M2Type::get(context);
  case TensorProto::FLOAT8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  case TensorProto::FLOAT8E8M0:
    return Float8E8M0FNUType::get(context);
  case TensorProto::FLOAT4E2M1:
    return Float4E2M1FNType::get(context);
  case TensorProto::UINT4:
    return b.getIntegerType(4, false);
  case TensorProto::INT4:
    return b.getIntegerType(4);
  case TensorProto::UINT2:
    return b.getIntegerType(2, false);
  case TensorProto::INT2:
    return b.getIntegerType(2);
  default:
    return nullptr;
  }
}

/// The constant whose elements are stored as `bytes`.
static DenseElementsAttr decode(RankedTensorType type, ArrayRef<char> bytes) {
  Type element = type.getElementType();
  int64_t count = type.getNumElements();
  if (element.isInteger(1)) {
    SmallVector<bool> values;
    for (char byte : bytes)
      values.push_back(byte != 0);
    return DenseElementsAttr::get(type, values);
  }
  unsigned bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 0;
  if (element.isIntOrFloat() && bits < 8) {
    SmallVector<APInt> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(APInt(8, uint8_t(bytes[i * bits / 8])).lshr(i * bits % 8).trunc(bits));
    if (auto floats = dyn_cast<FloatType>(element)) {
      SmallVector<APFloat> converted;
      for (const APInt &value : values)
        converted.push_back(APFloat(floats.getFloatSemantics(), value));
      return DenseElementsAttr::get(type, converted);
    }
    return DenseElementsAttr::get(type, values);
  }
  if (count == 0)
    return DenseElementsAttr::get(type, ArrayRef<Attribute>());
  // A single element would be taken for a splat, which is the same here.
  return DenseElementsAttr::getFromRawBuffer(type, bytes);
}

/// Appends the low `size` bytes of each value.
template <typename Values> static void append(const Values &values, size_t size, std::string &out) {
  for (const auto &value : values)
    out.append(reinterpret_cast<const char *>(&value), size);
}

/// The data in `tensor`'s typed field, as bytes; nothing where it has none.
static std::string typedBytes(const TensorProto &tensor, Type element) {
  std::string bytes;
  append(tensor.float_data(), 4, bytes);
  append(tensor.double_data(), 8, bytes);
  append(tensor.int64_data(), 8, bytes);
  switch (tensor.data_type()) {
  case TensorProto::UINT32:
    append(tensor.uint64_data(), 4, bytes);
    break;
  case TensorProto::UINT64:
    append(tensor.uint64_data(), 8, bytes);
    break;
  default:
    // Everything else of at most 32 bits; elements below a byte are stored packed.
    unsigned bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 32;
    append(tensor.int32_data(), std::min(4u, std::max(1u, bits / 8)), bytes);
  }
  return bytes;
}

/// Whether data stands only in the typed field that belongs to the tensor's type.
static bool hasForeignData(const TensorProto &tensor) {
  int type = tensor.data_type();
  bool isFloat = type == TensorProto::FLOAT || type == TensorProto::COMPLEX64;
  bool isDouble = type == TensorProto::DOUBLE || type == TensorProto::COMPLEX128;
  bool isUInt = type == TensorProto::UINT32 || type == TensorProto::UINT64;
  bool isInt64 = type == TensorProto::INT64;
  return (tensor.float_data_size() && !isFloat) || (tensor.double_data_size() && !isDouble) ||
         (tensor.int64_data_size() && !isInt64) || (tensor.uint64_data_size() && !isUInt) ||
         (tensor.int32_data_size() && (isFloat || isDouble || isUInt || isInt64)) || tensor.string_data_size();
}

static llvm::Error invalid(const Twine &message) { return llvm::createStringError(message); }

llvm::Error TensorReader::locate(const TensorProto &tensor, StoredTensor &stored) {
  bool hasLocation = false;
  for (const auto &entry : tensor.external_data()) {
    if (entry.key() != "location" && entry.key() != "offset" && entry.key() != "length" && entry.key() != "checksum" &&
        entry.key() != "basepath" && unknownKeys.insert(entry.key()).second)
      emitWarning(NameLoc::get(StringAttr::get(context, tensor.name())))
          << "external data has the unknown key '" << entry.key() << "', which is ignored";
    int64_t *number = entry.key() == "offset" ? &stored.offset : entry.key() == "length" ? &stored.length : nullptr;
    if (entry.key() == "location") {
      hasLocation = true;
      stored.file = entry.value();
    } else if (number) {
      int64_t value;
      if (StringRef(entry.value()).getAsInteger(10, value) || value < 0)
        return invalid(Twine(entry.key()) + " '" + entry.value() + "' of its external data is no size");
      if (number == &stored.length && value != stored.length)
        return invalid("its external data has " + Twine(value) + " bytes, the type needs " + Twine(stored.length));
      *number = value;
    }
  }
  if (!hasLocation)
    return invalid("its external data has no location");
  // ONNX Runtime marks tensors in its own memory so; in a file the offset would be an address of anything.
  if (StringRef(stored.file).contains("_ORT_MEM_ADDR_"))
    return invalid("its external data is an address in memory: save the model to a file again");
  return llvm::Error::success();
}

/// Tied weights name one range several times; ranges that only overlap are a mistake or an attack.
llvm::Error TensorReader::claim(const StoredTensor &stored) {
  if (stored.length == 0)
    return llvm::Error::success();
  std::map<int64_t, int64_t> &ranges = claimed[stored.file];
  auto overlap = [&](int64_t offset, int64_t length) {
    return invalid("its bytes " + Twine(stored.offset) + " to " + Twine(stored.offset + stored.length) + " of file '" +
                   stored.file + "' overlap another tensor's, " + Twine(offset) + " to " + Twine(offset + length));
  };
  auto next = ranges.lower_bound(stored.offset);
  if (next != ranges.end() && next->first == stored.offset && next->second == stored.length)
    return llvm::Error::success();
  if (next != ranges.end() && next->first < stored.offset + stored.length)
    return overlap(next->first, next->second);
  if (next != ranges.begin())
    if (auto before = std::prev(next); before->first + before->second > stored.offset)
      return overlap(before->first, before->second);
  ranges.emplace_hint(next, stored.offset, stored.length);
  return llvm::Error::success();
}

llvm::Expected<StoredTensor> TensorReader::read(const TensorProto &tensor, bool alwaysValue) {
  std::optional<ByteRange> raw = rawDataPlace(tensor);
  StoredTensor stored;
  Type element = elementType(tensor.data_type(), context);
  if (!element)
    return invalid("its element type " + Twine(tensor.data_type()) + " is not supported");
  if (tensor.dims_size() > maxRank)
    return invalid("its rank " + Twine(tensor.dims_size()) + " is above " + Twine(maxRank));
  for (int64_t dim : tensor.dims())
    if (dim < 0)
      return invalid("its dimension " + Twine(dim) + " is negative");
  SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
  stored.type = RankedTensorType::get(shape, element);
  std::optional<int64_t> needed = onnx::storageBytes(stored.type);
  if (!needed)
    return invalid("its size does not fit 63 bits");
  if (tensor.has_segment())
    return invalid("it is stored in segments, which are not supported");
  stored.length = *needed;

  bool isExternal = tensor.data_location() == TensorProto::EXTERNAL;
  bool isTyped = tensor.float_data_size() || tensor.double_data_size() || tensor.int64_data_size() ||
                 tensor.uint64_data_size() || tensor.int32_data_size() || tensor.string_data_size();
  if (isExternal + isTyped + raw.has_value() > 1 || hasForeignData(tensor))
    return invalid("it has data in several fields or in one of another type");
  if (!isExternal && !raw) {
    std::string bytes = typedBytes(tensor, element);
    if (static_cast<int64_t>(bytes.size()) != *needed)
      return invalid("it has " + Twine(bytes.size()) + " bytes of data, the type needs " + Twine(*needed));
    stored.value = decode(stored.type, bytes);
    return stored;
  }

  if (isExternal) {
    if (llvm::Error error = locate(tensor, stored))
      return error;
  } else {
    if (raw->length != *needed)
      return invalid("it has " + Twine(raw->length) + " bytes of data, the type needs " + Twine(*needed));
    stored.file = modelFile;
    stored.offset = raw->offset;
  }
  bool wantsValue = alwaysValue || stored.type.getNumElements() <= options.maxConstantElements;
  if (isExternal && !options.requireWeights && (!wantsValue || files.isAbsent(stored.file))) {
    if (alwaysValue)
      return invalid("its external data '" + stored.file + "' is absent");
    return stored;
  }
  llvm::Expected<ArrayRef<char>> bytes = files.bytes(stored.file, stored.offset, stored.length);
  if (!bytes)
    return bytes.takeError();
  if (llvm::Error error = isExternal ? claim(stored) : llvm::Error::success())
    return error;
  if (wantsValue)
    stored.value = decode(stored.type, *bytes);
  return stored;
}
