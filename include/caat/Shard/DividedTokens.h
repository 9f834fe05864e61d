// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether the tokens of one sequence may be run in parts, one after the other.
#ifndef CAAT_SHARD_DIVIDEDTOKENS_H
#define CAAT_SHARD_DIVIDEDTOKENS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <string>

namespace caat::shard {

/// A dimension that may be divided, or why none may.
struct Division {
  mlir::StringAttr dim;
  std::string refused;
};

/// Proves that a run of n tokens with P cached ones gives what a run of the first k tokens and then one of the others,
/// with P + k cached, give together, where the inputs are filled as the engine does for one sequence: tokens, a mask of
/// ones, and positions that follow the past. Only the tokens' dimension leads from one token to another, and only by
/// causal attention with a cache; nothing is computed from how many there are; every result but the caches has a row
/// for each. The dimension is the second of `input_ids`.
Division divideTokens(mlir::func::FuncOp function);

} // namespace caat::shard

#endif // CAAT_SHARD_DIVIDEDTOKENS_H
