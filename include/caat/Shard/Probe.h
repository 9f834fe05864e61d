// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A copy of a function in which every size is a number, for proofs by the sharding analysis that hold for all sizes.
#ifndef CAAT_SHARD_PROBE_H
#define CAAT_SHARD_PROBE_H

#include "caat/Raise/SymbolicShapes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

namespace caat::shard {

/// Gives every value of a function the shape that it has when each symbol is a number of its own: prime, and larger
/// than what models have as sizes of their own, so that no two dimensions are equal by chance. Sizes that are read
/// become these numbers.
class Probe {
public:
  /// `counts`: whether what is computed from a size of this expression is to be followed.
  Probe(mlir::func::FuncOp function, const SymbolicShapes &shapes, llvm::function_ref<bool(mlir::AffineExpr)> counts);

  int64_t evaluate(mlir::AffineExpr expr);
  /// Whether a size that counts is part of what the scalar, or the shape, `value` is computed from.
  bool isCounted(mlir::Value value) const { return counted.contains(value); }

private:
  void setTypes(mlir::func::FuncOp function, const SymbolicShapes &shapes);
  void replaceSizes(mlir::func::FuncOp function);

  llvm::DenseMap<unsigned, int64_t> values;
  llvm::DenseSet<mlir::Value> counted;
  int64_t last = 1000003;
};

/// Removes checks and what only they read: a run of a part makes its own.
void dropChecks(mlir::func::FuncOp function);

/// Whether the symbol `symbol` is part of `expr`.
bool mentions(mlir::AffineExpr expr, mlir::AffineExpr symbol);

/// Whether the op takes a shape, or bounds, as this operand: what it computes does not depend on it otherwise.
bool takesShape(mlir::OpOperand &operand);

/// "node 'name' (Op) " of an op that came from a file.
std::string describeNode(mlir::Operation *op);

} // namespace caat::shard

#endif // CAAT_SHARD_PROBE_H
