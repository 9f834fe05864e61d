// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Pipeline.h"
#include "caat/Import/Import.h"
#include "caat/Raise/Passes.h"
#include "caat/Shard/Passes.h"
#include "caat/Sync/Passes.h"
#include "dialects/tp/TP.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace caat;

MLIRContext &fuzz::Session::next() {
  if (!context || ++runs % 500 == 0) {
    DialectRegistry registry;
    registerImportDialects(registry);
    registry.insert<tp::TPDialect, arith::ArithDialect, tensor::TensorDialect>();
    context.reset();
    context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
    context->getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      spoke |= diagnostic.getSeverity() == DiagnosticSeverity::Error;
      return success();
    });
  }
  return *context;
}

bool fuzz::Session::run(ModuleOp module, void (*build)(OpPassManager &)) {
  PassManager pm(module.getContext());
  build(pm);
  spoke = false;
  if (succeeded(pm.run(module)))
    return true;
  if (!spoke) {
    llvm::errs() << "a pass failed without a message\n";
    std::abort();
  }
  return false;
}

void fuzz::buildRaise(OpPassManager &pm) { buildRaisePipeline(pm, RaiseOptions()); }

void fuzz::buildShardAndSync(OpPassManager &pm) {
  ShardOptions shard;
  shard.size = 2;
  buildShardPipeline(pm, shard);
  SyncOptions sync;
  sync.size = 2;
  buildSyncPipeline(pm, sync);
}
