// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Annotations.h"
#include "dialects/tp/TP.h"

using namespace mlir;

namespace caat::shard {

static tp::ShardingAttr shardingOf(MLIRContext *context, const Split &split, const ValueLayout &layout,
                                   bool unreduced) {
  ArrayAttr axis = ArrayAttr::get(context, StringAttr::get(context, axisName)), none = ArrayAttr::get(context, {});
  SmallVector<ArrayAttr> dims;
  for (const DimLayout &terms : layout)
    dims.push_back(split.isSplit(terms) ? axis : none);
  return tp::ShardingAttr::get(context, dims, unreduced ? axis : none, none);
}

/// No attribute where nothing is split.
static void setShardings(Operation *op, StringRef name, ArrayRef<Attribute> shardings) {
  if (llvm::any_of(shardings, [](Attribute attr) { return !cast<tp::ShardingAttr>(attr).isReplicated(); }))
    op->setAttr(name, ArrayAttr::get(op->getContext(), shardings));
}

void annotate(ShardingAnalysis &analysis, const Split &split) {
  func::FuncOp function = analysis.getFunction();
  MLIRContext *context = function.getContext();
  for (BlockArgument argument : function.getArguments()) {
    tp::ShardingAttr sharding = shardingOf(context, split, analysis.getLayout(argument), false);
    if (!sharding.isReplicated())
      function.setArgAttr(argument.getArgNumber(), argumentSharding, sharding);
  }
  for (Operation *op : analysis.getOps()) {
    const OpFactors &factors = analysis.getFactors(op);
    bool whole = whyWhole(analysis, split, op).has_value();
    bool partial = !whole && llvm::any_of(factors.contractions, [&](const Contraction &contraction) {
      return split.isSplit(analysis.getSpace().resolve(contraction.layout));
    });
    SmallVector<Attribute> operands, results;
    for (OpOperand &operand : op->getOpOperands())
      operands.push_back(
          shardingOf(context, split,
                     whole ? ValueLayout(analysis.getLayout(operand).size()) : analysis.getLayout(operand), false));
    for (OpResult result : op->getResults())
      results.push_back(
          shardingOf(context, split, analysis.getLayout(result), partial && result.getResultNumber() == 0));
    setShardings(op, operandShardings, operands);
    setShardings(op, resultShardings, results);
  }
}

static LogicalResult choose(Split &split, DimSpace &space, const ValueLayout &layout, Attribute attr, Location loc) {
  auto sharding = dyn_cast<tp::ShardingAttr>(attr);
  if (!sharding || sharding.getDims().size() != layout.size())
    return emitError(loc, "a sharding must be a #tp.sharding of the value's rank, not ") << attr;
  for (auto [dim, axes] : llvm::enumerate(sharding.getDims())) {
    if (axes.empty())
      continue;
    if (layout[dim].empty())
      return emitError(loc, "dimension ")
             << dim << " cannot be split: its size is 1 or not known, or the op has no rule";
    split.choose(layout[dim]);
  }
  return success();
}

FailureOr<Split> readAnnotations(ShardingAnalysis &analysis, int64_t size) {
  func::FuncOp function = analysis.getFunction();
  Split split(analysis.getSpace(), size);
  for (BlockArgument argument : function.getArguments())
    if (Attribute attr = function.getArgAttr(argument.getArgNumber(), argumentSharding))
      if (failed(choose(split, analysis.getSpace(), analysis.getLayout(argument), attr, argument.getLoc())))
        return failure();
  for (Operation *op : analysis.getOps()) {
    if (auto shardings = op->getAttrOfType<ArrayAttr>(operandShardings))
      for (auto [operand, attr] : llvm::zip(op->getOpOperands(), shardings))
        if (failed(choose(split, analysis.getSpace(), analysis.getLayout(operand), attr, op->getLoc())))
          return failure();
    if (auto shardings = op->getAttrOfType<ArrayAttr>(resultShardings))
      for (auto [result, attr] : llvm::zip(op->getResults(), shardings))
        if (failed(choose(split, analysis.getSpace(), analysis.getLayout(result), attr, op->getLoc())))
          return failure();
  }
  for (Operation *op : analysis.getOps()) {
    bool twice = false;
    for (OpOperand &operand : op->getOpOperands())
      twice |= split.hasTwoSplitDims(analysis.getLayout(operand));
    for (Value result : op->getResults())
      twice |= split.hasTwoSplitDims(analysis.getLayout(result));
    if (twice)
      return op->emitError("a value of this op would be split in two dimensions over the same ranks");
  }
  return split;
}

void clearAnnotations(func::FuncOp function) {
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    function.removeArgAttr(index, argumentSharding);
  function.walk([](Operation *op) {
    op->removeAttr(operandShardings);
    op->removeAttr(resultShardings);
  });
}

} // namespace caat::shard
