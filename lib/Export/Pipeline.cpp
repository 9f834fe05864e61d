// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Export/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void caat::buildExportPipeline(OpPassManager &pm, int64_t rank) {
  pm.addNestedPass<func::FuncOp>(createONNXExpandMasksPass());
  ONNXBindRankPassOptions bind;
  bind.rank = rank;
  pm.addNestedPass<func::FuncOp>(createONNXBindRankPass(bind));
  pm.addNestedPass<func::FuncOp>(createONNXConvertIndexPass());
  pm.addNestedPass<func::FuncOp>(createONNXGuardChecksPass());
  pm.addPass(createCSEPass()); // equal constants and Shapes, which the conversions make anew for each use
}
