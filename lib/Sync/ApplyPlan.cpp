// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-apply-plan: policies of sync points from a plan.
#include "caat/Sync/Passes.h"
#include "caat/Sync/Plan.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPAPPLYPLAN
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

/// The policy that `entry` means at a site. The plan has been checked.
static FailureOr<tp::PolicyAttr> makePolicy(const Plan &plan, const PlanEntry &entry, tp::SyncPointOp op,
                                            int64_t ranks) {
  MLIRContext *context = op.getContext();
  int64_t channels = op.getNumChannels();
  if (entry.isFull || ranks == 1) // with one rank every plan is the unsharded model
    return tp::PolicyAttr::getFull(context);
  DenseElementsAttr a, b;
  if (!entry.estimate.empty()) {
    llvm::Expected<SiteEstimate> estimate = caat::readEstimate(plan, entry, op.getSite(), ranks, channels);
    if (!estimate)
      return op->emitError() << llvm::toString(estimate.takeError());
    auto type = RankedTensorType::get({ranks, channels}, Float32Type::get(context));
    a = DenseElementsAttr::get(type, ArrayRef<float>(estimate->a));
    b = DenseElementsAttr::get(type, ArrayRef<float>(estimate->b));
  }
  DenseI64ArrayAttr order;
  if (!entry.order.empty() && !llvm::is_sorted(entry.order))
    order = DenseI64ArrayAttr::get(context, entry.order);
  double scale = entry.isPrivate ? entry.getScale(ranks) : 1.0;
  return tp::PolicyAttr::get(context, tp::SyncKind::Partial, entry.getShared(channels),
                             entry.isPrivate ? tp::Rest::Private : tp::Rest::Deferred,
                             FloatAttr::get(Float64Type::get(context), scale), order, a, b);
}

namespace {
struct ApplyPlan : caat::impl::TPApplyPlanBase<ApplyPlan> {
  using TPApplyPlanBase::TPApplyPlanBase;

  void runOnOperation() override {
    if (plan.empty())
      return;
    ModuleOp module = getOperation();
    auto emitError = [&] { return module.emitError(); };
    llvm::Expected<Plan> read = readPlan(plan);
    if (!read) {
      emitError() << llvm::toString(read.takeError());
      return signalPassFailure();
    }
    int64_t ranks = size;
    SmallVector<tp::SyncPointOp> ops;
    module.walk([&](tp::SyncPointOp op) { ops.push_back(op); });
    for (tp::SyncPointOp op : ops) {
      int64_t group = tp::detail::getGroupSize(op, op.getMeshAttr(), op.getAxesAttr());
      if (ranks == 0)
        ranks = group;
      if (ranks != group) {
        op.emitError() << "site " << op.getSite() << " spans " << group << " ranks, the option size says " << ranks;
        return signalPassFailure();
      }
    }
    if (ranks == 0) // a program without sync points: any number of ranks
      ranks = read->tp.value_or(1);
    if (failed(checkPlan(*read, collectSites(module), ranks, emitError)))
      return signalPassFailure();
    module->setAttr(tp::kPlanAttrName, StringAttr::get(&getContext(), read->digest));
    for (tp::SyncPointOp op : ops) {
      FailureOr<tp::PolicyAttr> policy = makePolicy(*read, read->lookup(op.getSite()), op, ranks);
      if (failed(policy))
        return signalPassFailure();
      op.setPolicyAttr(*policy);
      if (!policy->isExact(op.getNumChannels()))
        remark::passed(op.getLoc(), remark::RemarkOpts::name("approximate").category("caat"))
            << llvm::formatv("site {0} reduces {1} of {2} channels, the rest is {3}", op.getSite(), policy->getShared(),
                             op.getNumChannels(), tp::stringifyRest(policy->getRest()))
                   .str();
    }
  }
};
} // namespace
