// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/onnx/VerifierSupport.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;

std::string onnx::detail::shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << '[';
  llvm::interleaveComma(shape, stream,
                        [&](int64_t dim) { ShapedType::isDynamic(dim) ? stream << '?' : stream << dim; });
  stream << ']';
  return text;
}

LogicalResult onnx::detail::verifyShape(Operation *op, StringRef name, Value value, ArrayRef<int64_t> expected) {
  RankedTensorType type = ranked(value);
  if (!type)
    return success();
  bool fits = type.getRank() == static_cast<int64_t>(expected.size());
  for (int64_t i = 0; fits && i < type.getRank(); ++i)
    fits = !differ(type.getDimSize(i), expected[i]);
  if (fits)
    return success();
  return op->emitOpError("'") << name << "' has shape " << shapeText(type.getShape()) << ", not "
                              << shapeText(expected);
}

LogicalResult onnx::detail::verifyRank(Operation *op, StringRef name, Value value, int64_t rank) {
  RankedTensorType type = ranked(value);
  if (!type || type.getRank() == rank)
    return success();
  return op->emitOpError("'") << name << "' has rank " << type.getRank() << ", not " << rank;
}

LogicalResult onnx::detail::verifyBroadcastTo(Operation *op, StringRef name, Value value, ArrayRef<int64_t> shape) {
  RankedTensorType type = ranked(value);
  if (!type)
    return success();
  bool fits = type.getRank() <= static_cast<int64_t>(shape.size());
  for (int64_t i = 1; fits && i <= type.getRank(); ++i) {
    int64_t dim = type.getDimSize(type.getRank() - i);
    fits = dim == 1 || !differ(dim, shape[shape.size() - i]);
  }
  if (fits)
    return success();
  return op->emitOpError("'") << name << "' of shape " << shapeText(type.getShape()) << " cannot be broadcast to "
                              << shapeText(shape);
}

FailureOr<int64_t> onnx::detail::verifyAxis(Operation *op, int64_t axis, int64_t rank) {
  if (std::optional<int64_t> positive = normalizeAxis(axis, rank))
    return *positive;
  return op->emitOpError("axis ") << axis << " is outside [" << -rank << ", " << rank << ")";
}

FailureOr<SmallVector<int64_t>> onnx::detail::verifyAxes(Operation *op, ArrayRef<int64_t> axes, int64_t rank) {
  SmallVector<int64_t> positive;
  for (int64_t axis : axes) {
    FailureOr<int64_t> one = verifyAxis(op, axis, rank);
    if (failed(one))
      return failure();
    if (llvm::is_contained(positive, *one))
      return op->emitOpError("axis ") << axis << " stands twice";
    positive.push_back(*one);
  }
  return positive;
}

LogicalResult onnx::detail::verifyIndices(Operation *op, Value indices) {
  Type type = getElementTypeOrSelf(indices.getType());
  if (type.isSignlessInteger(32) || type.isSignlessInteger(64))
    return success();
  InFlightDiagnostic error = op->emitOpError("indices");
  if (auto argument = dyn_cast<BlockArgument>(indices))
    if (auto function = dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp()))
      if (auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "onnx.name"))
        error << " are the input '" << name.getValue() << "' and";
  return error << " have type " << type << "; expected i32 or i64";
}

LogicalResult onnx::detail::verifyOneOf(Operation *op, StringRef name, StringRef value, ArrayRef<StringRef> allowed) {
  if (llvm::is_contained(allowed, value))
    return success();
  return op->emitOpError() << name << " '" << value << "' is none of " << llvm::join(allowed, ", ");
}

LogicalResult onnx::detail::verifyBroadcastElementwise(Operation *op) {
  SmallVector<int64_t> shape;
  for (Value operand : op->getOperands()) {
    RankedTensorType type = ranked(operand);
    if (!type)
      return success();
    std::optional<SmallVector<int64_t>> joined = broadcastShapes(shape, type.getShape());
    if (!joined)
      return op->emitOpError("operands of shapes ")
             << shapeText(shape) << " and " << shapeText(type.getShape()) << " cannot be broadcast against each other";
    shape = std::move(*joined);
  }
  return op->getNumOperands() ? verifyShape(op, "result", op->getResult(0), shape)
                              : op->emitOpError("needs an operand");
}
