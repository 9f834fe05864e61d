// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights are expressions over initializers until the artifact is written; these are the ops that may stand in one.
#ifndef CAAT_RAISE_WEIGHTEXPRESSIONS_H
#define CAAT_RAISE_WEIGHTEXPRESSIONS_H

#include "mlir/IR/Operation.h"

namespace caat {

/// True for an op that the artifact writer evaluates where its operands are weights and constants.
bool isEvaluatedAtCompileTime(mlir::Operation *op);

} // namespace caat

#endif // CAAT_RAISE_WEIGHTEXPRESSIONS_H
