// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SHARD_PASSES_H
#define CAAT_SHARD_PASSES_H

#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassOptions.h"

namespace caat {

#define GEN_PASS_DECL
#include "caat/Shard/Passes.h.inc"

/// Of a module: in which order the KV heads of each attention are dealt out, a dictionary of lists.
inline constexpr llvm::StringLiteral kHeadsAttrName = "caat.heads";

/// Of a module: along which dimensions a run may be divided in two, or why not: `tokens` and `batch`, each a dictionary
/// with `dim` or `refused`.
inline constexpr llvm::StringLiteral kHalvesAttrName = "caat.halves";

struct ShardOptions : mlir::PassPipelineOptions<ShardOptions> {
  Option<int64_t> size{*this, "size", llvm::cl::desc("number of ranks"), llvm::cl::init(1)};
  Option<bool> pad{*this, "pad", llvm::cl::desc("pad what does not divide; if not, such a size is an error"),
                   llvm::cl::init(true)};
  Option<std::string> plan{*this, "plan", llvm::cl::desc("a plan's file, for the order of heads")};
  Option<bool> report{*this, "report", llvm::cl::desc("print how every op is sharded"), llvm::cl::init(false)};
};

/// From the canonical form after Raise to one program for every rank, with explicit collectives.
void buildShardPipeline(mlir::OpPassManager &manager, const ShardOptions &options);

#define GEN_PASS_REGISTRATION
#include "caat/Shard/Passes.h.inc"

/// The passes above and the pipeline `tp-shard-pipeline`.
void registerShardPipelines();

} // namespace caat

#endif // CAAT_SHARD_PASSES_H
