// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How many bytes a value has for each token. Sizes that are not known get typical ones: a batch of one (the first
// dimension of an argument) and sequences of `typicalLength`. A token is a row of the largest product with a weight, so
// that the pixels of an image, the frames of a sound and the words of a text count alike.
#ifndef CAAT_LIB_SHARD_TOKENCOST_H
#define CAAT_LIB_SHARD_TOKENCOST_H

#include "caat/Raise/SymbolicShapes.h"
#include "caat/Shard/ShardingAnalysis.h"

namespace caat::shard {

class TokenCost {
public:
  static constexpr int64_t typicalLength = 256;

  explicit TokenCost(ShardingAnalysis &analysis);
  /// Bytes of `value`, per token and at least 1.
  int64_t bytes(mlir::Value value) const;

private:
  double elements(mlir::Value value) const;
  double evaluate(mlir::AffineExpr expr) const;

  const SymbolicShapes &shapes;
  llvm::DenseSet<mlir::AffineExpr> batches;
  double tokens = 1;
};

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_TOKENCOST_H
