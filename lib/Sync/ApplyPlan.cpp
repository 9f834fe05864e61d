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

/// How the site rounds what it sends; null where it does not.
static tp::RoundingAttr makeRounding(const PlanEntry &entry, tp::SyncPointOp op) {
  if (!entry.isRounded() || entry.getShared(op.getNumChannels()) == 0)
    return {};
  SmallVector<int64_t> exact(entry.exact.begin(), entry.exact.end());
  llvm::sort(exact);
  if (op.getNotDeferrable() && !entry.feedback)
    remark::analysis(op.getLoc(), remark::RemarkOpts::name("no-feedback").category("caat"))
        << llvm::formatv("site {0} cannot defer ({1}): what rounding leaves out is lost there", op.getSite(),
                         *op.getNotDeferrable())
               .str();
  return tp::RoundingAttr::get(op.getContext(), entry.bits, entry.block, exact,
                               entry.feedback.value_or(!op.getNotDeferrable()));
}

/// The estimate that the site's policy names: a, b and, where the file has it, the part of small rank.
static LogicalResult readEstimate(const Plan &plan, const PlanEntry &entry, tp::SyncPointOp op, int64_t ranks,
                                  DenseElementsAttr &a, DenseElementsAttr &b, tp::LowRankAttr &lowRank) {
  int64_t channels = op.getNumChannels();
  llvm::Expected<SiteEstimate> read = caat::readEstimate(plan, entry, op.getSite(), ranks, channels);
  if (!read)
    return op->emitError() << llvm::toString(read.takeError());
  auto constant = [&](ArrayRef<int64_t> shape, const std::vector<float> &values) {
    return DenseElementsAttr::get(RankedTensorType::get(shape, Float32Type::get(op.getContext())),
                                  ArrayRef<float>(values));
  };
  a = constant({ranks, channels}, read->a);
  b = constant({ranks, channels}, read->b);
  if (read->inner > 0)
    lowRank = tp::LowRankAttr::get(op.getContext(), constant({ranks, channels, read->inner}, read->u),
                                   constant({ranks, read->inner, read->getFeatures(channels)}, read->v),
                                   read->feature == SiteEstimate::Feature::Pending ? tp::Feature::Pending
                                   : read->feature == SiteEstimate::Feature::Input ? tp::Feature::Input
                                                                                   : tp::Feature::Both);
  return success();
}

/// The policy that `entry` means at a site. The plan has been checked.
static FailureOr<tp::PolicyAttr> makePolicy(const Plan &plan, const PlanEntry &entry, tp::SyncPointOp op,
                                            int64_t ranks) {
  MLIRContext *context = op.getContext();
  tp::RoundingAttr rounding = makeRounding(entry, op);
  if ((entry.isFull && !rounding) || ranks == 1) // with one rank every plan is the unsharded model
    return tp::PolicyAttr::getFull(context);
  DenseI64ArrayAttr order;
  if (!entry.order.empty() && !llvm::is_sorted(entry.order))
    order = DenseI64ArrayAttr::get(context, entry.order);
  if (entry.isFull)
    return tp::PolicyAttr::getFull(context, rounding, order);
  DenseElementsAttr a, b;
  tp::LowRankAttr lowRank;
  if (!entry.estimate.empty() && failed(readEstimate(plan, entry, op, ranks, a, b, lowRank)))
    return failure();
  double scale = entry.isPrivate ? entry.getScale(ranks) : 1.0;
  return tp::PolicyAttr::get(context, tp::SyncKind::Partial, entry.getShared(op.getNumChannels()),
                             entry.isPrivate ? tp::Rest::Private : tp::Rest::Deferred,
                             FloatAttr::get(Float64Type::get(context), scale), order, a, b, lowRank, rounding);
}

/// What the policy approximates, for a remark.
static std::string describeRemark(tp::SyncPointOp op, tp::PolicyAttr policy) {
  int64_t channels = op.getNumChannels(), reduced = policy.getReduced(channels);
  std::string text = llvm::formatv("site {0} reduces {1} of {2} channels", op.getSite(), reduced, channels);
  if (tp::RoundingAttr rounding = policy.getRounding())
    text += llvm::formatv(" in {0} bits, the error {1}", rounding.getBits(),
                          rounding.getFeedback() ? "stays pending" : "is lost")
                .str();
  if (reduced < channels)
    text += llvm::formatv(", the rest is {0}", tp::stringifyRest(policy.getRest())).str();
  return text;
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
            << describeRemark(op, *policy);
    }
  }
};
} // namespace
