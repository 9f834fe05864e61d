// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_RAISE_SIZECHECK_H
#define CAAT_LIB_RAISE_SIZECHECK_H

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace caat {

/// Adds an `onnx.check` that two sizes compare so; else the run ends with the message.
void addSizeCheck(mlir::OpBuilder &builder, mlir::Location loc, mlir::arith::CmpIPredicate predicate, mlir::Value a,
                  mlir::Value b, llvm::StringRef message);

} // namespace caat

#endif // CAAT_LIB_RAISE_SIZECHECK_H
