// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a module of the onnx and tp dialects back to ONNX files, one a rank.
#ifndef CAAT_EXPORT_EXPORT_H
#define CAAT_EXPORT_EXPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"

namespace caat {

struct ExportOptions {
  /// Where to write; "%r" stands for the rank's number and is needed where there are several ranks.
  std::string output;
  /// Tell on standard error how much is written.
  bool progress = true;
};

/// The dialects that a module to export may use.
void registerExportDialects(mlir::DialectRegistry &registry);

/// Writes the module's only function (or @main) for each rank of its mesh: OUTPUT and OUTPUT.data, where tensors of at
/// least 1 KiB go, one of them in memory at a time. The files get their names when all of them are complete. Emits one
/// error and fails where an operation has no ONNX form or a file cannot be written.
mlir::LogicalResult exportONNX(mlir::ModuleOp module, const ExportOptions &options);

} // namespace caat

#endif // CAAT_EXPORT_EXPORT_H
