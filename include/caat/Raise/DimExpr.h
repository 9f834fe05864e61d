// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arithmetic on symbolic dimensions. A dimension is an AffineExpr over symbols (s0 = "batch", s1 = "seq", ...);
// products of symbols are allowed. Every function here returns the normal form, a sum of products in a fixed order, so
// that two dimensions are equal for all values of the symbols whenever their expressions are the same object.
#ifndef CAAT_RAISE_DIMEXPR_H
#define CAAT_RAISE_DIMEXPR_H

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace caat {

/// The normal form of `expr`. `replace` maps a symbol's position to what it is known to equal (null: nothing known).
mlir::AffineExpr normalizeDim(mlir::AffineExpr expr, llvm::function_ref<mlir::AffineExpr(unsigned)> replace = {});

/// A total order of expressions, the same in every run.
bool isEarlierDim(mlir::AffineExpr a, mlir::AffineExpr b);

/// Null where the result would be larger than any size of a model, a coefficient overflows, or an operand is null.
mlir::AffineExpr addDims(mlir::AffineExpr a, mlir::AffineExpr b);
mlir::AffineExpr subDims(mlir::AffineExpr a, mlir::AffineExpr b);
mlir::AffineExpr mulDims(mlir::AffineExpr a, mlir::AffineExpr b);

/// a / b rounded down. Exact divisions of sums and products are carried out (12 * batch * seq by 4 * seq is 3 * batch,
/// assuming seq is not zero); all others stay as floordiv. Null where b is the constant zero.
mlir::AffineExpr divDims(mlir::AffineExpr a, mlir::AffineExpr b);

std::optional<int64_t> constantDim(mlir::AffineExpr a);

/// Whether a > b or a >= b for all non-negative values of the symbols; false also means "not known".
bool provablyGreater(mlir::AffineExpr a, mlir::AffineExpr b);
bool provablyGreaterEqual(mlir::AffineExpr a, mlir::AffineExpr b);

/// Whether a and b are equal for all values of the symbols (true), for none (false), or neither is known.
std::optional<bool> compareDims(mlir::AffineExpr a, mlir::AffineExpr b);

/// "past + seq", "12 * batch", "(seq + 1) floordiv 2".
std::string printDim(mlir::AffineExpr expr, llvm::function_ref<std::string(unsigned)> nameOf);

/// Reads what printDim and exporters write: names, integers, + - * / // floordiv and parentheses. Names may hold any
/// character that is no operator, so "past_key_values.0" is one. Null if the text is none.
mlir::AffineExpr parseDim(llvm::StringRef text, mlir::MLIRContext *context,
                          llvm::function_ref<mlir::AffineExpr(llvm::StringRef)> symbolOf);

} // namespace caat

#endif // CAAT_RAISE_DIMEXPR_H
