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

private:
  llvm::DenseMap<mlir::Operation *, bool> known;
};

} // namespace caat

#endif // CAAT_LIB_SYNC_WEIGHTEXPRESSIONS_H
