// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace caat {

void buildShardPipeline(OpPassManager &manager, const ShardOptions &options) {
  manager.addPass(createTPAutoShard({options.size, options.pad, options.plan}));
  if (options.report)
    manager.addPass(createTPReportSharding());
  manager.addPass(createTPPartition());
  if (options.size > 1) {
    // Slices of one weight, and shapes that several reshapes share.
    manager.addPass(createCSEPass());
    manager.addPass(createCanonicalizerPass());
  }
  if (options.report)
    manager.addPass(createTPReportSharding());
}

void registerShardPipelines() {
  registerShardPasses();
  PassPipelineRegistration<ShardOptions>("tp-shard-pipeline", "chooses a sharding and makes one program for every rank",
                                         buildShardPipeline);
}

} // namespace caat
