// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// The bias as a buffer of its own: a splat would be folded into loops, and the runtime has none.
static Value materialize(ScalarBuilder s, Value bias) {
  if (!bias || !constantValue(bias))
    return bias;
  auto type = tensorType(bias);
  Value element = splatScalar(s, bias, type.getElementType());
  return element ? filled(s, getAsIndexOpFoldResult(s.b.getContext(), type.getShape()), element) : bias;
}

/// tp.sync_point and the reads of its stream -> rt.sync_point.
LogicalResult caat::lower::lowerSyncPoints(func::FuncOp func) {
  SmallVector<tp::SyncPointOp> sites;
  func.walk([&](tp::SyncPointOp site) { sites.push_back(site); });
  for (tp::SyncPointOp site : sites) {
    if (!site.getSwitchable())
      return site.emitError() << "site " << site.getSite() << " is not expanded: run tp-expand-sync-points first";
    OpBuilder builder(site);
    ScalarBuilder s{builder, site.getLoc()};
    auto type = tensorType(site.getPartial());
    Dims dims = dimsOf(s, site.getPartial());
    auto orEmpty = [&](Value value) { return value ? value : empty(s, dims, type.getElementType()); };
    SmallVector<Value> destinations = {empty(s, dims, type.getElementType()), orEmpty(site.getBase()),
                                       orEmpty(site.getPending())};
    SmallVector<Type> types(3, type);
    for (Value &destination : destinations)
      destination = castTo(s, destination, type);
    auto lowered = rt::SyncPointOp::create(builder, site.getLoc(), types, site.getSiteAttr(), site.getPartial(),
                                           materialize(s, site.getBias()), site.getInput(), destinations,
                                           /*live=*/ValueRange(), !site.getBase(), !site.getPending(),
                                           site.getFlushes(), site.getNotDeferrableAttr(), site.getNotPrivateAttr());
    for (Operation *user : llvm::make_early_inc_range(site.getNewBase().getUsers()))
      if (auto read = dyn_cast<tp::ReadStreamOp>(user)) {
        read.getResult().replaceAllUsesWith(lowered.getResult(rt::SyncPointOp::Stream));
        read.erase();
      }
    site.getNewBase().replaceAllUsesWith(lowered.getResult(rt::SyncPointOp::Base));
    site.getNewPending().replaceAllUsesWith(lowered.getResult(rt::SyncPointOp::Pending));
    site.erase();
  }
  return success();
}
