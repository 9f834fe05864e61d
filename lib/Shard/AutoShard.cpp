// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Annotations.h"
#include "SiteNames.h"
#include "caat/Shard/Passes.h"
#include "caat/runtime/Plan.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <map>
#include <numeric>

using namespace mlir;

namespace caat {
#define GEN_PASS_DEF_TPAUTOSHARD
#include "caat/Shard/Passes.h.inc"

using namespace shard;

static std::string join(ArrayRef<int64_t> sizes) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(sizes, stream);
  return text;
}

static StringRef kindOf(const DimClass &cls) { return cls.heads ? "heads" : cls.lookupOnly ? "vocabulary" : "columns"; }

/// Remarks for every class that splits or could split weights; one warning for each kind of padding.
static void report(ShardingAnalysis &analysis, ShardingChoice &choice) {
  Location loc = analysis.getFunction().getLoc();
  DimSpace &space = analysis.getSpace();
  std::map<std::string, int> paddings;
  for (const DimClass &cls : choice.getClasses()) {
    if (!cls.hasWeights())
      continue;
    int64_t units = space.getInfo(cls.atoms.front()).units;
    if (!cls.rejected.empty()) {
      remark::missed(loc, remark::RemarkOpts::name("split").category("caat"))
          << llvm::formatv("keeps {0} parts whole, {1} bytes of weights: {2}", units, cls.weightBytes, cls.rejected)
                 .str();
      continue;
    }
    remark::passed(loc, remark::RemarkOpts::name("split").category("caat"))
        << llvm::formatv("splits {0}: {1} parts, {2} bytes of weights, {3} bytes reduced per token", kindOf(cls), units,
                         cls.weightBytes, cls.reducedBytes)
               .str();
    for (Atom atom : cls.atoms) {
      std::string padding = choice.getSplit().describePadding(atom);
      if (padding.empty())
        continue;
      remark::analysis(loc, remark::RemarkOpts::name("padding").category("caat")) << padding;
      ++paddings[padding];
    }
  }
  for (const auto &[padding, count] : paddings)
    emitWarning(loc) << padding << " (" << count << (count == 1 ? " place)" : " places)");
}

/// One warning for each kind of op that takes split values whole: a gather is costly, and seldom meant.
static void warnOfGathers(ShardingAnalysis &analysis, const Split &split) {
  struct Gathers {
    Operation *first;
    std::string why;
    int64_t count = 0, bytes = 0;
  };
  llvm::MapVector<StringRef, Gathers> kinds;
  llvm::DenseSet<Value> gathered; // once for all that need it
  for (Operation *op : analysis.getOps()) {
    if (isa<func::ReturnOp>(op))
      continue;
    std::optional<std::string> why = whyWhole(analysis, split, op);
    if (!why)
      continue;
    for (Value operand : op->getOperands()) {
      if (analysis.isWeight(operand) || split.splitDim(analysis.getLayout(operand)) < 0 ||
          !gathered.insert(operand).second)
        continue;
      Gathers &kind = kinds.try_emplace(op->getName().getStringRef(), Gathers{op, *why}).first->second;
      ++kind.count;
      kind.bytes += bytesPerToken(operand.getType());
    }
  }
  for (const auto &[name, kind] : kinds) {
    InFlightDiagnostic warning = emitWarning(kind.first->getLoc());
    warning << name;
    if (auto node = kind.first->getLoc()->findInstanceOf<NameLoc>())
      warning << " '" << node.getName().getValue() << "'";
    warning
        << " needs a value whole that is split, since it " << kind.why << ": all_gather of " << kind.bytes
        << " bytes per token in " << kind.count << (kind.count == 1 ? " place" : " places")
        << "; to avoid it, let the op read a value that is whole (behind a row-parallel product or a norm) or replace "
           "it by ops that have a rule";
  }
}

/// Annotates ops that sum over heads with the orders of a plan, and the module with those of all attentions.
static LogicalResult orderHeads(ShardingAnalysis &analysis, const Split &split, const runtime::Plan &plan) {
  func::FuncOp function = analysis.getFunction();
  MLIRContext *context = function.getContext();
  llvm::StringSet<> known;
  SmallVector<NamedAttribute> orders;
  SiteNames names;
  for (Operation *op : analysis.getOps()) {
    if (whyWhole(analysis, split, op))
      continue;
    for (const Contraction &contraction : analysis.getFactors(op).contractions) {
      DimLayout terms = analysis.getSpace().resolve(contraction.layout);
      if (!split.isSplit(terms))
        continue;
      std::string site = names.of(analysis, op, contraction);
      if (!analysis.getSpace().isHeads(terms))
        continue;
      known.insert(site);
      Atom atom = terms.front().atom;
      SmallVector<int64_t> order(analysis.getSpace().getInfo(atom).units);
      std::iota(order.begin(), order.end(), 0);
      if (auto entry = plan.heads.find(site); entry != plan.heads.end()) {
        if (entry->second.size() != order.size())
          return emitError(op->getLoc()) << plan.file << ": heads.\"" << site << "\": lists " << entry->second.size()
                                         << " heads, the site has " << order.size() << " KV heads";
        order.assign(entry->second.begin(), entry->second.end());
        op->setAttr(headOrder, DenseI64ArrayAttr::get(context, order));
      }
      if (split.copies(atom) == 1)
        orders.emplace_back(StringAttr::get(context, site), DenseI64ArrayAttr::get(context, order));
    }
  }
  for (const auto &[site, order] : plan.heads)
    if (!known.contains(site))
      return emitError(function.getLoc())
             << plan.file << ": heads.\"" << site << "\": there is no such attention whose heads are split";
  function->getParentOp()->setAttr(kHeadsAttrName, DictionaryAttr::get(context, orders));
  return success();
}

namespace {
struct TPAutoShard : impl::TPAutoShardBase<TPAutoShard> {
  using TPAutoShardBase::TPAutoShardBase;

  runtime::Plan heads; // what the plan says about them

  LogicalResult shardFunction(func::FuncOp function, const ShardingRules &rules) {
    ShardingAnalysis analysis(function, rules);
    ShardingChoice choice(analysis, {size, pad, lookupShare});
    int64_t largest = choice.getLargestSize();
    if (largest == 1)
      emitWarning(function.getLoc()) << "nothing can be split: every rank computes everything";
    else if (size > largest)
      return emitError(function.getLoc())
             << "cannot be split over " << size.getValue() << " ranks: the widest dimension has " << largest
             << " parts; sizes that can: 1 to " << largest;
    if (!pad) {
      SmallVector<int64_t> sizes = choice.getUnpaddedSizes(std::min<int64_t>(largest, 1024));
      if (!llvm::is_contained(sizes, size))
        return emitError(function.getLoc())
               << "needs padding on " << size.getValue() << " ranks; sizes that need none: " << join(sizes);
    }
    report(analysis, choice);
    warnOfGathers(analysis, choice.getSplit());
    annotate(analysis, choice.getSplit());
    return orderHeads(analysis, choice.getSplit(), heads);
  }

  void runOnOperation() override {
    if (size < 1) {
      getOperation().emitError("the number of ranks must be at least 1, not ") << size.getValue();
      return signalPassFailure();
    }
    if (failed(addMesh(getOperation(), size)))
      return signalPassFailure();
    if (size == 1)
      return;
    if (!plan.empty()) {
      std::string error;
      std::optional<std::string> text = runtime::tryReadPlanText(plan, error);
      std::optional<runtime::Plan> read = text ? runtime::tryParsePlan(*text, plan, error) : std::nullopt;
      if (!read) {
        getOperation().emitError(error);
        return signalPassFailure();
      }
      heads = *std::move(read);
    }
    ShardingRules rules;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(shardFunction(function, rules)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace caat
