// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Look-ups. A table whose rows are split gives each rank the rows that it has and zeros for the others; the sum over
// the ranks is the whole result.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"

using namespace mlir;

namespace caat::shard {

std::optional<int64_t> linkGathered(FactorBuilder &factors, onnx::GatherOp gather) {
  RankedTensorType data = factors.operandType(0), indices = factors.operandType(1);
  std::optional<int64_t> axis = onnx::normalizeAxis(gather.getAxis(), data.getRank());
  if (!axis)
    return std::nullopt;
  for (int64_t dim = 0; dim < data.getRank(); ++dim)
    if (dim != *axis)
      factors.same(factors.operand(0, dim), factors.result(0, dim < *axis ? dim : dim - 1 + indices.getRank()));
  for (int64_t dim = 0; dim < indices.getRank(); ++dim)
    factors.same(factors.operand(1, dim), factors.result(0, *axis + dim));
  return axis;
}

static LogicalResult gatherFactors(Operation *op, FactorBuilder &factors) {
  std::optional<int64_t> axis = linkGathered(factors, cast<onnx::GatherOp>(op));
  if (!axis)
    return failure();
  RankedTensorType data = factors.operandType(0);
  DimLayout rows = factors.operand(0, *axis);
  bool table = factors.isWeight(0) && !factors.isWeight(1) && *axis == 0 && isa<FloatType>(data.getElementType());
  std::optional<int64_t> bytes = onnx::storageBytes(data);
  if (table && bytes && !rows.empty())
    factors.lookup(rows, *bytes);
  else
    factors.replicate(rows, "is indexed");
  return success();
}

/// A scalar constant of the indices' type.
static Value scalar(OpBuilder &builder, Location loc, Type elementType, int64_t value) {
  auto type = RankedTensorType::get({}, elementType);
  return onnx::ConstantOp::create(builder, loc,
                                  DenseElementsAttr::get(type, builder.getIntegerAttr(elementType, value)));
}

/// Indices of other ranks' rows look up row 0, and their result is replaced by zero.
static LogicalResult gatherLocal(Operation *op, LocalShapes &local) {
  auto gather = cast<onnx::GatherOp>(op);
  if (local.getFactors(op).contractions.empty() || local.operandSplit(op, 0) != 0)
    return success();
  DimLayout rows = local.operandLayout(op, 0)[0];
  if (rows.size() != 1 || local.getSplit().copies(rows.front().atom) != 1)
    return op->emitError("rows of a looked up table are cut in segments");
  RewriterBase &builder = local.getRewriter();
  Location loc = op->getLoc();
  int64_t localRows = local.localSize(rows), globalRows = local.getSpace().getSize(rows);
  auto idsType = cast<RankedTensorType>(gather.getIndices().getType());
  Type element = idsType.getElementType();
  auto boolType = idsType.clone(builder.getI1Type());

  // Negative indices count from the end of the whole table.
  Value ids = gather.getIndices(), zero = scalar(builder, loc, element, 0);
  Value negative = onnx::LessOp::create(builder, loc, boolType, ids, zero);
  Value wrapped = onnx::AddOp::create(builder, loc, idsType, ids, scalar(builder, loc, element, globalRows));
  ids = onnx::WhereOp::create(builder, loc, idsType, negative, wrapped, ids);

  Value rank = tp::RankOp::create(builder, loc, builder.getIndexType(), local.getMesh());
  Value width = arith::ConstantIndexOp::create(builder, loc, localRows);
  Value offset = arith::MulIOp::create(builder, loc, rank, width);
  Value cast = arith::IndexCastOp::create(builder, loc, element, offset);
  Value first = tensor::FromElementsOp::create(builder, loc, RankedTensorType::get({}, element), ValueRange{cast});
  Value shifted = onnx::SubOp::create(builder, loc, idsType, ids, first);
  Value above = onnx::GreaterOrEqualOp::create(builder, loc, boolType, shifted, zero);
  Value below = onnx::LessOp::create(builder, loc, boolType, shifted, scalar(builder, loc, element, localRows));
  Value mine = onnx::AndOp::create(builder, loc, boolType, above, below);
  gather.getIndicesMutable().assign(onnx::WhereOp::create(builder, loc, idsType, mine, shifted, zero).getResult());

  // One mask for each row of the result, one dimension per dimension of a row.
  auto resultType = llvm::cast<RankedTensorType>(gather.getOutput().getType());
  SmallVector<int64_t> axes, maskShape(idsType.getShape());
  for (int64_t dim = idsType.getRank(); dim < resultType.getRank(); ++dim) {
    axes.push_back(dim);
    maskShape.push_back(1);
  }
  builder.setInsertionPointAfter(op);
  Value mask = mine;
  if (!axes.empty())
    mask =
        onnx::UnsqueezeOp::create(builder, loc, boolType.clone(maskShape), mine, onnx::createInts(builder, loc, axes));
  auto zeroType = RankedTensorType::get({}, resultType.getElementType());
  Value none = onnx::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(zeroType, builder.getFloatAttr(resultType.getElementType(), 0.0)));
  local.replaceResult(gather.getOutput(),
                      onnx::WhereOp::create(builder, loc, resultType, mask, gather.getOutput(), none));
  return success();
}

void populateGatherRules(ShardingRules &rules) { rules.add<onnx::GatherOp>(gatherFactors, gatherLocal); }

} // namespace caat::shard
