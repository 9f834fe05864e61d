// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_CODEGEN_H
#define CAAT_LIB_ARTIFACT_CODEGEN_H

#include "caat/Artifact/Manifest.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace caat {

/// This machine's processor.
Target hostTarget();

/// Optimizes a module of the LLVM dialect for `target` and links it to DIRECTORY/code.so. Returns its size in bytes.
llvm::Expected<int64_t> writeCode(mlir::ModuleOp module, const Target &target, llvm::StringRef directory);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_CODEGEN_H
