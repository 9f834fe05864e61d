// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_LOWER_GPU_INDEPENDENTLOOP_H
#define CAAT_LIB_LOWER_GPU_INDEPENDENTLOOP_H

#include "lib/Lower/GPU/Hazards.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <optional>

namespace caat::lower {

/// A loop whose iterations may run in any order.
struct IndependentLoop {
  llvm::SmallVector<mlir::Operation *> combiners; // one for each value that the loop carries
  llvm::SmallVector<Access> accesses;
};

/// Recognises one: an element that an iteration writes is touched by that iteration only, since the induction variable
/// is one of its indices, and what is carried is combined by an op that takes its terms in any order.
std::optional<IndependentLoop> findIndependentLoop(mlir::scf::ForOp loop);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GPU_INDEPENDENTLOOP_H
