// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Softmax of one row as plain loops with scalar accumulators, which LLVM vectorizes. For the body of a row kernel.
#ifndef CAAT_LIB_LOWER_SOFTMAXROWS_H
#define CAAT_LIB_LOWER_SOFTMAXROWS_H

#include "lib/Lower/OnnxLowering.h"

namespace caat::lower {

struct SoftmaxRow {
  /// Write log(softmax) instead.
  bool isLog = false;
  /// Positions [begin, end) count, the others become 0. Null: from 0, or to the row's length.
  mlir::Value begin, end;
  /// What to do to the element x at position j first (soft-cap, mask); may be null.
  llvm::function_ref<mlir::Value(ScalarBuilder &, mlir::Value x, mlir::Value j)> score = nullptr;
};

/// Softmax of `source` [n] into `dest` [n], which it returns; a null `source` means in place. A row of which every
/// element is -inf becomes zeros.
mlir::Value softmaxRow(ScalarBuilder &s, mlir::Value source, mlir::Value dest, const SoftmaxRow &options);

/// The first part of it: dest[j] = exp(score - maximum), not yet divided. Returns dest and 1 / sum (0 for an empty
/// sum).
std::pair<mlir::Value, mlir::Value> exponentialRow(ScalarBuilder &s, mlir::Value source, mlir::Value dest,
                                                   const SoftmaxRow &options);

/// Zeros outside of [begin, end).
mlir::Value clearOutside(ScalarBuilder &s, mlir::Value row, const SoftmaxRow &options);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_SOFTMAXROWS_H
