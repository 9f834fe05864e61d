// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What integers are divided by: ONNX leaves a division by zero undefined, and here it ends in a message.
#ifndef CAAT_LIB_RAISE_DIVISORS_H
#define CAAT_LIB_RAISE_DIVISORS_H

#include "caat/Raise/SymbolicShapes.h"
#include "llvm/ADT/StringSet.h"

namespace caat {

/// What a Div or Mod of integers divides by; null for other ops.
mlir::Value integerDivisor(mlir::Operation *op);

/// Whether an element of a constant divisor is zero, and which.
std::optional<int64_t> findZero(mlir::Value divisor, const SymbolicShapes &shapes);

/// Whether no element can be zero, whatever the inputs are.
bool isNeverZero(mlir::Value divisor, const SymbolicShapes &shapes);

/// Whether all elements are sizes that are known as expressions, which checkSizesOf() checks.
bool isOfSizes(mlir::OpBuilder &builder, mlir::Value divisor, const SymbolicShapes &shapes);

/// Adds an `onnx.check` that each size that `op` divides by is not zero, unless it cannot be, or is `checked`. Whether
/// there is one more.
bool checkSizesOf(mlir::OpBuilder &builder, mlir::Operation *op, const SymbolicShapes &shapes,
                  llvm::StringSet<> &checked);

/// "node 'halve' (Div) divides by ".
std::string dividesBy(mlir::Operation *op);

} // namespace caat

#endif // CAAT_LIB_RAISE_DIVISORS_H
