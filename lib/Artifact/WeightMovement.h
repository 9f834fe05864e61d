// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops that only move elements, on views. Shapes and element types are the operands': what is moved need not be what the
// op was written for.
#ifndef CAAT_LIB_ARTIFACT_WEIGHTMOVEMENT_H
#define CAAT_LIB_ARTIFACT_WEIGHTMOVEMENT_H

#include "caat/Artifact/TensorView.h"
#include "mlir/IR/Value.h"
#include "llvm/Support/Error.h"

namespace caat {

/// Why an expression has no value.
llvm::Error unsupported(mlir::Operation *op, const llvm::Twine &why);

/// The same elements, dense.
TensorView densified(const TensorView &view);

/// `view` repeated to `shape` by numpy's rules.
TensorView broadcast(const TensorView &view, llvm::ArrayRef<int64_t> shape);

/// What `rank` has as the result of an op of caat::movesElements(), of its operands' values.
llvm::Expected<TensorView> moved(mlir::OpResult result, llvm::ArrayRef<TensorView> operands, int64_t rank);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_WEIGHTMOVEMENT_H
