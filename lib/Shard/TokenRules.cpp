// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TokenRules.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace caat::shard {

TokenRules::TokenRules(const Positions &positions, int64_t tokens, int64_t past, int64_t keys)
    : positions(positions), tokens(tokens), past(past), keys(keys) {
  auto with = [this](auto member) {
    return [this, member](Operation *op, FactorBuilder &factors) { return (this->*member)(op, factors); };
  };
  rules.replace<onnx::AttentionOp>(with(&TokenRules::attention));
  rules.replace<onnx::RotaryEmbeddingOp>(with(&TokenRules::rotary));
  rules.replace<onnx::SliceOp>(with(&TokenRules::slice));
  rules.replace<onnx::GatherOp>(with(&TokenRules::gather));
  rules.replace<onnx::ConcatOp>(with(&TokenRules::concat));
  rules.replace<onnx::CumSumOp>(with(&TokenRules::cumulative));
  // How many elements it has, and what they are, Positions knows.
  rules.replace<onnx::RangeOp>([](Operation *, FactorBuilder &) { return success(); });
}

StringRef TokenRules::whyRefused(Operation *op) const {
  auto it = refusals.find(op);
  return it == refusals.end() ? StringRef() : StringRef(it->second);
}

LogicalResult TokenRules::refuse(Operation *op, StringRef reason) {
  refusals[op] = reason.str();
  return failure();
}

std::optional<unsigned> findPresent(Value past, Value present, Operation *appends) {
  if (!past || !present || !isa<BlockArgument>(past))
    return std::nullopt;
  for (OpOperand &use : past.getUses())
    if (!isa<tensor::DimOp>(use.getOwner()) &&
        (use.getOwner() != appends || llvm::count(appends->getOperands(), past) != 1))
      return std::nullopt;
  Operation *ret = appends->getBlock()->getTerminator();
  auto result = llvm::find(ret->getOperands(), present);
  if (result == ret->operand_end())
    return std::nullopt;
  return result.getIndex();
}

/// Query i of `past` + i positions sees the keys up to its own, those of a cache and those of tokens before it alike:
/// how many of them are cached does not matter.
LogicalResult TokenRules::attention(Operation *op, FactorBuilder &factors) {
  auto attention = cast<onnx::AttentionOp>(op);
  if (!attention.getPastKey() || !attention.getPastValue())
    return refuse(op, "has no cache");
  if (!attention.getIsCausal())
    return refuse(op, "is not causal: tokens see those behind them");
  if (attention.getQkMatmulOutput())
    return refuse(op, "returns its scores");
  if (!findPresent(attention.getPastKey(), attention.getPresentKey(), op) ||
      !findPresent(attention.getPastValue(), attention.getPresentValue(), op))
    return refuse(op, "takes a cache that is not an input of its own, or that the model does not return");
  auto size = [](Value value, int64_t fromEnd) {
    auto type = cast<RankedTensorType>(value.getType());
    return type.getRank() < fromEnd ? 1 : type.getDimSize(type.getRank() - fromEnd);
  };
  for (Value value : {attention.getQ(), attention.getK(), attention.getV()})
    if (size(value, 2) != tokens)
      return refuse(op, "has queries or keys that are not those of the tokens");
  for (Value value : {attention.getPastKey(), attention.getPastValue()})
    if (size(value, 2) != past)
      return refuse(op, "has caches of different lengths");
  if (Value lengths = attention.getNonpadKvSeqlen(); lengths && !positions.isNumber(lengths, positions.getSizes().keys))
    return refuse(op, "has lengths of rows that are not known to be those of all tokens so far");
  if (Value mask = attention.getAttnMask())
    if ((size(mask, 1) != keys && size(mask, 1) != 1) || (size(mask, 2) != tokens && size(mask, 2) != 1))
      return refuse(op, "has a mask that is not one of the tokens and of all keys");

  DimLayout queries = factors.result(0, -2);
  for (OpOperand &operand : op->getOpOperands()) {
    unsigned index = operand.getOperandNumber();
    Value value = operand.get();
    bool hasTokens = value == attention.getQ() || value == attention.getK() || value == attention.getV() ||
                     (value == attention.getAttnMask() && size(value, 2) == tokens);
    if (hasTokens)
      factors.same(factors.operand(index, -2), queries);
  }
  return success();
}

/// X [B, H, S, D] or [B, S, H * D]; positions [B, S] for tables, or angles [B, S, D / 2].
LogicalResult TokenRules::rotary(Operation *op, FactorBuilder &factors) {
  auto rotary = cast<onnx::RotaryEmbeddingOp>(op);
  RankedTensorType type = factors.operandType(0);
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  DimLayout rotated = factors.result(0, -2);
  bool hasPositions = bool(rotary.getPositionIds());
  for (unsigned operand = 1; operand < op->getNumOperands(); ++operand) {
    RankedTensorType angles = factors.operandType(operand);
    if (operand < 3 && hasPositions) {
      if (angles.getDimSize(0) == keys && positions.isPosition(rotary.getPositionIds()))
        continue; // a row for each position
      factors.replicate(factors.operand(operand, 0), "is indexed");
    } else if (angles.getRank() >= 2 && angles.getDimSize(1) != 1) {
      factors.same(factors.operand(operand, 1), rotated);
    }
  }
  return success();
}

LogicalResult TokenRules::slice(Operation *op, FactorBuilder &factors) {
  ArrayRef<Cut> cuts = positions.getCuts(op);
  if (cuts.empty())
    return failure();
  for (auto [dim, cut] : llvm::enumerate(cuts)) {
    DimLayout whole = factors.operand(0, dim), part = factors.result(0, dim);
    if (cut == Cut::None)
      factors.same(whole, part);
    if (cut != Cut::Unknown)
      continue;
    factors.replicate(whole, "is cut at places that differ with what is cached");
    factors.replicate(part, "is cut at places that differ with what is cached");
  }
  return success();
}

/// Rows of all positions may be looked up by position, or the first one.
LogicalResult TokenRules::gather(Operation *op, FactorBuilder &factors) {
  auto gather = cast<onnx::GatherOp>(op);
  std::optional<int64_t> axis = linkGathered(factors, gather);
  if (!axis)
    return failure();
  bool isSettled = positions.isPosition(gather.getIndices()) ||
                   positions.isNumber(gather.getIndices(), getAffineConstantExpr(0, op->getContext()));
  if (factors.operandType(0).getDimSize(*axis) != keys || !isSettled)
    factors.replicate(factors.operand(0, *axis), "is indexed");
  return success();
}

/// What is joined behind the past need not be what it would have been as part of the past: only numbers are known to
/// be.
LogicalResult TokenRules::concat(Operation *op, FactorBuilder &factors) {
  int64_t rank = factors.resultType(0).getRank();
  std::optional<int64_t> axis = onnx::normalizeAxis(cast<onnx::ConcatOp>(op).getAxis(), rank);
  if (!axis)
    return failure();
  const Progression *known = positions.get(op->getResult(0));
  for (unsigned index = 0; index < op->getNumOperands(); ++index) {
    for (int64_t dim = 0; dim < rank; ++dim)
      if (dim != *axis)
        factors.same(factors.operand(index, dim), factors.result(0, dim));
    if (isOfPositions(factors.operandType(index).getDimSize(*axis)) && !(known && known->settled))
      return refuse(op, "joins them with others");
  }
  return success();
}

/// A sum over what came before is the same however much follows, if it begins at the first position.
LogicalResult TokenRules::cumulative(Operation *op, FactorBuilder &factors) {
  auto sum = cast<onnx::CumSumOp>(op);
  RankedTensorType type = factors.operandType(0);
  std::optional<SmallVector<int64_t>> axis = onnx::constantInts(sum.getAxis());
  std::optional<int64_t> along =
      axis && axis->size() == 1 ? onnx::normalizeAxis(axis->front(), type.getRank()) : std::nullopt;
  if (!along)
    return failure();
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  int64_t size = type.getDimSize(*along);
  if (sum.getReverse() || (size != keys && size != past))
    factors.replicate(factors.operand(0, *along), "is summed up along");
  return success();
}

} // namespace caat::shard
