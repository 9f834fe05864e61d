// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Annotations.h"
#include "caat/Shard/Passes.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"
#include <map>

using namespace mlir;

namespace caat {
#define GEN_PASS_DEF_TPAUTOSHARD
#include "caat/Shard/Passes.h.inc"

using namespace shard;

/// What is done to an atom that does not divide; empty where it does.
static std::string describePadding(const DimSpace::Info &info, const Split &split, Atom atom) {
  int64_t size = split.getSize(), copies = split.copies(atom), perRank = split.unitsPerRank(atom);
  StringRef what = info.heads ? "KV heads" : "parts";
  if (copies > 1) {
    std::string text =
        llvm::formatv("{0} KV heads on {1} ranks: each is repeated on {2} ranks, which share its {3} query heads",
                      info.units, size, copies, info.group);
    if (info.group % copies != 0)
      text += llvm::formatv(", padded to {0}", llvm::divideCeil(info.group, copies) * copies);
    return text;
  }
  if (info.units % size == 0)
    return {};
  std::string text =
      llvm::formatv("{0} {1} on {2} ranks: padded with zeros to {3}", info.units, what, size, perRank * size);
  int64_t busy = llvm::divideCeil(info.units, perRank);
  if (busy < size)
    text += llvm::formatv("; ranks from {0} on hold only padding", busy);
  return text;
}

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
      std::string padding = describePadding(space.getInfo(atom), choice.getSplit(), atom);
      if (padding.empty())
        continue;
      remark::analysis(loc, remark::RemarkOpts::name("padding").category("caat")) << padding;
      ++paddings[padding];
    }
  }
  for (const auto &[padding, count] : paddings)
    emitWarning(loc) << padding << " (" << count << (count == 1 ? " place)" : " places)");
}

namespace {
struct TpAutoShard : impl::TpAutoShardBase<TpAutoShard> {
  using TpAutoShardBase::TpAutoShardBase;

  LogicalResult addMesh() {
    ModuleOp module = getOperation();
    if (auto mesh = module.lookupSymbol<tp::MeshOp>(meshName)) {
      if (mesh.getAxisSize(axisName) != size)
        return mesh.emitError("is not a mesh of ") << size.getValue() << " ranks along \"" << axisName << "\"";
      return success();
    }
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    auto axes = tp::AxesAttr::get(builder.getContext(), {builder.getStringAttr(axisName)}, {size.getValue()});
    tp::MeshOp::create(builder, module.getLoc(), meshName, axes);
    return success();
  }

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
    annotate(analysis, choice.getSplit());
    return success();
  }

  void runOnOperation() override {
    if (size < 1) {
      getOperation().emitError("the number of ranks must be at least 1, not ") << size.getValue();
      return signalPassFailure();
    }
    if (failed(addMesh()))
      return signalPassFailure();
    if (size == 1)
      return;
    ShardingRules rules;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(shardFunction(function, rules)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace caat
