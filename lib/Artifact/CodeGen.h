// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_CODEGEN_H
#define CAAT_LIB_ARTIFACT_CODEGEN_H

#include "caat/Artifact/Manifest.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace caat {

/// This machine's processor.
Target hostTarget();

/// Any processor of this machine's kind from about 2010 on: for host programs that have no kernels, so that they run
/// beside whatever GPU they are taken to.
Target baselineTarget();

/// Optimizes a module of the LLVM dialect for `target` and links it to DIRECTORY/code.so, which will only run with this
/// `manifest`. Returns its size in bytes.
llvm::Expected<int64_t> writeCode(mlir::ModuleOp module, const Target &target, llvm::StringRef manifest,
                                  llvm::StringRef directory);

struct GPUCode {
  int64_t bytes = 0;
  std::vector<KernelFile> files;
};

/// Writes the kernels of `module`, in the NVVM dialect, as DIRECTORY/kernels.ptx, as kernels-sm_90.ptx, where each
/// begins with griddepcontrol (a kernel may start while the one before it runs), and for each of `archs` as a cubin by
/// ptxas, which is looked for on the PATH and in CUDA_HOME.
llvm::Expected<GPUCode> writeGPUCode(mlir::gpu::GPUModuleOp module, llvm::ArrayRef<std::string> archs,
                                     llvm::StringRef directory);

/// Whether the compiler was built with what kernels that sum over ranks call (rt-sum-in-kernels).
bool haveSumRows();

/// What every kind of machine has in common: all passes of -O3.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_CODEGEN_H
