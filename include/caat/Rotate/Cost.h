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
  bool dividesBatch = false; // a rank has 1/N of the tokens, so 1/N of the activations
};

struct CostModel {
  int64_t ranks = 1;
  int64_t splitBytes = 0;      // of a rank's own slices
  int64_t wholeBytes = 0;      // of weights that every rank has
  std::vector<int64_t> groups; // slices that travel together; empty before tp-rotate-weights
  cost::Traffic sentPerToken;  // by a rank, for the collectives of a tensor-parallel program

  /// Of the function @main after tp-partition, and of the same after tp-rotate-weights.
  static CostModel get(mlir::ModuleOp partitioned, mlir::ModuleOp rotated);

  StrategyCost tensorParallel(int64_t tokens) const;
  StrategyCost rotated(bool inPlace) const;
  StrategyCost dataParallel() const;
  /// Tokens of a step, of the whole batch, from which on rotated weights send less; nothing where nothing is summed.
  std::optional<int64_t> crossover() const;

  /// The strategies side by side, for a step of so many tokens.
  void print(llvm::raw_ostream &os, int64_t tokens, const cost::Link &link) const;
};

} // namespace caat

#endif // CAAT_ROTATE_COST_H
