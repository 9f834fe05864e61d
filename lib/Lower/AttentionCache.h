// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Caches of attention on their way to 16 bits: formed ones (rt-form-caches), before onnx.Attention is lowered.
#ifndef CAAT_LIB_LOWER_ATTENTIONCACHE_H
#define CAAT_LIB_LOWER_ATTENTIONCACHE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>

namespace caat::lower {

/// An argument that attentions append to and nothing else reads: one, or, with rotated weights, one for each virtual
/// rank's block.
struct AttentionCache {
  mlir::BlockArgument argument;
  llvm::SmallVector<mlir::Value> values; // the argument and all that has elements of it alone, presents included
  llvm::SmallVector<mlir::OpOperand *> appended; // the new keys or values of each attention

  static std::optional<AttentionCache> find(mlir::func::FuncOp function, mlir::BlockArgument argument);
  /// The one that `past`, an operand of attention, is a slice of.
  static std::optional<AttentionCache> find(mlir::func::FuncOp function, mlir::Value past);

  /// Stores it as `element`; what is appended is the caller's, and so is the function's type. The interface keeps its
  /// type: the runtime converts what is given and asked for.
  void setElementType(mlir::func::FuncOp function, mlir::Type element);
};

/// What `value` was before it was widened to f32, or null.
mlir::Value beforeWidening(mlir::Value value);

/// Gives `value` other elements.
void setElementType(mlir::Value value, mlir::Type element);

/// Makes the type of `function` that of its arguments and returned values.
void updateType(mlir::func::FuncOp function);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ATTENTIONCACHE_H
