// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checks a plan against a program's sync points, before anything is compiled.
#include "caat/Sync/Plan.h"
#include "dialects/tp/TP.h"
#include "llvm/ADT/StringExtras.h"

using namespace caat;
using namespace mlir;

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

SmallVector<SiteInfo> caat::collectSites(ModuleOp module) {
  SmallVector<SiteInfo> sites;
  module.walk([&](tp::SyncPointOp op) {
    std::string elementType;
    llvm::raw_string_ostream(elementType) << getElementTypeOrSelf(op.getPartial().getType());
    sites.push_back({op.getSite().str(), op.getNumChannels(), op.getNotDeferrable().value_or("").str(),
                     bool(op.getInput()), elementType});
  });
  return sites;
}

/// The sites a message lists: all of them, or both ends of a long list.
static std::string listSites(ArrayRef<SiteInfo> sites) {
  constexpr size_t kMost = 12;
  SmallVector<StringRef> names;
  for (const SiteInfo &site : sites)
    names.push_back(site.name);
  if (names.empty())
    return "none";
  if (names.size() <= kMost)
    return llvm::join(names, ", ");
  return llvm::join(ArrayRef(names).take_front(kMost / 2), ", ") + ", …, " +
         llvm::join(ArrayRef(names).take_back(kMost / 2), ", ") + " (" + std::to_string(names.size()) + " sites)";
}

LogicalResult caat::checkPlan(const Plan &plan, int64_t size, EmitError emitError) {
  if (plan.tp && *plan.tp != size)
    return emitError() << plan.file << ": tp: the plan is for " << *plan.tp << " ranks, the program for " << size;
  return success();
}

static LogicalResult checkSite(const Plan &plan, const PlanEntry &entry, const SiteInfo &site, int64_t size,
                               EmitError emitError) {
  if (entry.isFull && !entry.isRounded())
    return success();
  if (std::string wrong = runtime::tryCheckChannels(plan, entry, site.name, site.channels); !wrong.empty())
    return emitError() << wrong;
  bool isAll = entry.getShared(site.channels) == site.channels;
  if (!site.notDeferrable.empty() && !entry.isPrivate && !isAll)
    return emitError() << plan.file << ": " << entry.path << ": site " << site.name
                       << " cannot defer: " << site.notDeferrable << "; it can be full, or partial with rest 'private'";
  if (!site.notDeferrable.empty() && entry.feedback.value_or(false))
    return emitError() << plan.file << ": " << entry.path << ".feedback: site " << site.name
                       << " cannot defer: " << site.notDeferrable << "; what rounding leaves out is lost there";
  if (entry.isRounded() && site.elementType != "f32")
    return emitError() << plan.file << ": " << entry.path << ".bits: site " << site.name << " has elements of "
                       << site.elementType << "; those of f32 can be rounded";
  if (!entry.estimate.empty()) {
    llvm::Expected<SiteEstimate> estimate = caat::readEstimate(plan, entry, site.name, size, site.channels);
    if (!estimate)
      return emitError() << llvm::toString(estimate.takeError());
    if (estimate->readsInput() && !site.hasInput)
      return emitError() << plan.file << ": " << entry.path
                         << ".estimate: it reads the module's normalised input, and site " << site.name
                         << " has none: no norm of the stream alone leads to its partial sum";
  }
  return success();
}

LogicalResult caat::checkPlan(const Plan &plan, ArrayRef<SiteInfo> sites, int64_t size, EmitError emitError) {
  if (failed(checkPlan(plan, size, emitError)))
    return failure();
  if (size == 1 && sites.empty()) // one rank sends nothing: a program without collectives has no sites to compare with
    return success();
  for (const auto &[name, entry] : plan.sites)
    if (llvm::none_of(sites, [&, &name = name](const SiteInfo &site) { return site.name == name; }))
      return emitError() << plan.file << ": " << entry.path << ": there is no such site; the program has "
                         << listSites(sites);
  for (const SiteInfo &site : sites)
    if (failed(checkSite(plan, plan.lookup(site.name), site, size, emitError)))
      return failure();
  return success();
}
