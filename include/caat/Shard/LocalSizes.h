// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How many bytes the values of one rank's program have, for given sizes of the named dimensions.
#ifndef CAAT_SHARD_LOCALSIZES_H
#define CAAT_SHARD_LOCALSIZES_H

#include "caat/Raise/SymbolicShapes.h"

namespace caat::shard {

class LocalSizes {
public:
  /// Sizes by name; a dimension whose name is missing counts as 1.
  using Dims = llvm::StringMap<int64_t>;

  /// `function` may hold collectives and sync points.
  explicit LocalSizes(mlir::func::FuncOp function);
  /// 0 for what is no tensor.
  int64_t getBytes(mlir::Value value, const Dims &dims) const;

private:
  void visit(mlir::Operation *op);
  int64_t evaluate(mlir::AffineExpr expr, const Dims &dims) const;

  SymbolicShapes shapes;
};

/// Reads NAME=VALUE into `dims`; false where it is something else.
bool parseDimValue(llvm::StringRef text, LocalSizes::Dims &dims);

} // namespace caat::shard

#endif // CAAT_SHARD_LOCALSIZES_H
