// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_IMPORT_NODEMESSAGES_H
#define CAAT_IMPORT_NODEMESSAGES_H

#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringRef.h"

namespace caat {

/// Prints errors and warnings about what was read from an ONNX file, which has no lines, as
///
///     model.onnx: error: node 'layers.0/MatMul': …
///
/// with the name left out where the message says it. What has a place in a text is left to the handlers before.
void printMessagesByNode(mlir::MLIRContext &context, llvm::StringRef file);

} // namespace caat

#endif // CAAT_IMPORT_NODEMESSAGES_H
