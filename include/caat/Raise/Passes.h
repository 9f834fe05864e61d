// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RAISE_PASSES_H
#define CAAT_RAISE_PASSES_H

#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassOptions.h"

namespace caat {

#define GEN_PASS_DECL
#include "caat/Raise/Passes.h.inc"

struct RaiseOptions : public mlir::PassPipelineOptions<RaiseOptions> {
  Option<int64_t> maxElements{*this, "max-elements", llvm::cl::desc("Evaluate constants of at most this many elements"),
                              llvm::cl::init(65536)};
  Option<bool> raise{*this, "raise", llvm::cl::desc("Raise decomposed patterns; off: fold shapes and convert only"),
                     llvm::cl::init(true)};
  Option<bool> rowLengths{*this, "row-lengths", llvm::cl::desc("Let rows of a cache have lengths of their own"),
                          llvm::cl::init(false)};
  Option<bool> widen{*this, "widen", llvm::cl::desc("Compute with f32 what is declared as f16 or bf16"),
                     llvm::cl::init(false)};
};

/// Imported ONNX in, the canonical form of the onnx dialect out.
void buildRaisePipeline(mlir::OpPassManager &pm, const RaiseOptions &options);

/// Makes the pipeline known as `onnx-raise-pipeline`; registerRaisePasses(), generated, does so for each pass.
void registerRaisePipelines();

#define GEN_PASS_REGISTRATION
#include "caat/Raise/Passes.h.inc"

} // namespace caat

#endif // CAAT_RAISE_PASSES_H
