// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Factor rules that follow the tokens of a decoder, where those of sharding need them whole: attention that sees only
// what came before, look-ups by position, sums over a prefix.
#ifndef CAAT_LIB_SHARD_TOKENRULES_H
#define CAAT_LIB_SHARD_TOKENRULES_H

#include "Positions.h"
#include "caat/Shard/ShardingRule.h"
#include "llvm/ADT/SetVector.h"

namespace caat::shard {

class TokenRules {
public:
  /// `tokens`, `past` and `keys` are the sizes that the probe gives them.
  TokenRules(const Positions &positions, int64_t tokens, int64_t past, int64_t keys);
  TokenRules(const TokenRules &) = delete;
  TokenRules &operator=(const TokenRules &) = delete;

  const ShardingRules &getRules() const { return rules; }
  /// Why the op cannot be followed; empty where it can.
  llvm::StringRef whyRefused(mlir::Operation *op) const;
  /// Whether a dimension of that size is one of positions.
  bool isOfPositions(int64_t size) const { return size == tokens || size == past || size == keys; }

private:
  mlir::LogicalResult attention(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult rotary(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult slice(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult gather(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult concat(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult cumulative(mlir::Operation *op, FactorBuilder &factors);
  mlir::LogicalResult refuse(mlir::Operation *op, llvm::StringRef reason);

  const Positions &positions;
  int64_t tokens, past, keys;
  ShardingRules rules;
  llvm::DenseMap<mlir::Operation *, std::string> refusals;
};

/// The function's result that an op's `present` is, where `past` is a cache: an argument that nothing else reads.
std::optional<unsigned> findPresent(mlir::Value past, mlir::Value present, mlir::Operation *appends);

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_TOKENRULES_H
