// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of the ops in Shape.td that read or write by index.
#include "dialects/onnx/VerifierSupport.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;
using namespace caat::onnx::detail;

LogicalResult GatherOp::verify() {
  RankedTensorType data = ranked(getData()), indices = ranked(getIndices());
  if (failed(verifyIndices(*this, getIndices())))
    return failure();
  if (!data)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), data.getRank());
  if (failed(axis) || !indices)
    return failure(failed(axis));
  SmallVector<int64_t> shape(data.getShape().take_front(*axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, data.getShape().drop_front(*axis + 1));
  return verifyShape(*this, "output", getOutput(), shape);
}

LogicalResult GatherElementsOp::verify() {
  RankedTensorType data = ranked(getData()), indices = ranked(getIndices());
  if (failed(verifyIndices(*this, getIndices())))
    return failure();
  if (!data || !indices)
    return success();
  if (failed(verifyAxis(*this, getAxis(), data.getRank())) ||
      failed(verifyRank(*this, "indices", getIndices(), data.getRank())))
    return failure();
  return verifyShape(*this, "output", getOutput(), indices.getShape());
}

LogicalResult GatherNDOp::verify() {
  RankedTensorType data = ranked(getData()), indices = ranked(getIndices());
  if (failed(verifyIndices(*this, getIndices())))
    return failure();
  if (!data || !indices)
    return success();
  int64_t batch = getBatchDims(), least = std::min(data.getRank(), indices.getRank());
  if (batch < 0 || batch >= least)
    return emitOpError("batch_dims ") << batch << " is outside [0, " << least << ")";
  int64_t tuple = indices.getShape().back();
  if (ShapedType::isDynamic(tuple))
    return success();
  if (tuple < 1 || tuple > data.getRank() - batch)
    return emitOpError("index tuples of ") << tuple << " into " << data.getRank() - batch << " dimensions";
  SmallVector<int64_t> shape(indices.getShape().drop_back());
  llvm::append_range(shape, data.getShape().drop_front(batch + tuple));
  return verifyShape(*this, "output", getOutput(), shape);
}

template <typename Op> static LogicalResult verifyScatter(Op op) {
  if (failed(verifyIndices(op, op.getIndices())) ||
      failed(verifyOneOf(op, "reduction", op.getReduction(), {"none", "add", "mul", "max", "min"})))
    return failure();
  RankedTensorType data = ranked(op.getData());
  return data ? verifyShape(op, "output", op.getOutput(), data.getShape()) : success();
}

LogicalResult ScatterNDOp::verify() { return verifyScatter(*this); }

LogicalResult ScatterElementsOp::verify() {
  RankedTensorType data = ranked(getData());
  if (data && failed(verifyAxis(*this, getAxis(), data.getRank())))
    return failure();
  return verifyScatter(*this);
}

LogicalResult TensorScatterOp::verify() {
  if (failed(verifyOneOf(*this, "mode", getMode(), {"linear", "circular"})))
    return failure();
  RankedTensorType cache = ranked(getPastCache());
  if (!cache)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), cache.getRank());
  if (failed(axis))
    return failure();
  if (*axis == 0)
    return emitOpError("axis ") << getAxis() << " is the batch";
  if (failed(verifyRank(*this, "update", getUpdate(), cache.getRank())))
    return failure();
  return verifyShape(*this, "present_cache", getPresentCache(), cache.getShape());
}

LogicalResult OneHotOp::verify() {
  RankedTensorType indices = ranked(getIndices());
  if (!indices)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), indices.getRank() + 1);
  if (failed(axis))
    return failure();
  SmallVector<int64_t> shape(indices.getShape());
  std::optional<SmallVector<int64_t>> depth = constantInts(getDepth());
  shape.insert(shape.begin() + *axis, depth && depth->size() == 1 ? depth->front() : ShapedType::kDynamic);
  return verifyShape(*this, "output", getOutput(), shape);
}
