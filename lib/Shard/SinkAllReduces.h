// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A sum over the ranks may wait until linear ops have been applied to the partial sums: behind a weighted sum over
// experts it is smaller, and in front of an add it meets others with which it becomes one.
#ifndef CAAT_LIB_SHARD_SINKALLREDUCES_H
#define CAAT_LIB_SHARD_SINKALLREDUCES_H

#include "dialects/tp/TP.h"

namespace caat::shard {

/// Moves `reduce` behind linear ops that only it feeds, where that makes it smaller or brings it to an add.
/// `isReplicated` says whether a value is equal on all ranks. Returns the values that became partial sums.
llvm::SmallVector<mlir::Value> sinkAllReduce(mlir::RewriterBase &rewriter, tp::AllReduceOp reduce,
                                             llvm::function_ref<bool(mlir::Value)> isReplicated);

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_SINKALLREDUCES_H
