// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reductions. Sums and means over a split dimension are partial sums; the others need it whole.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

/// Dimensions that are not reduced pass through. `sums`: the result over a part is a part of the result.
static LogicalResult reduceFactors(FactorBuilder &factors, ArrayRef<int64_t> axes, bool keepDims, bool sums = false) {
  int64_t rank = factors.operandType(0).getRank();
  llvm::SmallBitVector reduced(rank);
  for (int64_t axis : axes) {
    std::optional<int64_t> dim = onnx::normalizeAxis(axis, rank);
    if (!dim)
      return failure();
    reduced.set(*dim);
  }
  sums &= isa<FloatType>(factors.operandType(0).getElementType());
  int64_t to = 0;
  for (int64_t dim = 0; dim < rank; ++dim) {
    if (!reduced.test(dim)) {
      factors.same(factors.operand(0, dim), factors.result(0, to++));
      continue;
    }
    DimLayout layout = factors.operand(0, dim);
    if (sums && !layout.empty() && !factors.operandType(0).isDynamicDim(dim))
      factors.contract(layout, layout);
    else
      factors.replicate(layout, "is reduced");
    to += keepDims;
  }
  return success();
}

/// The axes of a reduction; all of them where it names none. Nullopt where they are computed.
template <typename Reduce> static std::optional<SmallVector<int64_t>> reducedAxes(Reduce reduce) {
  SmallVector<int64_t> axes;
  if (reduce.getAxes()) {
    std::optional<SmallVector<int64_t>> values = onnx::constantInts(reduce.getAxes());
    if (!values)
      return std::nullopt;
    axes = *values;
  }
  int64_t rank = cast<RankedTensorType>(reduce.getData().getType()).getRank();
  if (axes.empty() && !reduce.getNoopWithEmptyAxes())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  return axes;
}

template <typename Reduce, bool sums = false> static LogicalResult reduceOp(Operation *op, FactorBuilder &factors) {
  auto reduce = cast<Reduce>(op);
  std::optional<SmallVector<int64_t>> axes = reducedAxes(reduce);
  return axes ? reduceFactors(factors, *axes, reduce.getKeepdims(), sums) : failure();
}

/// Padding must not be counted. A mean of a part weighs as much as the part is of the whole.
static LogicalResult sumLocal(Operation *op, LocalShapes &local) {
  int64_t dim = local.operandSplit(op, 0);
  if (dim < 0 || local.resultSplit(op, 0) >= 0)
    return success();
  RewriterBase &rewriter = local.getRewriter();
  DimLayout layout = local.operandLayout(op, 0)[dim];
  op->setOperand(0, local.zeroPadding(op->getOperand(0), dim, layout));
  if (!isa<onnx::ReduceMeanOp>(op))
    return success();
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  double share = double(local.localSize(layout)) / local.getSpace().getSize(layout);
  auto scalar = RankedTensorType::get({}, type.getElementType());
  rewriter.setInsertionPointAfter(op);
  Value factor = onnx::ConstantOp::create(
      rewriter, op->getLoc(), DenseElementsAttr::get(scalar, rewriter.getFloatAttr(type.getElementType(), share)));
  local.replaceResult(op->getResult(0), onnx::MulOp::create(rewriter, op->getLoc(), type, op->getResult(0), factor));
  return success();
}

void populateReduceRules(ShardingRules &rules) {
  rules.add<onnx::ReduceSumOp>(reduceOp<onnx::ReduceSumOp, true>, sumLocal);
  rules.add<onnx::ReduceMeanOp>(reduceOp<onnx::ReduceMeanOp, true>, sumLocal);
  rules.add<onnx::ReduceL1Op>(reduceOp<onnx::ReduceL1Op, true>, sumLocal);
  rules.add<onnx::ReduceSumSquareOp>(reduceOp<onnx::ReduceSumSquareOp, true>, sumLocal);
  rules.add<onnx::ReduceMaxOp>(reduceOp<onnx::ReduceMaxOp>);
  rules.add<onnx::ReduceMinOp>(reduceOp<onnx::ReduceMinOp>);
  rules.add<onnx::ReduceProdOp>(reduceOp<onnx::ReduceProdOp>);
  rules.add<onnx::ReduceL2Op>(reduceOp<onnx::ReduceL2Op>);
  rules.add<onnx::ReduceLogSumOp>(reduceOp<onnx::ReduceLogSumOp>);
  rules.add<onnx::ReduceLogSumExpOp>(reduceOp<onnx::ReduceLogSumExpOp>);
  rules.add<onnx::ArgMaxOp>([](Operation *op, FactorBuilder &factors) {
    auto arg = cast<onnx::ArgMaxOp>(op);
    return reduceFactors(factors, {arg.getAxis()}, arg.getKeepdims());
  });
  rules.add<onnx::ArgMinOp>([](Operation *op, FactorBuilder &factors) {
    auto arg = cast<onnx::ArgMinOp>(op);
    return reduceFactors(factors, {arg.getAxis()}, arg.getKeepdims());
  });
  rules.add<onnx::TopKOp>([](Operation *op, FactorBuilder &factors) {
    int64_t rank = factors.operandType(0).getRank();
    std::optional<int64_t> axis = onnx::normalizeAxis(cast<onnx::TopKOp>(op).getAxis(), rank);
    if (!axis)
      return failure();
    for (int64_t dim = 0; dim < rank; ++dim)
      for (unsigned result : {0u, 1u}) {
        if (dim != *axis)
          factors.same(factors.operand(0, dim), factors.result(result, dim));
        else
          factors.replicate(factors.result(result, dim), "is chosen from");
      }
    factors.replicate(factors.operand(0, *axis), "is chosen from");
    return success();
  });
}

} // namespace caat::shard
