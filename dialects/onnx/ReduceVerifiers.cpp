// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of Elementwise.td, Reduce.td and Structure.td.
#include "dialects/onnx/VerifierSupport.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;
using namespace caat::onnx::detail;

LogicalResult GeluOp::verify() { return verifyOneOf(*this, "approximate", getApproximate(), {"none", "tanh"}); }

LogicalResult CastOp::verify() {
  Type element = cast<TensorType>(getType()).getElementType();
  if (element != getTo())
    return emitOpError("converts to ") << getTo() << " but its result has elements of type " << element;
  return success();
}

LogicalResult BitCastOp::verify() {
  Type from = cast<TensorType>(getInput().getType()).getElementType();
  Type element = cast<TensorType>(getType()).getElementType();
  if (element != getTo())
    return emitOpError("converts to ") << getTo() << " but its result has elements of type " << element;
  auto bits = [](Type type) { // a boolean is a byte
    return !type.isIntOrFloat() ? 0 : type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth();
  };
  if (!bits(from) || bits(from) != bits(element))
    return emitOpError("elements of ") << from << " and " << element << " have not as many bits";
  return success();
}

LogicalResult BitShiftOp::verify() { return verifyOneOf(*this, "direction", getDirection(), {"LEFT", "RIGHT"}); }

LogicalResult InitializerOp::verify() {
  auto type = getTensorType();
  std::optional<int64_t> bytes = storageBytes(type);
  if (!bytes)
    return emitOpError("has the type ") << type << ", whose size in bytes is not known or too large";
  if (getOffset() < 0)
    return emitOpError("has the offset ") << getOffset();
  if (getLength() != *bytes)
    return emitOpError("has ") << getLength() << " bytes, " << type << " needs " << *bytes;
  if (std::optional<StringRef> why = unsafePath(getFile()))
    return emitOpError("has the file '") << getFile() << "', which " << *why;
  return success();
}

/// `data` without the dimensions in `axes`, or with size 1 there.
static SmallVector<int64_t> reducedShape(ArrayRef<int64_t> data, ArrayRef<int64_t> axes, bool keep) {
  SmallVector<int64_t> shape;
  for (auto [i, dim] : llvm::enumerate(data)) {
    bool reduced = llvm::is_contained(axes, static_cast<int64_t>(i));
    if (!reduced || keep)
      shape.push_back(reduced ? 1 : dim);
  }
  return shape;
}

template <typename Op> static LogicalResult verifyReduce(Op op) {
  RankedTensorType data = ranked(op.getData());
  if (!data)
    return success();
  std::optional<SmallVector<int64_t>> axes = SmallVector<int64_t>();
  if (op.getAxes() && !(axes = constantInts(op.getAxes())))
    return op.getKeepdims() ? verifyRank(op, "reduced", op.getReduced(), data.getRank()) : success();
  FailureOr<SmallVector<int64_t>> positive = verifyAxes(op, *axes, data.getRank());
  if (failed(positive))
    return failure();
  if (positive->empty() && !op.getNoopWithEmptyAxes())
    positive = llvm::to_vector(llvm::seq(data.getRank()));
  return verifyShape(op, "reduced", op.getReduced(), reducedShape(data.getShape(), *positive, op.getKeepdims()));
}
LogicalResult ReduceSumOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceMeanOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceMaxOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceMinOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceProdOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceL1Op::verify() { return verifyReduce(*this); }
LogicalResult ReduceL2Op::verify() { return verifyReduce(*this); }
LogicalResult ReduceSumSquareOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceLogSumOp::verify() { return verifyReduce(*this); }
LogicalResult ReduceLogSumExpOp::verify() { return verifyReduce(*this); }

template <typename Op> static LogicalResult verifyArgReduce(Op op) {
  RankedTensorType data = ranked(op.getData());
  if (!data)
    return success();
  FailureOr<int64_t> axis = verifyAxis(op, op.getAxis(), data.getRank());
  if (failed(axis))
    return failure();
  return verifyShape(op, "reduced", op.getReduced(), reducedShape(data.getShape(), *axis, op.getKeepdims()));
}
LogicalResult ArgMaxOp::verify() { return verifyArgReduce(*this); }
LogicalResult ArgMinOp::verify() { return verifyArgReduce(*this); }

LogicalResult TopKOp::verify() {
  RankedTensorType x = ranked(getX());
  if (!x)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), x.getRank());
  if (failed(axis))
    return failure();
  SmallVector<int64_t> shape(x.getShape());
  std::optional<SmallVector<int64_t>> k = constantInts(getK());
  if (k && k->size() == 1 && (k->front() < 0 || (!x.isDynamicDim(*axis) && k->front() > x.getDimSize(*axis))))
    return emitOpError("K is ") << k->front() << ", with "
                                << (x.isDynamicDim(*axis) ? "?" : std::to_string(x.getDimSize(*axis)))
                                << " elements along axis " << *axis;
  shape[*axis] = k && k->size() == 1 ? k->front() : ShapedType::kDynamic;
  if (failed(verifyShape(*this, "Values", getValues(), shape)))
    return failure();
  return verifyShape(*this, "Indices", getIndices(), shape);
}

template <typename Op> static LogicalResult verifySoftmax(Op op) {
  RankedTensorType input = ranked(op.getInput());
  if (!input)
    return success();
  if (failed(verifyAxis(op, op.getAxis(), input.getRank())))
    return failure();
  return verifyShape(op, "output", op.getOutput(), input.getShape());
}
LogicalResult SoftmaxOp::verify() { return verifySoftmax(*this); }
LogicalResult LogSoftmaxOp::verify() { return verifySoftmax(*this); }
