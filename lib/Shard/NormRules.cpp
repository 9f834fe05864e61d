// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Normalisations over a split dimension: each rank sums over its own elements, and one number for each row is summed
// over the ranks. Group normalisation deals out whole groups.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

/// Dimensions from `axis` on are normalised. The last one may be split, with the scale and bias that go with it.
static LogicalResult normFactors(Operation *op, FactorBuilder &factors, int64_t axis, int64_t statistics) {
  int64_t rank = factors.operandType(0).getRank();
  std::optional<int64_t> first = onnx::normalizeAxis(axis, rank);
  if (!first)
    return failure();
  for (int64_t dim = 0; dim < rank; ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  bool lastOnly =
      *first == rank - 1 && op->getNumResults() == 1 && isa<Float32Type>(factors.operandType(0).getElementType());
  for (unsigned operand = 1; operand < op->getNumOperands(); ++operand) {
    RankedTensorType type = factors.operandType(operand);
    lastOnly &= type.getRank() >= 1 && type.hasStaticShape() &&
                type.getNumElements() == type.getDimSize(type.getRank() - 1) &&
                type.getElementType() == factors.operandType(0).getElementType();
  }
  if (!lastOnly) {
    for (int64_t dim = *first; dim < rank; ++dim)
      factors.replicate(factors.operand(0, dim), "is normalised over");
    for (unsigned operand = 1; operand < op->getNumOperands(); ++operand)
      factors.replicateOperand(operand, "is normalised over");
    for (unsigned result = 1; result < op->getNumResults(); ++result)
      factors.replicateResult(result, "is normalised over");
    return success();
  }
  factors.statistic(factors.operand(0, -1), statistics);
  for (unsigned operand = 1; operand < op->getNumOperands(); ++operand)
    if (factors.operandType(operand).getDimSize(factors.operandType(operand).getRank() - 1) != 1)
      factors.same(factors.operand(operand, -1), factors.result(0, -1));
  return success();
}

namespace {
/// Arithmetic on one rank's rows.
struct RowBuilder {
  LocalShapes &local;
  Location loc;
  RankedTensorType type;    // of the rank's x
  RankedTensorType rowType; // one number for each row

  RowBuilder(LocalShapes &local, Value x) : local(local), loc(x.getLoc()), type(cast<RankedTensorType>(x.getType())) {
    SmallVector<int64_t> shape(type.getShape());
    shape.back() = 1;
    rowType = type.clone(shape);
  }
  OpBuilder &builder() { return local.getRewriter(); }
  Value number(double value) {
    auto scalar = RankedTensorType::get({}, type.getElementType());
    return onnx::ConstantOp::create(
        builder(), loc, DenseElementsAttr::get(scalar, builder().getFloatAttr(type.getElementType(), value)));
  }
  /// The mean over all ranks' elements of `x`, which is zero where it is padded.
  Value mean(Value x, int64_t count) {
    Value axes = onnx::createInts(builder(), loc, {type.getRank() - 1});
    Value sum = onnx::ReduceSumOp::create(builder(), loc, rowType, x, axes, /*keepdims=*/1, /*noop=*/0);
    return onnx::MulOp::create(builder(), loc, rowType, local.allReduce(sum, "norm"), number(1.0 / count));
  }
  /// x / sqrt(variance + epsilon) * scale
  Value scaled(Value x, Value variance, double epsilon, Value scale) {
    Value shifted = onnx::AddOp::create(builder(), loc, rowType, variance, number(epsilon));
    Value root = onnx::SqrtOp::create(builder(), loc, rowType, shifted);
    Value inverse = onnx::ReciprocalOp::create(builder(), loc, rowType, root);
    Value normal = onnx::MulOp::create(builder(), loc, type, x, inverse);
    return onnx::MulOp::create(builder(), loc, type, normal, scale);
  }
};
} // namespace

/// True where the normalised dimension is split.
static bool splitsRows(Operation *op, LocalShapes &local) {
  int64_t rank = cast<RankedTensorType>(op->getOperand(0).getType()).getRank();
  return local.operandSplit(op, 0) == rank - 1;
}

static LogicalResult rmsLocal(Operation *op, LocalShapes &local) {
  if (!splitsRows(op, local))
    return success();
  auto norm = cast<onnx::RMSNormalizationOp>(op);
  DimLayout layout = local.operandLayout(op, 0).back();
  RowBuilder rows(local, norm.getX());
  Value x = local.zeroPadding(norm.getX(), rows.type.getRank() - 1, layout);
  Value square = onnx::MulOp::create(rows.builder(), rows.loc, rows.type, x, x);
  Value mean = rows.mean(square, local.getSpace().getSize(layout));
  local.replaceResult(norm.getY(),
                      rows.scaled(norm.getX(), mean, norm.getEpsilon().convertToDouble(), norm.getScale()));
  return success();
}

static LogicalResult layerNormLocal(Operation *op, LocalShapes &local) {
  if (!splitsRows(op, local))
    return success();
  auto norm = cast<onnx::LayerNormalizationOp>(op);
  DimLayout layout = local.operandLayout(op, 0).back();
  RowBuilder rows(local, norm.getX());
  int64_t dim = rows.type.getRank() - 1, count = local.getSpace().getSize(layout);
  Value mean = rows.mean(local.zeroPadding(norm.getX(), dim, layout), count);
  Value centred = onnx::SubOp::create(rows.builder(), rows.loc, rows.type, norm.getX(), mean);
  Value counted = local.zeroPadding(centred, dim, layout);
  Value square = onnx::MulOp::create(rows.builder(), rows.loc, rows.type, counted, counted);
  Value y = rows.scaled(centred, rows.mean(square, count), norm.getEpsilon().convertToDouble(), norm.getScale());
  if (norm.getB())
    y = onnx::AddOp::create(rows.builder(), rows.loc, rows.type, y, norm.getB());
  local.replaceResult(norm.getY(), y);
  return success();
}

/// X [N, C, ...]: a unit is a group of channels.
static LogicalResult groupNormFactors(Operation *op, FactorBuilder &factors) {
  auto norm = cast<onnx::GroupNormalizationOp>(op);
  RankedTensorType type = factors.operandType(0);
  int64_t channels = type.getRank() > 1 ? type.getDimSize(1) : ShapedType::kDynamic, groups = norm.getNumGroups();
  if (ShapedType::isDynamic(channels) || groups <= 0 || channels % groups != 0)
    return failure();
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  for (int64_t dim = 2; dim < type.getRank(); ++dim)
    factors.replicate(factors.operand(0, dim), "is normalised over");
  DimLayout units = factors.space().fresh(groups);
  if (units.empty())
    factors.replicate(factors.operand(0, 1), "is normalised over");
  else
    factors.same(factors.operand(0, 1), factors.space().scaled(units, channels / groups));
  for (unsigned operand : {1u, 2u})
    factors.same(factors.operand(operand, 0), factors.result(0, 1));
  return success();
}

static LogicalResult groupNormLocal(Operation *op, LocalShapes &local) {
  auto norm = cast<onnx::GroupNormalizationOp>(op);
  if (local.operandSplit(op, 0) != 1)
    return success();
  DimLayout layout = local.operandLayout(op, 0)[1];
  int64_t perGroup = local.getSpace().getSize(layout) / norm.getNumGroups();
  norm.setNumGroups(local.localSize(layout) / perGroup);
  return success();
}

void populateNormRules(ShardingRules &rules) {
  rules.add<onnx::RMSNormalizationOp>(
      [](Operation *op, FactorBuilder &factors) {
        return normFactors(op, factors, cast<onnx::RMSNormalizationOp>(op).getAxis(), 1);
      },
      rmsLocal);
  rules.add<onnx::LayerNormalizationOp>(
      [](Operation *op, FactorBuilder &factors) {
        return normFactors(op, factors, cast<onnx::LayerNormalizationOp>(op).getAxis(), 2);
      },
      layerNormLocal);
  rules.add<onnx::GroupNormalizationOp>(groupNormFactors, groupNormLocal);
}

} // namespace caat::shard
