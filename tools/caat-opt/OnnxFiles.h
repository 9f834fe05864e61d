// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ONNX files on both ends of mlir-opt's driver, which takes and gives text or bytecode.
#ifndef CAAT_TOOLS_CAAT_OPT_ONNXFILES_H
#define CAAT_TOOLS_CAAT_OPT_ONNXFILES_H

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/MemoryBuffer.h"

namespace caat {

/// The imported model as MLIR bytecode, which keeps nodes' names; null after an error.
std::unique_ptr<llvm::MemoryBuffer> importToBytecode(llvm::StringRef path);

/// Runs the passes on `model` and writes the result to `output`, one file a rank.
mlir::LogicalResult runAndExport(std::unique_ptr<llvm::MemoryBuffer> model, llvm::StringRef output,
                                 mlir::MlirOptMainConfig config, mlir::DialectRegistry &registry);

} // namespace caat

#endif // CAAT_TOOLS_CAAT_OPT_ONNXFILES_H
