// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/DividedTokens.h"
#include "StepInputs.h"
#include "TokenRules.h"
#include "caat/Shard/Probe.h"
#include "caat/Shard/ShardingAnalysis.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

/// Bounds of which Positions, or the rule of attention, knows all that matters.
static bool takesBounds(OpOperand &operand) {
  Operation *op = operand.getOwner();
  if (auto attention = dyn_cast<onnx::AttentionOp>(op))
    return operand.get() == attention.getNonpadKvSeqlen();
  return takesShape(operand) || isa<onnx::RangeOp>(op) || (isa<onnx::SliceOp>(op) && operand.getOperandNumber() != 0);
}

static bool isReduction(Operation *op) {
  return isa<onnx::ReduceSumOp, onnx::ReduceMaxOp, onnx::ReduceMinOp, onnx::ReduceProdOp>(op) &&
         isa<IntegerType>(getElementTypeOrSelf(op->getResult(0).getType()));
}

namespace {
using Reason = std::optional<std::string>;

/// The proof on a probe. Dimensions of positions are found by their size, which is no other dimension's; that they are
/// what they seem to be is what each op is asked for.
class TokenProof {
public:
  TokenProof(func::FuncOp function, const SymbolicShapes &shapes, const Positions &positions, const Probe &probe,
             int64_t tokens, int64_t past, int64_t keys)
      : function(function), shapes(shapes), positions(positions), probe(probe), tokens(tokens),
        rules(positions, tokens, past, keys),
        analysis(function, rules.getRules(),
                 [&](unsigned argument, int64_t dim) {
                   return cast<RankedTensorType>(function.getArgument(argument).getType()).getDimSize(dim) == tokens;
                 }),
        space(analysis.getSpace()) {}

  Reason run() {
    for (Operation *op : analysis.getOps())
      if (Reason reason = isa<func::ReturnOp>(op) ? checkResults(op) : checkOp(op))
        return reason;
    return std::nullopt;
  }

private:
  int64_t unitsOf(const Term &term) { return space.getInfo(term.atom).units; }
  bool hasPositions(ArrayRef<Term> layout) {
    return llvm::any_of(space.resolve(layout), [&](const Term &term) { return rules.isOfPositions(unitsOf(term)); });
  }
  bool hasPositions(Value value) {
    return llvm::any_of(analysis.getLayout(value), [&](const DimLayout &dim) { return hasPositions(dim); });
  }
  /// The tokens alone, one element for each.
  bool isTokens(ArrayRef<Term> dim) {
    return dim.size() == 1 && dim.front().width() == 1 && unitsOf(dim.front()) == tokens;
  }

  /// A dimension whose size is not the same in all runs: positions, with a number of elements each, or copies of
  /// tokens.
  bool isWhole(ArrayRef<Term> dim) {
    if (dim.size() == 1)
      return rules.isOfPositions(unitsOf(dim.front()));
    return !dim.empty() && llvm::all_of(dim, [&](const Term &term) { return unitsOf(term) == tokens; });
  }

  Reason checkSizes(Operation *op) {
    for (Value value : op->getResults()) {
      auto type = dyn_cast<TensorType>(value.getType());
      std::optional<SymbolicShapes::Dims> dims = type ? shapes.getDims(value) : std::nullopt;
      if (type && !dims)
        return describeNode(op) + "gives a shape that is not known";
      ValueLayout layout = analysis.getLayout(value);
      for (size_t dim = 0; type && dim < dims->size(); ++dim) {
        AffineExpr size = (*dims)[dim];
        if (RunSizes::isSettled(size))
          continue;
        if (!size || dim >= layout.size() || !isWhole(layout[dim]))
          return describeNode(op) + "gives a dimension that is none of tokens or keys: " +
                 (size ? shapes.describe(size) : "of a size that depends on data");
      }
    }
    return std::nullopt;
  }

  /// Whether the op computes, otherwise than by shapes, with something that is not settled.
  bool takesCounted(Operation *op) {
    if (isa<onnx::SliceOp>(op) &&
        (positions.getCuts(op).empty() || llvm::is_contained(positions.getCuts(op), Cut::Unknown)))
      return true;
    return llvm::any_of(op->getOpOperands(), [&](OpOperand &operand) {
      return (counted.contains(operand.get()) || probe.isCounted(operand.get())) && !takesBounds(operand);
    });
  }

  Reason checkOp(Operation *op) {
    if (StringRef refusal = rules.whyRefused(op); !refusal.empty())
      return describeNode(op) + refusal.str();
    if (op->getNumRegions() != 0)
      return describeNode(op) + "has a body of its own";
    const OpFactors &factors = analysis.getFactors(op);
    bool takes =
        llvm::any_of(op->getOperands(), [&](Value value) { return !analysis.isWeight(value) && hasPositions(value); });
    bool gives = llvm::any_of(op->getResults(), [&](Value value) { return hasPositions(value); });
    if (!factors.rule && (takes || gives) && !isa<onnx::ConstantOfShapeOp>(op))
      return describeNode(op) + (factors.replicated.empty() ? "has no rule" : factors.replicated);
    bool sums = llvm::any_of(factors.contractions, [&](const Contraction &c) { return hasPositions(c.layout); }) ||
                llvm::any_of(factors.statistics, [&](const Statistic &s) { return hasPositions(s.layout); });
    auto need = llvm::find_if(factors.needs, [&](const Need &need) { return hasPositions(need.layout); });
    bool counts = isReduction(op) && !gives; // how many are not masked, or the last position
    if (sums && !counts)
      return describeNode(op) + "sums over them";
    if (need != factors.needs.end() && !counts)
      return describeNode(op) + "needs them all: a dimension " + need->reason;
    if (Reason reason = checkSizes(op))
      return reason;
    if (takes && !gives && !counts && op->getNumResults() != 0 && !isa<onnx::SliceOp, onnx::GatherOp>(op))
      return describeNode(op) + "does not keep them apart";
    return follow(op, gives, takesCounted(op) || (takes && counts));
  }

  /// Notes which results are not settled; refuses to have them beside the tokens.
  Reason follow(Operation *op, bool gives, bool takesCounted) {
    for (Value result : op->getResults())
      if (const Progression *known = positions.get(result)) {
        if (!known->settled)
          counted.insert(result);
        return std::nullopt;
      }
    if (takesCounted && gives)
      return describeNode(op) + "computes with how many there are, or how many are cached";
    if (takesCounted || isa<onnx::RangeOp>(op))
      counted.insert(op->result_begin(), op->result_end());
    if (isa<onnx::RangeOp>(op) && gives)
      return describeNode(op) + "numbers them from a place that is not known";
    return std::nullopt;
  }

  Reason checkResults(Operation *ret) {
    llvm::SmallDenseSet<unsigned> presents;
    for (Operation *op : analysis.getOps())
      if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        for (auto [past, present] : {std::pair(attention.getPastKey(), attention.getPresentKey()),
                                     std::pair(attention.getPastValue(), attention.getPresentValue())})
          if (std::optional<unsigned> result = findPresent(past, present, op))
            presents.insert(*result);
    for (auto [number, value] : llvm::enumerate(ret->getOperands())) {
      if (presents.contains(number))
        continue;
      auto attr = function.getResultAttrOfType<StringAttr>(number, "onnx.name");
      std::string name = "result '" + (attr ? attr.str() : std::to_string(number)) + "' ";
      if (counted.contains(value) || probe.isCounted(value))
        return name + "depends on how many there are, or how many are cached";
      bool found = false;
      for (const DimLayout &dim : analysis.getLayout(value)) {
        bool isLate = !found && !dim.empty() && !isTokens(dim);
        if (isLate || (found && hasPositions(dim)))
          return name +
                 (isLate ? "has another dimension before them, or no row for each" : "has a second dimension of them");
        found |= isTokens(dim);
      }
      if (!found)
        return name + "has no row for each of them";
    }
    return std::nullopt;
  }

  func::FuncOp function;
  const SymbolicShapes &shapes;
  const Positions &positions;
  const Probe &probe;
  int64_t tokens;
  TokenRules rules;
  ShardingAnalysis analysis;
  DimSpace &space;
  DenseSet<Value> counted; // not settled
};
} // namespace

Division divideTokens(func::FuncOp function) {
  StepInputs inputs;
  if (Reason reason = inputs.find(function))
    return {{}, *reason};
  OwningOpRef<func::FuncOp> copy(function.clone());
  copy->setSymName("probe");
  if (Reason reason = inputs.bind(*copy))
    return {{}, *reason};
  dropChecks(*copy);
  SymbolicShapes shapes(*copy);
  AffineExpr tokens = shapes.resolve(shapes.symbol(inputs.tokens)), past = shapes.resolve(shapes.symbol(inputs.past));
  AffineExpr keys = addDims(past, tokens);
  if (!isa<AffineSymbolExpr>(tokens) || !isa<AffineSymbolExpr>(past) || tokens == past || !keys)
    return {{}, "the program fixes their number, or that of the cached ones"};
  Positions positions(*copy, shapes, {tokens, past, keys});
  Probe probe(*copy, shapes, [](AffineExpr size) { return !RunSizes::isSettled(size); });
  TokenProof proof(*copy, shapes, positions, probe, probe.evaluate(tokens), probe.evaluate(past), probe.evaluate(keys));
  if (Reason reason = proof.run())
    return {{}, *reason};
  return {StringAttr::get(function.getContext(), inputs.tokens), ""};
}

} // namespace caat::shard
