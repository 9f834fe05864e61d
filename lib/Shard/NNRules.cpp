// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Softmax and scans need their axis whole; attention and rotary embedding pass heads through.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

static void linkAllDims(FactorBuilder &factors, unsigned operand, unsigned result) {
  for (int64_t dim = 0; dim < factors.operandType(operand).getRank(); ++dim)
    factors.same(factors.operand(operand, dim), factors.result(result, dim));
}

static LogicalResult alongAxis(FactorBuilder &factors, int64_t axis) {
  std::optional<int64_t> dim = onnx::normalizeAxis(axis, factors.operandType(0).getRank());
  if (!dim)
    return failure();
  linkAllDims(factors, 0, 0);
  factors.replicate(factors.operand(0, *dim), "is the axis of a softmax or scan");
  return success();
}

/// Q [B, Hq, S, D], K and V [B, Hkv, T, D]: one unit is a KV head with its group of query heads. A single KV head is on
/// every rank, and the units are the query heads.
static LogicalResult attentionFactors(Operation *op, FactorBuilder &factors) {
  auto attention = cast<onnx::AttentionOp>(op);
  auto indexOf = [&](Value value) -> std::optional<unsigned> {
    if (!value)
      return std::nullopt;
    for (OpOperand &operand : op->getOpOperands())
      if (operand.get() == value)
        return operand.getOperandNumber();
    return std::nullopt;
  };
  RankedTensorType q = factors.operandType(0), k = factors.operandType(1);
  bool fourD = q.getRank() == 4;
  if (attention.getQkMatmulOutput() || (!fourD && (!attention.getQNumHeads() || !attention.getKvNumHeads())))
    return failure();
  int64_t queryHeads = fourD ? q.getDimSize(1) : *attention.getQNumHeads();
  int64_t keyHeads = fourD ? k.getDimSize(1) : *attention.getKvNumHeads();
  if (queryHeads <= 0 || keyHeads <= 0 || queryHeads % keyHeads != 0)
    return failure();
  int64_t group = queryHeads / keyHeads;

  DimSpace &space = factors.space();
  bool single = keyHeads == 1 && queryHeads > 1;
  DimLayout kv = fourD ? factors.operand(1, 1) : space.fresh(keyHeads);
  DimLayout queries = single ? space.fresh(queryHeads) : space.grouped(kv, group);
  auto link = [&](DimLayout dim, RankedTensorType type, bool query) {
    DimLayout heads = query ? queries : kv;
    int64_t size = type.getDimSize(type.getRank() == 4 ? 1 : 2);
    int64_t count = query ? queryHeads : keyHeads;
    if (size > 0 && size % count == 0 && !heads.empty())
      factors.same(dim, space.scaled(heads, size / count));
    else
      factors.replicate(dim, "has a single head");
  };
  int64_t headDim = fourD ? 1 : 2;
  link(factors.operand(1, headDim), k, false);
  link(factors.operand(2, headDim), factors.operandType(2), false);
  link(factors.operand(0, headDim), q, true);
  link(factors.result(0, headDim), factors.resultType(0), true);
  space.markHeads(single ? queries : kv, single ? 1 : group);
  for (Value past : {attention.getPastKey(), attention.getPastValue()})
    if (std::optional<unsigned> index = indexOf(past))
      link(factors.operand(*index, 1), factors.operandType(*index), false);
  for (Value present : {attention.getPresentKey(), attention.getPresentValue()})
    if (present) {
      unsigned number = cast<OpResult>(present).getResultNumber();
      link(factors.result(number, 1), factors.resultType(number), false);
      factors.same(factors.result(number, 0), factors.result(0, 0));
      for (int64_t dim : {2, 3})
        factors.replicate(factors.result(number, dim), "is summed over by attention");
    }

  // Batch passes through; positions and channels of a head are needed whole.
  for (unsigned index : {0u, 1u, 2u}) {
    factors.same(factors.operand(index, 0), factors.result(0, 0));
    for (int64_t dim = 1; dim < factors.operandType(index).getRank(); ++dim)
      if (dim != headDim)
        factors.replicate(factors.operand(index, dim), "is summed over by attention");
  }
  for (int64_t dim = 1; dim < factors.resultType(0).getRank(); ++dim)
    if (dim != headDim)
      factors.replicate(factors.result(0, dim), "is summed over by attention");
  if (std::optional<unsigned> mask = indexOf(attention.getAttnMask())) {
    RankedTensorType type = factors.operandType(*mask);
    for (int64_t dim = 1; dim <= type.getRank(); ++dim) {
      if (dim == 4 && type.getDimSize(0) != 1) {
        factors.same(factors.operand(*mask, 0), factors.result(0, 0));
        continue;
      }
      bool perHead = dim == 3 && type.getDimSize(type.getRank() - 3) == queryHeads && queryHeads > 1;
      if (perHead)
        factors.same(factors.operand(*mask, -3), queries);
      else
        factors.replicate(factors.operand(*mask, -dim), "is the mask of an attention");
    }
  }
  for (Value other : {attention.getPastKey(), attention.getPastValue(), attention.getNonpadKvSeqlen()})
    if (std::optional<unsigned> index = indexOf(other)) {
      factors.same(factors.operand(*index, 0), factors.result(0, 0));
      for (int64_t dim = 2; dim < factors.operandType(*index).getRank(); ++dim)
        factors.replicate(factors.operand(*index, dim), "is summed over by attention");
    }
  return success();
}

static LogicalResult attentionLocal(Operation *op, LocalShapes &local) {
  auto attention = cast<onnx::AttentionOp>(op);
  int64_t dim = local.operandSplit(op, 0);
  if (dim < 0)
    return success();
  auto localHeads = [&](unsigned operand, int64_t heads) {
    DimLayout layout = local.operandLayout(op, operand)[dim];
    if (heads == 1)
      return heads;
    return local.localSize(layout) / (local.getSpace().getSize(layout) / heads);
  };
  // The default scale and the 3-D form know the heads by attribute.
  if (std::optional<int64_t> heads = attention.getQNumHeads())
    attention.setQNumHeads(localHeads(0, *heads));
  if (std::optional<int64_t> heads = attention.getKvNumHeads())
    attention.setKvNumHeads(localHeads(1, *heads));
  return success();
}

/// X [B, H, S, D] or [B, S, H * D]: heads pass through, angles are the same for all.
static LogicalResult rotaryFactors(Operation *op, FactorBuilder &factors) {
  auto rotary = cast<onnx::RotaryEmbeddingOp>(op);
  RankedTensorType type = factors.operandType(0);
  if (type.getRank() != 4 && (type.getRank() != 3 || rotary.getNumHeads() <= 0))
    return failure();
  linkAllDims(factors, 0, 0);
  if (type.getRank() == 4) {
    factors.replicate(factors.operand(0, 3), "is rotated in pairs");
  } else {
    int64_t heads = rotary.getNumHeads(), size = type.getDimSize(2);
    DimLayout units = factors.space().fresh(heads);
    if (units.empty() || size <= 0 || size % heads != 0)
      factors.replicate(factors.operand(0, 2), "is rotated in pairs");
    else
      factors.same(factors.operand(0, 2), factors.space().scaled(units, size / heads));
  }
  // Tables [positions, D / 2], or angles [B, S, D / 2]; positions [B, S].
  for (unsigned operand = 1; operand < op->getNumOperands(); ++operand) {
    RankedTensorType angles = factors.operandType(operand);
    bool perSample = angles && angles.getRank() == (operand == 3 ? 2 : 3) && angles.getDimSize(0) != 1;
    if (perSample)
      factors.same(factors.operand(operand, 0), factors.result(0, 0));
    for (int64_t dim = perSample; angles && dim < angles.getRank(); ++dim)
      factors.replicate(factors.operand(operand, dim), "holds angles");
  }
  return success();
}

static LogicalResult rotaryLocal(Operation *op, LocalShapes &local) {
  auto rotary = cast<onnx::RotaryEmbeddingOp>(op);
  int64_t dim = local.resultSplit(op, 0), heads = rotary.getNumHeads();
  if (dim < 1 || heads <= 0)
    return success();
  DimLayout layout = local.resultLayout(op, 0)[dim];
  if (dim == (cast<RankedTensorType>(rotary.getX().getType()).getRank() == 4 ? 1 : 2))
    rotary.setNumHeads(local.localSize(layout) / (local.getSpace().getSize(layout) / heads));
  return success();
}

void populateNNRules(ShardingRules &rules) {
  rules.add<onnx::SoftmaxOp>(
      [](Operation *op, FactorBuilder &factors) { return alongAxis(factors, cast<onnx::SoftmaxOp>(op).getAxis()); });
  rules.add<onnx::LogSoftmaxOp>(
      [](Operation *op, FactorBuilder &factors) { return alongAxis(factors, cast<onnx::LogSoftmaxOp>(op).getAxis()); });
  rules.add<onnx::CumSumOp>([](Operation *op, FactorBuilder &factors) -> LogicalResult {
    std::optional<SmallVector<int64_t>> axis = onnx::constantInts(op->getOperand(1));
    return axis && axis->size() == 1 ? alongAxis(factors, axis->front()) : failure();
  });
  rules.add<onnx::AttentionOp>(attentionFactors, attentionLocal);
  rules.add<onnx::RotaryEmbeddingOp>(rotaryFactors, rotaryLocal);
}

} // namespace caat::shard
