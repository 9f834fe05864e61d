// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What may run where the model would not run it.
#ifndef CAAT_LIB_RAISE_SPECULATION_H
#define CAAT_LIB_RAISE_SPECULATION_H

#include "caat/Raise/SymbolicShapes.h"

namespace caat {

/// Whether `op`, which `shapes` has visited, can be computed whatever the inputs are: its results have sizes, and
/// nothing that it needs (equal sizes, as many elements, an index inside) is left to a check when the program runs.
/// Divisors aside. False also means "not known".
bool canAlwaysRun(mlir::Operation *op, const SymbolicShapes &shapes);

} // namespace caat

#endif // CAAT_LIB_RAISE_SPECULATION_H
