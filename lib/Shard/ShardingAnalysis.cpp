// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/ShardingAnalysis.h"
#include "caat/Raise/WeightExpressions.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

ShardingAnalysis::ShardingAnalysis(func::FuncOp function, const ShardingRules &rules,
                                   llvm::function_ref<bool(unsigned, int64_t)> isLeading)
    : function(function), shapes(function) {
  findWeights();
  for (BlockArgument argument : function.getArguments()) {
    addLayout(argument);
    for (auto [dim, layout] : llvm::enumerate(values[argument]))
      if (isLeading && isLeading(argument.getArgNumber(), dim))
        space.markLeading(layout);
  }
  for (Operation &op : function.getBody().front())
    if (op.getNumResults() == 0 || !isWeight(op.getResult(0))) {
      ops.push_back(&op);
      visit(&op, rules);
    }
  resolveMerges();
  // A KV head that is repeated on several ranks must not be summed over: each copy would count.
  auto forbidRepeats = [&](ArrayRef<Term> layout) {
    for (const Term &term : space.resolve(layout))
      if (term.group == 1)
        space.forbidRepeats(term);
  };
  for (Operation *op : ops) {
    for (const Contraction &contraction : factors[op].contractions)
      forbidRepeats(contraction.layout);
    for (const Statistic &statistic : factors[op].statistics)
      forbidRepeats(statistic.layout);
  }
}

void ShardingAnalysis::need(Operation *op, ArrayRef<Term> layout, StringRef reason) {
  if (layout.empty())
    return;
  space.refuse(layout, reason);
  factors[op].needs.push_back({DimLayout(layout), reason.str()});
}

void ShardingAnalysis::findWeights() {
  for (Operation &op : function.getBody().front()) {
    if (!isa_and_nonnull<onnx::ONNXDialect>(op.getDialect()) || op.getNumRegions() != 0)
      continue;
    bool leaf = isa<onnx::GetInitializerOp, onnx::ConstantOp, onnx::NoValueOp>(op);
    bool derived = op.getNumOperands() != 0 && isEvaluatedAtCompileTime(&op) &&
                   llvm::all_of(op.getOperands(), [&](Value value) { return weights.contains(value); });
    if (leaf || derived)
      weights.insert(op.result_begin(), op.result_end());
  }
}

/// A dimension whose size is a multiple of a number, as batch * heads is, can be split as that many innermost units.
ValueLayout ShardingAnalysis::freshLayout(Value value) {
  constexpr uint64_t maxUnits = 1 << 16;
  ValueLayout layout;
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor)
    return layout;
  for (auto [dim, size] : llvm::enumerate(tensor.getShape())) {
    AffineExpr expr = ShapedType::isDynamic(size) ? shapes.getDim(value, dim) : AffineExpr();
    uint64_t units = expr && !isa<AffineConstantExpr>(expr) ? expr.getLargestKnownDivisor() : 1;
    if (!ShapedType::isDynamic(size))
      layout.push_back(space.fresh(size));
    else if (units > 1 && units <= maxUnits && !isa<BlockArgument>(value))
      layout.push_back(space.fresh(units));
    else
      layout.push_back({});
  }
  return layout;
}

void ShardingAnalysis::addLayout(Value value) { values[value] = freshLayout(value); }

ValueLayout ShardingAnalysis::resolved(const ValueLayout *layout) {
  ValueLayout result;
  if (layout)
    for (const DimLayout &dim : *layout)
      result.push_back(space.resolve(dim));
  return result;
}

ValueLayout ShardingAnalysis::getLayout(Value value) {
  auto it = values.find(value);
  return resolved(it == values.end() ? nullptr : &it->second);
}

ValueLayout ShardingAnalysis::getLayout(OpOperand &operand) {
  auto it = operands.find(&operand);
  return it == operands.end() ? getLayout(operand.get()) : resolved(&it->second);
}

void ShardingAnalysis::copyLayout(Value from, Value to) {
  ValueLayout layout = getLayout(from);
  values[to] = std::move(layout);
}

const OpFactors &ShardingAnalysis::getFactors(Operation *op) const {
  static const OpFactors none;
  auto it = factors.find(op);
  return it == factors.end() ? none : it->second;
}

void ShardingAnalysis::visit(Operation *op, const ShardingRules &rules) {
  if (isa<func::ReturnOp>(op))
    return;
  for (Value result : op->getResults())
    addLayout(result);
  for (OpOperand &operand : op->getOpOperands())
    if (isWeight(operand.get()))
      operands[&operand] = freshLayout(operand.get());

  bool ranked = llvm::all_of(op->getOperandTypes(), [](Type type) { return !isa<UnrankedTensorType>(type); }) &&
                llvm::all_of(op->getResultTypes(), [](Type type) { return !isa<UnrankedTensorType>(type); });
  const ShardingRules::Rule *rule = ranked ? rules.lookup(op) : nullptr;
  FactorBuilder builder(*this, op);
  space.setSpeaker(op);
  OpFactors &entry = factors[op];
  if (rule && succeeded(rule->factors(op, builder))) {
    factors[op].rule = rule;
    // Shapes, axes and the like: weights that the rule does not speak of stay whole.
    for (OpOperand &operand : op->getOpOperands())
      if (isWeight(operand.get()) && !builder.mentions(operand.getOperandNumber()))
        operands[&operand] = ValueLayout(operands[&operand].size());
    return;
  }
  entry = OpFactors();
  entry.replicated = rule ? "has a form that its rule does not cover" : "has no rule";
  // Every operand is wanted whole; the results' dimensions are new ones that later ops may slice.
  for (OpOperand &operand : op->getOpOperands()) {
    size_t rank = 0;
    if (auto type = dyn_cast<RankedTensorType>(operand.get().getType()))
      rank = type.getRank();
    operands[&operand] = ValueLayout(rank);
  }
}

/// Reshapes of several dimensions into one: what the caller wants to lead and heads first, as they carry the decision
/// of an attention; then the outermost dimension that may be split, which is what a plain reshape keeps in order.
void ShardingAnalysis::resolveMerges() {
  auto isFirst = [&](const DimLayout &dim) { return space.isLeading(dim) || space.isHeads(dim); };
  auto isHeads = [&](const Merge &merge) { return isFirst(merge.merged) || llvm::any_of(merge.factors, isFirst); };
  // Heads reach further with each merge, in both directions of the graph; merges of others do not make new ones.
  bool found = true, backward = false;
  while (std::exchange(found, false)) {
    SmallVector<Merge> rest;
    for (Merge &merge : merges) {
      if (isHeads(merge)) {
        resolveMerge(merge);
        found = true;
      } else {
        rest.push_back(std::move(merge));
      }
    }
    std::reverse(rest.begin(), rest.end());
    backward = !backward;
    merges = std::move(rest);
  }
  if (backward)
    std::reverse(merges.begin(), merges.end());
  for (const Merge &merge : merges)
    resolveMerge(merge);
  merges.clear();
}

/// The factor that is split where the caller has marked one, or the dimension that they are merged to.
std::optional<size_t> ShardingAnalysis::leadingFactor(const Merge &merge) {
  for (auto [index, dim] : llvm::enumerate(merge.factors))
    if (!dim.empty() && space.isLeading(dim))
      return index;
  DimLayout merged = space.resolve(merge.merged);
  int64_t inner = 1;
  if (merged.size() == 1 && space.isLeading(merged))
    for (size_t index = merge.factors.size(); index-- > 0; inner *= merge.sizes[index])
      if (merged.front().width() == inner && !merge.factors[index].empty())
        return index;
  return std::nullopt;
}

void ShardingAnalysis::resolveMerge(const Merge &merge) {
  space.setSpeaker(merge.op);
  constexpr int64_t maxSegments = 64;
  std::optional<size_t> chosen;
  for (auto [index, dim] : llvm::enumerate(merge.factors))
    if (!dim.empty() && space.isHeads(dim))
      chosen = index;
  if (std::optional<size_t> leading = leadingFactor(merge))
    chosen = leading;
  int64_t outer = 1;
  for (auto [index, dim] : llvm::enumerate(merge.factors)) {
    if (!chosen && !dim.empty() && outer <= maxSegments && !space.isRefused(dim))
      chosen = index;
    outer *= merge.sizes[index];
  }
  if (!chosen || space.isRefused(merge.merged))
    chosen = std::nullopt;
  outer = 1;
  int64_t inner = 1;
  for (auto [index, dim] : llvm::enumerate(merge.factors)) {
    if (chosen && index < *chosen)
      outer *= merge.sizes[index];
    if (chosen && index > *chosen)
      inner *= merge.sizes[index];
    if (chosen != index)
      need(merge.op, dim, "is merged with another dimension by a reshape");
  }
  if (!chosen)
    return need(merge.op, merge.merged, "merges dimensions that are not split");
  DimLayout parts = space.repeated(space.scaled(merge.factors[*chosen], inner), outer);
  if (!space.unify(merge.merged, parts))
    for (const DimLayout &layout : {merge.merged, parts})
      need(merge.op, layout, "is cut in two ways that do not fit");
}

} // namespace caat::shard
