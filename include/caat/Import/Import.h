// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an ONNX file to a module of the onnx dialect.
#ifndef CAAT_IMPORT_IMPORT_H
#define CAAT_IMPORT_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/OwningOpRef.h"

namespace caat {

struct ImportOptions {
  /// Stored tensors of at most this many elements become onnx.Constant; larger ones stay in their file as
  /// onnx.initializer.
  int64_t maxConstantElements = 64;
  /// If not, external files of weights may be absent, and nothing of them is looked at but small tensors.
  bool requireWeights = true;
};

/// The dialects that an imported module uses.
void registerImportDialects(mlir::DialectRegistry &registry);

/// Reads the model at `path` (opset 11 or later; the dialects of registerImportDialects are loaded). The module holds
/// one function @main, whose arguments and results carry onnx.name and onnx.dims, and an onnx.initializer for every
/// weight that is used. Weights are not read, only their place, size and type are checked. Emits one error and fails
/// where the file is no valid model.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> importONNX(llvm::StringRef path, mlir::MLIRContext *context,
                                                              const ImportOptions &options = {});

} // namespace caat

#endif // CAAT_IMPORT_IMPORT_H
