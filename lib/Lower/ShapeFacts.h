// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_LOWER_SHAPEFACTS_H
#define CAAT_LIB_LOWER_SHAPEFACTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/DenseMap.h"

namespace caat {

/// The symbolic shapes of a function's onnx ops, taken while all of them are there: ops are lowered one by one, and
/// their operands then are no longer the values that were analysed.
class ShapeFacts {
public:
  /// Analyses `function`; computes the sizes of dynamic results of ops that change shapes by arithmetic on the sizes of
  /// arguments, in front of each op.
  explicit ShapeFacts(mlir::func::FuncOp function);

  /// Dimensions of the first operand and first result of `op`, if all are known.
  std::optional<llvm::ArrayRef<mlir::AffineExpr>> source(mlir::Operation *op) const { return find(sources, op); }
  std::optional<llvm::ArrayRef<mlir::AffineExpr>> result(mlir::Operation *op) const { return find(results, op); }
  /// Sizes of the first result of `op`.
  std::optional<llvm::ArrayRef<mlir::OpFoldResult>> sizes(mlir::Operation *op) const { return find(resultSizes, op); }

private:
  template <typename T>
  static std::optional<llvm::ArrayRef<T>> find(const llvm::DenseMap<mlir::Operation *, llvm::SmallVector<T>> &map,
                                               mlir::Operation *op) {
    auto it = map.find(op);
    if (it == map.end())
      return std::nullopt;
    return llvm::ArrayRef<T>(it->second);
  }

  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::AffineExpr>> sources, results;
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::OpFoldResult>> resultSizes;
};

} // namespace caat

#endif // CAAT_LIB_LOWER_SHAPEFACTS_H
