// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/IndependentRows.h"
#include "caat/Shard/Probe.h"
#include "caat/Shard/ShardingAnalysis.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

StringAttr findBatch(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    auto dims = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims");
    if (dims && !dims.empty() && !cast<StringAttr>(dims[0]).empty())
      return cast<StringAttr>(dims[0]);
  }
  return {};
}

namespace {
class RowProof {
public:
  RowProof(func::FuncOp function, const Probe &probe, StringRef batch)
      : function(function), probe(probe), batch(batch),
        analysis(function, rules, [this](unsigned argument, int64_t dim) { return isBatch(argument, dim); }),
        space(analysis.getSpace()) {}

  std::optional<std::string> run() {
    for (BlockArgument argument : function.getArguments())
      if (std::optional<std::string> reason = addArgument(argument))
        return reason;
    for (Operation *op : analysis.getOps())
      if (std::optional<std::string> reason = isa<func::ReturnOp>(op) ? checkResults(op) : checkOp(op))
        return reason;
    return std::nullopt;
  }

private:
  bool isBatch(unsigned argument, int64_t dim) {
    auto dims = function.getArgAttrOfType<ArrayAttr>(argument, "onnx.dims");
    return dims && dim < static_cast<int64_t>(dims.size()) && cast<StringAttr>(dims[dim]) == batch;
  }
  bool hasBatch(ArrayRef<DimLayout> layout) {
    return llvm::any_of(layout, [&](const DimLayout &dim) {
      return llvm::any_of(dim, [&](const Term &term) { return atoms.contains(term.atom); });
    });
  }

  std::optional<std::string> addArgument(BlockArgument argument) {
    unsigned number = argument.getArgNumber();
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    auto name = "argument " + std::to_string(number);
    for (int64_t dim = 1; type && dim < type.getRank(); ++dim)
      if (isBatch(number, dim))
        return "dimension " + std::to_string(dim) + " of " + name + " has that size too";
    if (!type || type.getRank() == 0 || !isBatch(number, 0))
      return std::nullopt;
    DimLayout rows = analysis.getLayout(argument)[0];
    if (rows.size() != 1 || rows.front().width() != 1)
      return name + " is cut in other rows than the samples";
    const DimSpace::Info &info = space.getInfo(rows.front().atom);
    if (!info.refused.empty())
      return (info.refusedBy ? describeNode(info.refusedBy) : "") + "needs them all: a dimension " + info.refused;
    atoms.insert(rows.front().atom);
    return std::nullopt;
  }

  std::optional<std::string> checkResults(Operation *ret) {
    for (auto [number, value] : llvm::enumerate(ret->getOperands())) {
      ValueLayout layout = analysis.getLayout(value);
      if (layout.empty() || layout[0].size() != 1 || layout[0].front().width() != 1 || !hasBatch({layout[0]}))
        return "the first dimension of result " + std::to_string(number) + " is not that of the samples";
    }
    return std::nullopt;
  }

  std::optional<std::string> checkOp(Operation *op) {
    for (OpOperand &operand : op->getOpOperands())
      if (probe.isCounted(operand.get()) && isa<onnx::ONNXDialect>(op->getDialect()) && !takesShape(operand))
        return describeNode(op) + "computes with their number";
    const OpFactors &factors = analysis.getFactors(op);
    bool takes = llvm::any_of(op->getOperands(), [&](Value value) {
      return !analysis.isWeight(value) && hasBatch(analysis.getLayout(value));
    });
    bool gives = llvm::any_of(op->getResults(), [&](Value value) { return hasBatch(analysis.getLayout(value)); });
    auto sums = [&](const auto &sum) { return hasBatch({space.resolve(sum.layout)}); };
    if (llvm::any_of(factors.contractions, sums) || llvm::any_of(factors.statistics, sums))
      return describeNode(op) + "sums over them";
    if ((takes || gives) && op->getNumRegions() != 0)
      return describeNode(op) + "has no rule";
    if (takes && !factors.rule)
      return describeNode(op) + (factors.replicated.empty() ? "has no rule" : factors.replicated);
    if (takes && !gives && op->getNumResults() != 0)
      return describeNode(op) + "does not keep them apart";
    if (gives && isa<onnx::RangeOp>(op))
      return describeNode(op) + "numbers them";
    if (gives && !factors.rule && !isa<onnx::ConstantOfShapeOp>(op))
      return describeNode(op) + (factors.replicated.empty() ? "has no rule" : factors.replicated);
    return std::nullopt;
  }

  func::FuncOp function;
  const Probe &probe;
  StringRef batch;
  ShardingRules rules;
  ShardingAnalysis analysis;
  DimSpace &space;
  llvm::SmallDenseSet<Atom> atoms; // more than one where arguments never meet
};
} // namespace

std::optional<std::string> whyRowsMeet(func::FuncOp function, StringRef batch) {
  OwningOpRef<func::FuncOp> copy(function.clone());
  copy->setSymName("probe");
  SymbolicShapes shapes(*copy);
  dropChecks(*copy);
  AffineExpr samples = shapes.resolve(shapes.symbol(batch));
  Probe probe(*copy, shapes, [&](AffineExpr size) { return mentions(size, samples); });
  return RowProof(*copy, probe, batch).run();
}

} // namespace caat::shard
