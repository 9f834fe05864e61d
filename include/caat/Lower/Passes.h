// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From the SPMD program (onnx + tp) to LLVM: the passes and the pipeline of the Lower stage.
#ifndef CAAT_LOWER_PASSES_H
#define CAAT_LOWER_PASSES_H

#include "caat/Lower/Conversions.h"
#include "dialects/rt/RT.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace caat {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "caat/Lower/Passes.h.inc"

/// Where kernels run.
enum class Device { CPU, CUDA };

/// How matrices and what is between products are stored.
struct StorageOptions {
  std::string dtype = "f32";            // matrices of f32
  std::string cache = "f32";            // caches of attention, on a CPU
  bool wideActivations = false;         // f32 between products and in caches, on a GPU as well
  std::vector<std::string> weightRules; // of rt-block-weights
};

/// The part of the Lower stage that works on tensors: onnx + tp -> linalg in scf.forall kernels, rt and tp.
void buildTensorPipeline(mlir::OpPassManager &pm, Device device = Device::CPU, const StorageOptions &storage = {});

/// Bufferization, outlining of kernels and the memory plan: tensors -> memrefs. `overlap`: sums over the ranks go on
/// beside what does not need them. `sumInKernels`: kernels for a GPU may make small ones themselves.
void buildBufferPipeline(mlir::OpPassManager &pm, Device device = Device::CPU, bool overlap = false,
                         bool sumInKernels = false);

/// What stays in the module for tests without a GPU.
struct GPUOptions {
  bool keepKernels = false; // the kernels' functions, too
  bool emulate = false;     // GPU kernels as functions that a library runs thread by thread; alone, without gpu.module
};

/// Moves the kernels into a gpu.module of the NVVM dialect. The host program is left as it is.
void buildGPUPipeline(mlir::OpPassManager &pm, const GPUOptions &options = {});

/// memrefs -> the LLVM dialect.
void buildCodePipeline(mlir::OpPassManager &pm);

/// All three.
void buildLowerPipeline(mlir::OpPassManager &pm);

/// Registers `lower-pipeline`.
void registerLowerPipelines();

/// Dialects of the Lower stage and their interfaces for bufferization and for translation to LLVM IR.
void registerLowerDialects(mlir::DialectRegistry &registry);

} // namespace caat

#endif // CAAT_LOWER_PASSES_H
