// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a step of a program sends and holds with each strategy, by the sizes in its IR.
#ifndef CAAT_ROTATE_COST_H
#define CAAT_ROTATE_COST_H

#include "caat/Cost/Link.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>
#include <string>
#include <vector>

namespace caat {

struct StrategyCost {
  std::string name;
  cost::Traffic sent; // by a rank in a step
  int64_t weightBytes = 0, spareBytes = 0;
  int64_t tokens = 0;          // of a rank in a step
  int64_t activationBytes = 0; // of a rank, about
};

/// Bytes of intermediate values of a module's function @main that are alive at once, for each token; about.
int64_t activationsPerToken(mlir::ModuleOp module);

/// What one rank sends for the collectives of @main: latencies of a step, bytes of a token.
cost::Traffic trafficPerToken(mlir::ModuleOp partitioned, int64_t ranks);

struct CostModel {
  int64_t ranks = 1;
  int64_t splitBytes = 0;                       // of a rank's own slices
  int64_t wholeBytes = 0;                       // of weights that every rank has
  std::vector<int64_t> groups;                  // slices that travel together; empty before tp-rotate-weights
  cost::Traffic sentPerToken;                   // by a rank, for the collectives of a tensor-parallel program
  std::optional<cost::Traffic> plannedPerToken; // the same where a plan is applied
  int64_t cacheBytes = 0;                       // of one row, on all ranks together, with any strategy
  int64_t wholeActivations = 0, splitActivations = 0, rotatedActivations = 0; // bytes a token of a rank

  /// Of the function @main before sharding, after tp-partition, and after tp-rotate-weights.
  /// `maxLength`: positions of a cache.
  static CostModel get(mlir::ModuleOp whole, mlir::ModuleOp partitioned, mlir::ModuleOp rotated, int64_t maxLength);

  // For a step of so many tokens, all rows together.
  StrategyCost tensorParallel(int64_t tokens) const;
  /// With the plan, if there is one.
  StrategyCost planned(int64_t tokens) const;
  StrategyCost rotated(int64_t tokens, bool inPlace) const;
  StrategyCost dataParallel(int64_t tokens) const;
  /// Tokens of a step, of the whole batch, from which on rotated weights send less; nothing where nothing is summed.
  std::optional<int64_t> crossover() const;

  /// The strategies side by side, for a step of so many tokens.
  void print(llvm::raw_ostream &os, int64_t tokens, const cost::Link &link) const;
};

} // namespace caat

#endif // CAAT_ROTATE_COST_H
