// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Newer operators in terms of older ones: what ONNX's function bodies say, on the shapes that are known.
#ifndef CAAT_LIB_RAISE_LOWEROPSET_H
#define CAAT_LIB_RAISE_LOWEROPSET_H

#include "OnnxBuilder.h"

namespace caat {

/// Puts older operators in the place of `op`'s results. On failure `why` says what is not known of it.
mlir::LogicalResult lowerAttention(onnx::AttentionOp op, OnnxBuilder &builder, llvm::StringRef &why);
mlir::LogicalResult lowerRotaryEmbedding(onnx::RotaryEmbeddingOp op, OnnxBuilder &builder, llvm::StringRef &why);

/// `x` with another element type.
mlir::Value castTo(OnnxBuilder &builder, mlir::Value x, mlir::Type element);

} // namespace caat

#endif // CAAT_LIB_RAISE_LOWEROPSET_H
