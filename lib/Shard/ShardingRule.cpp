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

void FactorBuilder::same(ArrayRef<Term> a, ArrayRef<Term> b) {
  if (a.empty() && b.empty())
    return;
  if (a.empty() || b.empty())
    return space().refuse(a.empty() ? b : a, "meets a dimension of unknown size or of size 1");
  space().unify(a, b);
}

void FactorBuilder::broadcast(unsigned operandIndex, unsigned resultIndex) {
  RankedTensorType from = operandType(operandIndex);
  for (int64_t dim = 1; dim <= from.getRank(); ++dim)
    if (from.getDimSize(from.getRank() - dim) != 1)
      same(operand(operandIndex, -dim), result(resultIndex, -dim));
}

void FactorBuilder::replicateOperand(unsigned index, StringRef reason) {
  for (const DimLayout &layout : analysis.getLayout(op->getOpOperand(index)))
    space().refuse(layout, reason);
}

void FactorBuilder::replicateResult(unsigned index, StringRef reason) {
  for (const DimLayout &layout : analysis.getLayout(op->getResult(index)))
    space().refuse(layout, reason);
}

void FactorBuilder::contract(ArrayRef<Term> a, ArrayRef<Term> b) {
  same(a, b);
  analysis.factors[op].contractions.push_back({DimLayout(a)});
}

void FactorBuilder::lookup(ArrayRef<Term> rows, int64_t bytes) {
  analysis.factors[op].contractions.push_back({DimLayout(rows), true, bytes});
}

void FactorBuilder::merge(ArrayRef<DimLayout> factors, ArrayRef<int64_t> sizes, ArrayRef<Term> merged) {
  analysis.merges.push_back({SmallVector<DimLayout>(factors), SmallVector<int64_t>(sizes), DimLayout(merged), op});
}

} // namespace caat::shard
