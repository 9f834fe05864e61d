// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Annotations.h"
#include "caat/Shard/Passes.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace caat {
#define GEN_PASS_DEF_TPREPORTSHARDING
#include "caat/Shard/Passes.h.inc"

using namespace shard;

static std::string nameOf(Operation *op) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  return "";
}

/// "-,1 -> 2": the split dimension of each operand and result.
static std::string describeDims(ShardingAnalysis &analysis, const Split &split, Operation *op) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  auto print = [&](const ValueLayout &layout) {
    int64_t dim = split.splitDim(layout);
    if (dim < 0)
      stream << "-";
    else
      stream << dim;
  };
  llvm::interleave(op->getOpOperands(), stream, [&](OpOperand &operand) { print(analysis.getLayout(operand)); }, ",");
  stream << " -> ";
  llvm::interleave(op->getResults(), stream, [&](OpResult result) { print(analysis.getLayout(result)); }, ",");
  return text;
}

/// Why the op is sharded so, and what it sends.
static std::string describeReason(ShardingAnalysis &analysis, const Split &split, Operation *op) {
  const OpFactors &factors = analysis.getFactors(op);
  std::string text;
  for (const Contraction &contraction : factors.contractions)
    if (split.isSplit(analysis.getSpace().resolve(contraction.layout)))
      return llvm::formatv("{0}: partial sums, all_reduce {1} bytes",
                           contraction.lookup ? "rows of a table" : "row-parallel",
                           bytesPerToken(op->getResult(0).getType()));
  if (!factors.rule) {
    int64_t bytes = 0;
    for (Value operand : op->getOperands())
      if (!analysis.isWeight(operand) && split.splitDim(analysis.getLayout(operand)) >= 0)
        bytes += bytesPerToken(operand.getType());
    text = "replicated: " + factors.replicated;
    if (bytes)
      text += llvm::formatv(", all_gather {0} bytes", bytes);
    return text;
  }
  bool splitResult =
      llvm::any_of(op->getResults(), [&](Value result) { return split.splitDim(analysis.getLayout(result)) >= 0; });
  bool splitOperand = llvm::any_of(op->getOperands(), [&](Value value) {
    return !analysis.isWeight(value) && split.splitDim(analysis.getLayout(value)) >= 0;
  });
  if (splitResult)
    return splitOperand ? "passes through" : "column-parallel";
  // Name the refusal that a result's dimension has met.
  for (Value result : op->getResults())
    for (const DimLayout &terms : analysis.getLayout(result))
      for (const Term &term : terms)
        if (const std::string &reason = analysis.getSpace().getInfo(term.atom).refused; !reason.empty())
          return "replicated: " + reason;
  return "replicated";
}

namespace {
struct TpReportSharding : impl::TpReportShardingBase<TpReportSharding> {
  void reportOps(func::FuncOp function, int64_t size, raw_ostream &os) {
    ShardingRules rules;
    ShardingAnalysis analysis(function, rules);
    FailureOr<Split> split = readAnnotations(analysis, size);
    if (failed(split))
      return signalPassFailure();
    os << llvm::formatv("{0,-24} {1,-16} {2,-48} {3}\n", "op", "split dims", "why", "node");
    for (Operation *op : analysis.getOps())
      if (op->getNumResults() != 0)
        os << llvm::formatv("{0,-24} {1,-16} {2,-48} {3}\n", op->getName().getStringRef(),
                            describeDims(analysis, *split, op), describeReason(analysis, *split, op), nameOf(op));
  }

  void reportCollectives(func::FuncOp function, raw_ostream &os) {
    int64_t total = 0;
    os << llvm::formatv("{0,-20} {1,-24} {2,12}\n", "collective", "site", "bytes");
    function.walk([&](tp::CollectiveOpInterface op) {
      int64_t bytes = bytesPerToken(op.getInput().getType());
      total += bytes;
      os << llvm::formatv("{0,-20} {1,-24} {2,12}\n", op->getName().stripDialect(), op.getSiteName(), bytes);
    });
    os << llvm::formatv("{0,-20} {1,-24} {2,12}\n", "total per token", "", total);
  }

  void runOnOperation() override {
    auto mesh = getOperation().lookupSymbol<tp::MeshOp>(meshName);
    int64_t size = mesh ? mesh.getAxisSize(axisName).value_or(1) : 1;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      bool partitioned =
          function.walk([](tp::CollectiveOpInterface) { return WalkResult::interrupt(); }).wasInterrupted();
      llvm::errs() << "sharding of @" << function.getName() << " over " << size << " ranks\n";
      if (partitioned)
        reportCollectives(function, llvm::errs());
      else
        reportOps(function, size, llvm::errs());
    }
    markAllAnalysesPreserved();
  }
};
} // namespace
} // namespace caat
