// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Support/ContainedFile.h"
#include "dialects/onnx/ONNX.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;

#include "dialects/onnx/ONNXDialect.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/onnx/ONNXOps.cpp.inc"

void ONNXDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/onnx/ONNXOps.cpp.inc"
      >();
}

Operation *ONNXDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, elements);
}

/// What the passes rely on in attributes of a function's arguments and results.
static LogicalResult verifySignatureAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == "onnx.name" && !isa<StringAttr>(attribute.getValue()))
    return op->emitOpError("has an 'onnx.name' that is no string: ") << attribute.getValue();
  if (attribute.getName() != "onnx.dims")
    return success();
  auto dims = dyn_cast<ArrayAttr>(attribute.getValue());
  if (!dims || !llvm::all_of(dims, llvm::IsaPred<StringAttr>))
    return op->emitOpError("has 'onnx.dims' that are no list of strings: ") << attribute.getValue();
  return success();
}

LogicalResult ONNXDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned, NamedAttribute attribute) {
  return verifySignatureAttribute(op, attribute);
}

LogicalResult ONNXDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned, NamedAttribute attribute) {
  return verifySignatureAttribute(op, attribute);
}

OpFoldResult ConstantOp::fold(FoldAdaptor adaptor) { return adaptor.getValue(); }

OpFoldResult IdentityOp::fold(FoldAdaptor adaptor) {
  return getInput().getType() == getType() ? getInput() : OpFoldResult();
}

void CastOp::build(OpBuilder &builder, OperationState &state, Value input, Type elementType) {
  build(builder, state, cast<TensorType>(input.getType()).clone(elementType), input, elementType);
}

void LayerNormalizationOp::build(OpBuilder &builder, OperationState &state, Value X, Value Scale, Value B, int64_t axis,
                                 FloatAttr epsilon) {
  build(builder, state, X.getType(), /*Mean=*/Type(), /*InvStdDev=*/Type(), X, Scale, B,
        builder.getI64IntegerAttr(axis), epsilon, builder.getI64IntegerAttr(1));
}

LogicalResult GetInitializerOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto initializer = symbols.lookupNearestSymbolFrom<InitializerOp>(*this, getNameAttr());
  if (!initializer)
    return emitOpError("'") << getName() << "' is no onnx.initializer";
  if (initializer.getType() != getType())
    return emitOpError("has type ") << getType() << " but the initializer has " << initializer.getType();
  return success();
}

std::optional<SmallVector<int64_t>> onnx::constantInts(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : nullptr;
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
  if (!elements)
    return std::nullopt;
  SmallVector<int64_t> values;
  bool isUnsigned = elements.getElementType().isUnsignedInteger() || elements.getElementType().isInteger(1);
  for (const APInt &element : elements.getValues<APInt>())
    values.push_back(isUnsigned ? element.getZExtValue() : element.getSExtValue());
  return values;
}

std::optional<double> onnx::constantFloat(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : nullptr;
  auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : nullptr;
  if (!elements || elements.getNumElements() != 1)
    return std::nullopt;
  APFloat element = *elements.value_begin<APFloat>();
  bool losesInfo;
  element.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
  return element.convertToDouble();
}

Value onnx::createInts(OpBuilder &builder, Location loc, ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, builder.getI64Type());
  return ConstantOp::create(builder, loc, DenseElementsAttr::get(type, values));
}

std::optional<int64_t> onnx::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

std::optional<SmallVector<int64_t>> onnx::broadcastShapes(ArrayRef<int64_t> lhs, ArrayRef<int64_t> rhs) {
  if (lhs.size() < rhs.size())
    std::swap(lhs, rhs);
  SmallVector<int64_t> shape(lhs);
  for (size_t i = 0; i < rhs.size(); ++i) {
    int64_t &dim = shape[lhs.size() - rhs.size() + i], other = rhs[i];
    if (dim == 1 || dim == other)
      dim = other;
    else if (ShapedType::isDynamic(dim))
      dim = other == 1 ? dim : other;
    else if (other != 1 && !ShapedType::isDynamic(other))
      return std::nullopt;
  }
  return shape;
}

std::optional<int64_t> onnx::storageBytes(RankedTensorType type) {
  Type element = type.getElementType();
  int64_t bits = 0;
  if (auto complex = dyn_cast<ComplexType>(element))
    bits = 2 * complex.getElementType().getIntOrFloatBitWidth();
  else if (element.isInteger(1))
    bits = 8;
  else if (element.isIntOrFloat())
    bits = element.getIntOrFloatBitWidth();
  if (bits == 0 || !type.hasStaticShape())
    return std::nullopt;
  int64_t total = bits;
  for (int64_t dim : type.getShape())
    if (llvm::MulOverflow(total, dim, total))
      return std::nullopt;
  return total / 8 + (total % 8 != 0);
}

std::optional<StringRef> onnx::unsafePath(StringRef path) { return caat::unsafePath(path); }
