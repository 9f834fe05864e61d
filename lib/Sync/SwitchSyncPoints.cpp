// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-switch-sync-points: marks sync points whose policies the runtime reads from a plan.
#include "StreamReads.h"
#include "caat/Sync/Passes.h"

namespace caat {
#define GEN_PASS_DEF_TPSWITCHSYNCPOINTS
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

namespace {
struct SwitchSyncPoints : caat::impl::TPSwitchSyncPointsBase<SwitchSyncPoints> {
  void runOnOperation() override {
    // What a site keeps private stays in the stream for good, so a result that all ranks must agree on forbids it at
    // every site that the result depends on. From the back, the answer of a site holds for all that it depends on.
    SmallVector<tp::SyncPointOp> sites;
    getOperation().walk([&](tp::SyncPointOp site) { sites.push_back(site); });
    for (tp::SyncPointOp site : llvm::reverse(sites)) {
      site.setSwitchable(true);
      site.setFlushes(mustBeReplicated(site));
      if (reachesReplicatedResult(site))
        site.setNotPrivate("a result of the program that is not split depends on it and must be equal on all ranks");
    }
  }

  /// Sites behind `site` have been marked.
  static bool reachesReplicatedResult(tp::SyncPointOp site) {
    SmallVector<Operation *> worklist = {site};
    llvm::SmallPtrSet<Operation *, 32> seen;
    while (!worklist.empty()) {
      Operation *op = worklist.pop_back_val();
      if (!seen.insert(op).second)
        continue;
      for (OpOperand &use : op->getUses()) {
        Operation *user = use.getOwner();
        if (auto next = dyn_cast<tp::SyncPointOp>(user)) {
          // Its own partial is summed, or kept, as its policy says: what matters is whether it may be kept.
          if (next.getNotPrivate())
            return true;
        } else if (leavesReplicated(use)) {
          return true;
        } else {
          worklist.push_back(user);
        }
      }
    }
    return false;
  }
};
} // namespace
