// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shapes of reductions and selections along axes.
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

using Dims = SymbolicShapes::Dims;

/// `dims` with the marked axes made one, or dropped.
static Dims reduceAxes(ArrayRef<AffineExpr> dims, const llvm::SmallBitVector &reduced, bool keep, AffineExpr one) {
  Dims result;
  for (auto [axis, dim] : llvm::enumerate(dims)) {
    if (!reduced[axis])
      result.push_back(dim);
    else if (keep)
      result.push_back(one);
  }
  return result;
}

template <typename Op> static bool inferReduce(Op op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getData());
  if (!dims)
    return false;
  SmallVector<int64_t> axes;
  if (op.getAxes()) {
    auto known = shapes.getConstants(op.getAxes());
    if (!known)
      return false;
    axes = *known;
  }
  llvm::SmallBitVector reduced(dims->size(), axes.empty() && !op.getNoopWithEmptyAxes());
  for (int64_t axis : axes) {
    auto place = onnx::normalizeAxis(axis, dims->size());
    if (!place)
      return false;
    reduced.set(*place);
  }
  shapes.setDims(op.getReduced(), reduceAxes(*dims, reduced, op.getKeepdims(), shapes.constant(1)));
  return true;
}

template <typename Op> static bool inferArg(Op op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getData());
  if (!dims)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), dims->size());
  if (!axis)
    return false;
  llvm::SmallBitVector reduced(dims->size());
  reduced.set(*axis);
  shapes.setDims(op.getReduced(), reduceAxes(*dims, reduced, op.getKeepdims(), shapes.constant(1)));
  return true;
}

static bool inferTopK(onnx::TopKOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getX());
  if (!dims)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), dims->size());
  if (!axis)
    return false;
  (*dims)[*axis] = shapes.getScalar(op.getK());
  shapes.setDims(op.getValues(), *dims);
  (*dims)[*axis] = shapes.getDim(op.getValues(), *axis);
  shapes.setDims(op.getIndices(), *dims);
  return true;
}

/// How many elements are not zero; nothing where there are too many to count.
static std::optional<int64_t> countNonZero(DenseElementsAttr value) {
  if (value.getNumElements() > (1 << 16))
    return std::nullopt;
  if (isa<FloatType>(value.getElementType()))
    return llvm::count_if(value.getValues<APFloat>(), [](const APFloat &x) { return !x.isZero(); });
  if (value.getElementType().isInteger())
    return llvm::count_if(value.getValues<APInt>(), [](const APInt &x) { return !x.isZero(); });
  return std::nullopt;
}

bool inferReductionShape(Operation *operation, SymbolicShapes &shapes) {
  return TypeSwitch<Operation *, bool>(operation)
      .Case<onnx::ReduceSumOp, onnx::ReduceMeanOp, onnx::ReduceMaxOp, onnx::ReduceMinOp, onnx::ReduceProdOp,
            onnx::ReduceL1Op, onnx::ReduceL2Op, onnx::ReduceSumSquareOp, onnx::ReduceLogSumOp, onnx::ReduceLogSumExpOp>(
          [&](auto op) { return inferReduce(op, shapes); })
      .Case<onnx::ArgMaxOp, onnx::ArgMinOp>([&](auto op) { return inferArg(op, shapes); })
      .Case([&](onnx::TopKOp op) { return inferTopK(op, shapes); })
      .Case([&](onnx::NonZeroOp op) {
        auto rank = shapes.getRank(op.getX());
        if (!rank)
          return false;
        auto constant = op.getX().getDefiningOp<onnx::ConstantOp>();
        auto value = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
        std::optional<int64_t> found = value ? countNonZero(value) : std::nullopt;
        shapes.setDims(op.getY(), {shapes.constant(*rank), found ? shapes.constant(*found) : AffineExpr()});
        return true;
      })
      .Default(false);
}

} // namespace caat
