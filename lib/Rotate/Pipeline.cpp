// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "caat/Rotate/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void caat::buildRotatePipeline(OpPassManager &pm) {
  pm.addNestedPass<func::FuncOp>(createRTFormCachesPass());
  pm.addPass(createTPRotateWeights());
  pm.addPass(createCSEPass()); // what the steps have in common
}
