// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/ShardingRule.h"
#include "caat/Shard/ShardingAnalysis.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

ShardingRules::ShardingRules() {
  populateElementwiseRules(*this, elementwise);
  populateMatMulRules(*this);
  populateShapeRules(*this);
  populateReshapeRules(*this);
  populateNNRules(*this);
  populateGatherRules(*this);
  populateNormRules(*this);
  populateReduceRules(*this);
  populateConvolutionRules(*this);
  populateIndexRules(*this);
}

const ShardingRules::Rule *ShardingRules::lookup(Operation *op) const {
  auto it = table.find(op->getName().getStringRef());
  if (it != table.end())
    return &it->second;
  return op->hasTrait<onnx::BroadcastElementwise>() ? &elementwise : nullptr;
}

RankedTensorType FactorBuilder::operandType(unsigned index) const {
  return dyn_cast<RankedTensorType>(op->getOperand(index).getType());
}

RankedTensorType FactorBuilder::resultType(unsigned index) const {
  return dyn_cast<RankedTensorType>(op->getResult(index).getType());
}

bool FactorBuilder::isWeight(unsigned operand) const { return analysis.isWeight(op->getOperand(operand)); }

DimSpace &FactorBuilder::space() { return analysis.getSpace(); }

static DimLayout pick(const ValueLayout &layout, int64_t dim) {
  int64_t rank = layout.size();
  if (dim < 0)
    dim += rank;
  return dim >= 0 && dim < rank ? layout[dim] : DimLayout();
}

DimLayout FactorBuilder::operand(unsigned index, int64_t dim) {
  mentioned.push_back(index);
  return pick(analysis.getLayout(op->getOpOperand(index)), dim);
}

DimLayout FactorBuilder::result(unsigned index, int64_t dim) {
  return pick(analysis.getLayout(op->getResult(index)), dim);
}

void FactorBuilder::replicate(ArrayRef<Term> layout, StringRef reason) { analysis.need(op, layout, reason); }

void FactorBuilder::same(ArrayRef<Term> a, ArrayRef<Term> b) {
  if (a.empty() && b.empty())
    return;
  if (a.empty() || b.empty())
    return replicate(a.empty() ? b : a, "meets a dimension of unknown size or of size 1");
  if (!space().unify(a, b))
    for (ArrayRef<Term> layout : {a, b})
      replicate(layout, "is cut in two ways that do not fit");
}

void FactorBuilder::broadcastDim(unsigned operandIndex, int64_t fromEnd, unsigned resultIndex) {
  RankedTensorType from = operandType(operandIndex), to = resultType(resultIndex);
  int64_t dim = from.getRank() - fromEnd, resultDim = to.getRank() - fromEnd;
  if (from.getDimSize(dim) == 1)
    return;
  DimLayout a = operand(operandIndex, dim), b = result(resultIndex, resultDim);
  // Where the sizes are not known, one of them may be 1.
  bool known = !from.isDynamicDim(dim) ||
               (operandSize(operandIndex, dim) && operandSize(operandIndex, dim) == resultSize(resultIndex, resultDim));
  if (known)
    return same(a, b);
  for (ArrayRef<Term> layout : {ArrayRef<Term>(a), ArrayRef<Term>(b)})
    replicate(layout, "may be broadcast");
}

void FactorBuilder::broadcast(unsigned operandIndex, unsigned resultIndex) {
  RankedTensorType from = operandType(operandIndex);
  for (int64_t dim = 1; dim <= from.getRank(); ++dim)
    broadcastDim(operandIndex, dim, resultIndex);
}

AffineExpr FactorBuilder::operandSize(unsigned index, int64_t dim) const {
  return analysis.getShapes().getDim(op->getOperand(index), dim);
}

AffineExpr FactorBuilder::resultSize(unsigned index, int64_t dim) const {
  return analysis.getShapes().getDim(op->getResult(index), dim);
}

void FactorBuilder::replicateOperand(unsigned index, StringRef reason) {
  for (const DimLayout &layout : analysis.getLayout(op->getOpOperand(index)))
    replicate(layout, reason);
}

void FactorBuilder::replicateResult(unsigned index, StringRef reason) {
  for (const DimLayout &layout : analysis.getLayout(op->getResult(index)))
    replicate(layout, reason);
}

void FactorBuilder::contract(ArrayRef<Term> a, ArrayRef<Term> b) {
  same(a, b);
  analysis.factors[op].contractions.push_back({DimLayout(a)});
}

void FactorBuilder::statistic(ArrayRef<Term> layout, int64_t count) {
  if (!layout.empty())
    analysis.factors[op].statistics.push_back({DimLayout(layout), count});
}

void FactorBuilder::lookup(ArrayRef<Term> rows, int64_t bytes) {
  analysis.factors[op].contractions.push_back({DimLayout(rows), true, bytes});
}

void FactorBuilder::merge(ArrayRef<DimLayout> factors, ArrayRef<int64_t> sizes, ArrayRef<Term> merged) {
  analysis.merges.push_back({op, SmallVector<DimLayout>(factors), SmallVector<int64_t>(sizes), DimLayout(merged)});
}

} // namespace caat::shard
