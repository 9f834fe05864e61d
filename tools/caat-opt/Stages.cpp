// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Stages.h"
#include "caat/Export/Passes.h"
#include "caat/Import/Import.h"
#include "caat/Lower/Passes.h"
#include "caat/Raise/Passes.h"
#include "caat/Rotate/Passes.h"
#include "caat/Shard/Passes.h"
#include "caat/Sync/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

namespace {
struct TPOptions : PassPipelineOptions<TPOptions> {
  Option<int64_t> size{*this, "size", llvm::cl::desc("Number of ranks"), llvm::cl::init(1)};
  Option<std::string> plan{*this, "plan", llvm::cl::desc("File of the plan; none synchronises everything")};
  Option<std::string> messages{*this, "messages", llvm::cl::desc("What sums at sync points travel as: f32, bf16, f16"),
                               llvm::cl::init("f32")};
  Option<bool> raise{*this, "raise", llvm::cl::desc("Raise decomposed patterns"), llvm::cl::init(true)};
};
} // namespace

/// An imported model to the program of every rank, with the plan applied.
static void buildTPPipeline(OpPassManager &pm, const TPOptions &options) {
  caat::RaiseOptions raise;
  raise.raise = options.raise;
  caat::buildRaisePipeline(pm, raise);
  caat::ShardOptions shard;
  shard.size = options.size.getValue();
  shard.plan = options.plan;
  caat::buildShardPipeline(pm, shard);
  caat::SyncOptions sync;
  sync.plan = options.plan;
  sync.size = options.size;
  sync.messageType = options.messages;
  caat::buildSyncPipeline(pm, sync);
}

void caat::registerStages(DialectRegistry &registry) {
  caat::registerImportDialects(registry);
  caat::registerRaisePasses();
  caat::registerRaisePipelines();
  caat::registerShardPipelines();
  caat::registerSyncPasses();
  PassPipelineRegistration<TPOptions>("tp-pipeline", "Raises and shards a model and applies a plan", buildTPPipeline);
  caat::registerExportPasses();
  caat::registerRotatePasses();
  caat::registerLowerPasses();
  caat::registerLowerPipelines();
  caat::registerLowerDialects(registry);
}
