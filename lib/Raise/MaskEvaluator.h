// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an element of a mask is, as a function of its place. Exporters write masks in many ways (Range and comparisons,
// GatherND of the padding, Trilu, ScatterND); evaluated at a symbolic place [d0, d1, d2, d3] all of them say the same.
#ifndef CAAT_LIB_RAISE_MASKEVALUATOR_H
#define CAAT_LIB_RAISE_MASKEVALUATOR_H

#include "caat/Raise/SymbolicShapes.h"
#include "llvm/ADT/ScopeExit.h"

namespace caat {

/// A statement about a place that is true or false: either `bound` <= 0, or `loaded`[`place`] != 0.
struct MaskAtom {
  mlir::AffineExpr bound;
  mlir::Value loaded;
  llvm::SmallVector<mlir::AffineExpr, 4> place;

  bool operator==(const MaskAtom &other) const {
    return bound == other.bound && loaded == other.loaded && place == other.place;
  }
};

/// An element: an integer computed from its place, or a number for each combination of truth values of some atoms
/// (bit i of the table's index is atom i).
struct MaskElement {
  mlir::AffineExpr integer;
  llvm::SmallVector<MaskAtom, 3> atoms;
  llvm::SmallVector<double, 8> table;

  static MaskElement constant(double value) { return {{}, {}, {value}}; }
};

class MaskEvaluator {
public:
  MaskEvaluator(const SymbolicShapes &shapes) : shapes(shapes) {}

  /// The element of `mask` at [d0, d1, ...]; nullopt where it is computed in a way that is not understood. Integers
  /// that are read from a tensor stand for 0 and 1, as masks hold.
  std::optional<MaskElement> evaluate(mlir::Value mask);

  /// Sizes that must be equal for that: dims which may be broadcast when the program runs are taken not to be.
  llvm::ArrayRef<std::pair<mlir::AffineExpr, mlir::AffineExpr>> getAssumptions() const { return assumptions; }

private:
  using Place = llvm::SmallVector<mlir::AffineExpr, 4>;
  using Result = std::optional<MaskElement>;

  Result at(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> place);
  Result load(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> place);
  Result constantAt(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place);
  Result elementwise(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place);
  Result compare(mlir::Operation *op, mlir::AffineExpr a, mlir::AffineExpr b);
  using Entry = llvm::function_ref<std::optional<double>(llvm::ArrayRef<double>)>;
  Result combine(llvm::ArrayRef<MaskElement> operands, Entry entry);
  Result gatherND(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place);
  Result scatterND(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place);

  /// `place` in a tensor of shape `from` as a place in one of shape `to` with the same elements in order.
  std::optional<Place> reshaped(llvm::ArrayRef<mlir::AffineExpr> place, llvm::ArrayRef<mlir::AffineExpr> from,
                                llvm::ArrayRef<mlir::AffineExpr> to);
  /// `index` = quotient * size + remainder, with a remainder that is known to be within the size.
  std::optional<std::pair<mlir::AffineExpr, mlir::AffineExpr>> divide(mlir::AffineExpr index, mlir::AffineExpr size);
  MaskElement atom(MaskAtom atom);
  MaskElement atMostZero(mlir::AffineExpr bound);

  const SymbolicShapes &shapes;
  SymbolicShapes::Dims sizes; // of the mask: d_i < sizes[i]
  llvm::SmallVector<std::pair<mlir::AffineExpr, mlir::AffineExpr>> assumptions;
  unsigned depth = 0, steps = 0;
};

} // namespace caat

#endif // CAAT_LIB_RAISE_MASKEVALUATOR_H
