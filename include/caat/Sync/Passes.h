// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Sync stage: finds the sync points of an SPMD program, applies a plan, verifies and reports.
#ifndef CAAT_SYNC_PASSES_H
#define CAAT_SYNC_PASSES_H

#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include <string>

namespace caat {

#define GEN_PASS_DECL
#include "caat/Sync/Passes.h.inc"

struct SyncOptions {
  /// File of a plan; empty for full synchronisation everywhere.
  std::string plan;
  /// Number of ranks; 0 takes the mesh's.
  int64_t size = 0;
  /// Leave the policies of all sites to run time; without a plan.
  bool switchable = false;
  /// The product that is summed in part becomes two: the reduced channels first, the others beside their sum.
  bool splitProducts = false;
  /// What sums of f32 travel as at sync points whose policy does not round them: f32, bf16 or f16.
  std::string messageType = "f32";
};

/// onnx + tp after partitioning -> onnx + tp with the plan applied and replication verified. On modules.
void buildSyncPipeline(mlir::OpPassManager &pm, const SyncOptions &options);

#define GEN_PASS_REGISTRATION
#include "caat/Sync/Passes.h.inc"

} // namespace caat

#endif // CAAT_SYNC_PASSES_H
