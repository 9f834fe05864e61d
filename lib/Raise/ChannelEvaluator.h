// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What one channel of a tensor is made of: channels of a given tensor x, each times a number and perhaps an element of
// another tensor. Exporters write rotations of channels in many ways (slices, splits, stacks, reshapes, tables of
// angles that are doubled or repeated); evaluated channel by channel all of them say the same.
#ifndef CAAT_LIB_RAISE_CHANNELEVALUATOR_H
#define CAAT_LIB_RAISE_CHANNELEVALUATOR_H

#include "caat/Raise/SymbolicShapes.h"

namespace caat {

/// `op` (Cos, Sin, Cast) of a number times its operand.
struct ChannelFunction {
  mlir::Operation *op;
  double scale;
  bool operator==(const ChannelFunction &other) const { return op == other.op && scale == other.scale; }
};

/// An element of a tensor that does not depend on x: `functions` (the innermost first) of `leaf` at `place`, whose
/// entry `axis` is a constant.
struct ChannelFactor {
  mlir::Value leaf;
  llvm::SmallVector<mlir::AffineExpr, 4> place;
  unsigned axis = 0;
  llvm::SmallVector<ChannelFunction, 2> functions;

  int64_t channel() const { return *constantDim(place[axis]); }
  /// Whether both are the same tensor at the same place but for the channel.
  bool isBesides(const ChannelFactor &other) const;
};

/// scale * x[..., channel] * factor.
struct ChannelTerm {
  double scale = 1;
  std::optional<int64_t> channel; // none: x does not occur
  std::optional<ChannelFactor> factor;
};

class ChannelEvaluator {
public:
  ChannelEvaluator(const SymbolicShapes &shapes, mlir::Value x) : shapes(shapes), x(x) {}

  /// The terms, at most two, of `value` at [d0, d1, ..., channel]; `value` has x's shape. Nullopt where it is made in a
  /// way that is not understood.
  std::optional<llvm::SmallVector<ChannelTerm, 2>> evaluate(mlir::Value value, int64_t channel);

private:
  using Place = llvm::SmallVector<mlir::AffineExpr, 4>;
  using Terms = std::optional<llvm::SmallVector<ChannelTerm, 2>>;

  Terms at(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> place);
  Terms leaf(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> place);
  Terms sum(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place, double sign);
  Terms product(mlir::Value a, mlir::Value b, mlir::Value whole, llvm::ArrayRef<mlir::AffineExpr> place);
  Terms function(mlir::Operation *op, llvm::ArrayRef<mlir::AffineExpr> place);
  /// The operand that an op which only moves elements takes this one from, and where.
  std::optional<std::pair<mlir::Value, Place>> source(mlir::Operation *op, mlir::Value value,
                                                      llvm::ArrayRef<mlir::AffineExpr> place);
  Terms broadcastAt(mlir::Value operand, llvm::ArrayRef<mlir::AffineExpr> place);

  const SymbolicShapes &shapes;
  mlir::Value x;
  Place lead; // of x's elements
  unsigned depth = 0, steps = 0;
};

} // namespace caat

#endif // CAAT_LIB_RAISE_CHANNELEVALUATOR_H
