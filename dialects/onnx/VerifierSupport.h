// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the verifiers share: shapes where they are known, and messages that hold the value and the bound.
#ifndef CAAT_DIALECTS_ONNX_VERIFIERSUPPORT_H
#define CAAT_DIALECTS_ONNX_VERIFIERSUPPORT_H

#include "dialects/onnx/ONNX.h"

namespace caat::onnx::detail {

/// The type of `value` where it is there and has a rank; null otherwise.
inline mlir::RankedTensorType ranked(mlir::Value value) {
  return value ? llvm::dyn_cast<mlir::RankedTensorType>(value.getType()) : mlir::RankedTensorType();
}

/// Whether both dimensions are known and differ.
inline bool differ(int64_t a, int64_t b) {
  return a != b && !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b);
}

/// "[2, ?, 8]".
std::string shapeText(llvm::ArrayRef<int64_t> shape);

/// `value`, called `name`, has shape `expected` as far as both are known.
llvm::LogicalResult verifyShape(mlir::Operation *op, llvm::StringRef name, mlir::Value value,
                                llvm::ArrayRef<int64_t> expected);

/// Where `value` has a rank, it is `rank`.
llvm::LogicalResult verifyRank(mlir::Operation *op, llvm::StringRef name, mlir::Value value, int64_t rank);

/// `value` can be broadcast to `shape` without changing that.
llvm::LogicalResult verifyBroadcastTo(mlir::Operation *op, llvm::StringRef name, mlir::Value value,
                                      llvm::ArrayRef<int64_t> shape);

/// `axis` counted from the front; an error where it is outside [-rank, rank).
llvm::FailureOr<int64_t> verifyAxis(mlir::Operation *op, int64_t axis, int64_t rank);

/// The same for every constant axis; fails where one stands twice.
llvm::FailureOr<llvm::SmallVector<int64_t>> verifyAxes(mlir::Operation *op, llvm::ArrayRef<int64_t> axes, int64_t rank);

/// `indices` are of i32 or i64, as ONNX has them; an argument is called by its name.
llvm::LogicalResult verifyIndices(mlir::Operation *op, mlir::Value indices);

/// The attribute `name` is one of `allowed`.
llvm::LogicalResult verifyOneOf(mlir::Operation *op, llvm::StringRef name, llvm::StringRef value,
                                llvm::ArrayRef<llvm::StringRef> allowed);

} // namespace caat::onnx::detail

#endif // CAAT_DIALECTS_ONNX_VERIFIERSUPPORT_H
