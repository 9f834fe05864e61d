// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of some of their rows, on buffers.
#ifndef CAAT_LIB_LOWER_ROWPARTS_H
#define CAAT_LIB_LOWER_ROWPARTS_H

#include "dialects/rt/RT.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace caat::lower {

/// Whether the rows of a product's x and y lie side by side, each of known size.
bool hasDenseRows(rt::LinearOp product);

/// Rows [begin, end) of a dense buffer [..., columns], as a matrix.
mlir::Value takeRows(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, mlir::Value begin, mlir::Value end);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ROWPARTS_H
