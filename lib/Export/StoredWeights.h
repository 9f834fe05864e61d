// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which values of a rank's program are stored in its file, and which are computed from them when it runs.
#ifndef CAAT_LIB_EXPORT_STOREDWEIGHTS_H
#define CAAT_LIB_EXPORT_STOREDWEIGHTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"

namespace caat {

/// The operations whose results can be evaluated now: initializers, constants, and what is made of them.
class EvaluatedOps {
public:
  explicit EvaluatedOps(mlir::func::FuncOp function);
  bool contains(mlir::Operation *op) const { return ops.contains(op); }

private:
  llvm::DenseSet<mlir::Operation *> ops;
};

/// Divides a function into nodes and stored values. Moving a weight's elements (a transposition, a slice) is done in
/// the file where the weight has no other use, so that nothing is stored twice; a slice of a rank always is. Arithmetic
/// on weights is left to the runtime.
class StoredWeights {
public:
  explicit StoredWeights(mlir::func::FuncOp function);

  /// What is stored, in the order of the program.
  llvm::ArrayRef<mlir::Value> values() const { return stored.getArrayRef(); }
  bool isStored(mlir::Value value) const { return stored.contains(value); }
  /// Whether the operation is a node of the graph.
  bool isNode(mlir::Operation *op) const { return nodes.contains(op); }

private:
  bool isFolded(mlir::Operation *op, const EvaluatedOps &weights) const;

  llvm::SetVector<mlir::Value> stored;
  llvm::DenseSet<mlir::Operation *> nodes;
};

} // namespace caat

#endif // CAAT_LIB_EXPORT_STOREDWEIGHTS_H
