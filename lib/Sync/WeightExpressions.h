// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SYNC_WEIGHTEXPRESSIONS_H
#define CAAT_LIB_SYNC_WEIGHTEXPRESSIONS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace caat {

/// Tells which values depend on initializers and constants only: they are known at compile time.
class WeightExpressions {
public:
  bool contains(mlir::Value value);
  /// To be said of an operation that is erased: another may get its address.
  void forget(mlir::Operation *op) { known.erase(op); }

private:
  llvm::DenseMap<mlir::Operation *, bool> known;
};

} // namespace caat

#endif // CAAT_LIB_SYNC_WEIGHTEXPRESSIONS_H
