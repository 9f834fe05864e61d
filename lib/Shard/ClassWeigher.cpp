// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ClassWeigher.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace caat::shard {

void ClassWeigher::visit(Operation *op) {
  if (isa<func::ReturnOp>(op))
    return visitResults(op);
  const OpFactors &factors = analysis.getFactors(op);
  findNeeded(factors);
  for (OpOperand &operand : op->getOpOperands())
    visitOperand(operand, factors);
  findStuck(op, factors);
  for (const Contraction &contraction : factors.contractions)
    visitContraction(op, contraction);
  for (const Statistic &statistic : factors.statistics)
    visitStatistic(op, statistic);
}

/// Results of the function stay split.
void ClassWeigher::visitResults(Operation *terminator) {
  for (Value value : terminator->getOperands()) {
    for (const DimLayout &terms : analysis.getLayout(value))
      if (DimClass *cls = classOf(terms))
        cls->returnedBytes += cost.bytes(value);
    stick(value, nullptr);
  }
}

void ClassWeigher::findNeeded(const OpFactors &factors) {
  needed.clear();
  for (const Need &need : factors.needs)
    if (DimClass *cls = classOf(need.layout)) {
      needed.insert(cls);
      if (cls->needed.empty())
        cls->needed = need.reason;
    }
}

/// Weights that are split, and slices that are put together.
void ClassWeigher::visitOperand(OpOperand &operand, const OpFactors &factors) {
  Value value = operand.get();
  bool isWeight = analysis.isWeight(value);
  auto storedBytes = [&] { return onnx::storageBytes(cast<RankedTensorType>(value.getType())).value_or(0); };
  for (const DimLayout &terms : isWeight ? analysis.getLayout(operand) : analysis.getLayout(value)) {
    DimClass *cls = classOf(terms);
    if (!cls)
      continue;
    bool isWhole = !factors.rule || needed.contains(cls);
    if (isWeight && !isWhole)
      cls->weightBytes += storedBytes();
    else if (Operation *producer = value.getDefiningOp(); producer && computesWhole(producer, cls))
      continue; // what was computed whole need not be gathered
    else if (!isWeight && isWhole && gathered.insert({value, cls}).second)
      cls->gatheredBytes += cost.bytes(value);
  }
  if (isWeight && isa<RankedTensorType>(value.getType()))
    allWeights += storedBytes();
}

/// Where an op needs dimensions whole, its operands are gathered and its results sliced.
void ClassWeigher::findStuck(Operation *op, const OpFactors &factors) {
  for (ValueRange values : {ValueRange(op->getOperands()), ValueRange(op->getResults())})
    for (Value value : values) {
      for (DimClass *cls : needed)
        stick(value, cls);
      if (!factors.rule)
        stick(value, nullptr);
    }
}

/// A partial sum of the op's result.
void ClassWeigher::visitContraction(Operation *op, const Contraction &contraction) {
  DimClass *cls = classOf(contraction.layout);
  if (!cls || needed.contains(cls))
    return;
  cls->reducedBytes += cost.bytes(op->getResult(0));
  if (contraction.lookup) {
    cls->lookupOnly |= !products.contains(cls);
    largestTable = std::max(largestTable, contraction.tableBytes);
  } else {
    products.insert(cls);
    cls->lookupOnly = false;
  }
}

/// Some numbers for each row of the op's result.
void ClassWeigher::visitStatistic(Operation *op, const Statistic &statistic) {
  DimClass *cls = classOf(statistic.layout);
  if (!cls || needed.contains(cls))
    return;
  int64_t size = analysis.getSpace().getSize(analysis.getSpace().resolve(statistic.layout));
  cls->reducedBytes += statistic.count * cost.bytes(op->getResult(0)) / std::max<int64_t>(1, size);
}

/// Units of a dimension of unknown size lie apart in it: no slice and no gather can take them out. Of all classes, or
/// of one.
void ClassWeigher::stick(Value value, DimClass *only) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || analysis.isWeight(value))
    return;
  for (auto [dim, terms] : llvm::enumerate(analysis.getLayout(value)))
    if (DimClass *cls = type.isDynamicDim(dim) ? classOf(terms) : nullptr; cls && (!only || cls == only))
      cls->stuck = "is merged with a dimension of unknown size where an op needs it whole";
}

bool ClassWeigher::computesWhole(Operation *op, DimClass *cls) {
  const OpFactors &factors = analysis.getFactors(op);
  return !factors.rule || llvm::any_of(factors.needs, [&](const Need &need) { return classOf(need.layout) == cls; });
}

} // namespace caat::shard
