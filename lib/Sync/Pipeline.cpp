// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Sync/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace caat;
using namespace mlir;

void caat::buildSyncPipeline(OpPassManager &pm, const SyncOptions &options) {
  pm.addNestedPass<func::FuncOp>(createTPMergeAllReduces());
  pm.addNestedPass<func::FuncOp>(createTPFormSyncPoints());
  if (options.switchable) {
    pm.addNestedPass<func::FuncOp>(createTPSwitchSyncPoints());
    pm.addNestedPass<func::FuncOp>(createTPVerifyReplication());
    return;
  }
  TPApplyPlanOptions plan;
  plan.plan = options.plan;
  plan.size = options.size;
  pm.addPass(createTPApplyPlan(plan));
  TPExpandSyncPointsOptions expand;
  expand.splitProducts = options.splitProducts;
  expand.messageType = options.messageType;
  pm.addPass(createTPExpandSyncPoints(expand));
  pm.addPass(createCSEPass()); // expansion writes channel lists again for each use
  pm.addNestedPass<func::FuncOp>(createTPVerifyReplication());
}
