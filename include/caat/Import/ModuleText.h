// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MLIR text from files that somebody else wrote.
#ifndef CAAT_IMPORT_MODULETEXT_H
#define CAAT_IMPORT_MODULETEXT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/SourceMgr.h"

namespace caat {

/// What MLIR's parser would end the process for, in words; empty where there is nothing of that kind. It makes room for
/// as many results as `%value#N` counts and as many operands as the type of a tensor.from_elements has elements, and
/// follows brackets with its stack.
std::string refuseModuleText(llvm::StringRef text);

/// The text of a file that may be parsed; null and an error otherwise.
std::unique_ptr<llvm::MemoryBuffer> openModuleFile(llvm::StringRef path, std::string &error);

/// Parses the module of a file. Null after an error.
mlir::OwningOpRef<mlir::ModuleOp> parseModuleFile(llvm::StringRef path, llvm::SourceMgr &sources,
                                                  mlir::MLIRContext *context);

} // namespace caat

#endif // CAAT_IMPORT_MODULETEXT_H
