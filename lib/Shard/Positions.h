// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a decoder computes of its tokens' positions, for any number of cached ones.
//
// A run adds `tokens` tokens to `past` cached ones. Element i of a dimension of that many tokens belongs to position
// past + i, element j of one of all `keys` = past + tokens, or of the past, to position j. A value is *settled* if what
// it holds of a position is the same in every run that has the position.
#ifndef CAAT_LIB_SHARD_POSITIONS_H
#define CAAT_LIB_SHARD_POSITIONS_H

#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace caat::shard {

/// The sizes in which runs differ.
struct RunSizes {
  mlir::AffineExpr tokens, past, keys;

  /// The first position of a dimension of that size, null where it is none of positions.
  mlir::AffineExpr firstPosition(mlir::AffineExpr size) const;
  /// Whether `expr` is a number.
  static bool isSettled(mlir::AffineExpr expr) { return expr && mlir::isa<mlir::AffineConstantExpr>(expr); }
};

/// An integer tensor of which every element is known: `base`, plus the index along `dim` where that is not negative.
struct Progression {
  mlir::AffineExpr base;
  int64_t dim = -1;
  bool settled = false;
};

/// What a slice makes of one dimension.
enum class Cut {
  None,    // all of it
  Settled, // the same positions, or the same elements, in every run
  Unknown,
};

class Positions {
public:
  /// The arguments of `function` are filled as the engine does: masks of ones, positions that follow the past.
  Positions(mlir::func::FuncOp function, const SymbolicShapes &shapes, RunSizes sizes);

  const RunSizes &getSizes() const { return sizes; }
  /// What is known of an integer tensor; null where not every element is.
  const Progression *get(mlir::Value value) const;
  /// Whether every element is `number`.
  bool isNumber(mlir::Value value, mlir::AffineExpr number) const;
  /// Whether an element is its own position, in tokens or keys.
  bool isPosition(mlir::Value value) const;
  /// One for each dimension of a slice's operand; empty where not even the axes are known.
  llvm::ArrayRef<Cut> getCuts(mlir::Operation *slice) const;

private:
  void addArguments(mlir::func::FuncOp function);
  void visit(mlir::Operation *op);
  std::optional<Progression> infer(mlir::Operation *op);
  std::optional<Progression> inferMoved(mlir::Operation *op);
  std::optional<Progression> inferSum(mlir::Operation *op, bool subtracts);
  std::optional<Progression> inferProduct(mlir::Operation *op);
  std::optional<Progression> inferJoined(onnx::ConcatOp concat);
  void set(mlir::Value value, Progression progression);
  void cut(mlir::Operation *slice);
  bool isSettled(mlir::AffineExpr size, mlir::AffineExpr part, mlir::AffineExpr from, int64_t step) const;

  const SymbolicShapes &shapes;
  RunSizes sizes;
  llvm::DenseMap<mlir::Value, Progression> progressions;
  struct Bounds {
    llvm::SmallVector<Cut, 4> cuts;
    SymbolicShapes::Dims starts; // null where not known
  };
  llvm::DenseMap<mlir::Operation *, Bounds> slices;
};

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_POSITIONS_H
