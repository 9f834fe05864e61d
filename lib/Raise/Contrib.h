// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An operator of ONNX Runtime on its way to standard ops.
#ifndef CAAT_LIB_RAISE_CONTRIB_H
#define CAAT_LIB_RAISE_CONTRIB_H

#include "OnnxBuilder.h"
#include "llvm/ADT/StringMap.h"

namespace caat {

struct ContribOp {
  mutable onnx::CustomOp op; // ops are handles and know no const
  OnnxBuilder &b;
  SymbolicShapes &shapes;

  /// Operand `i`; null if it is missing.
  mlir::Value input(unsigned i) const;
  bool hasUsedOutput(unsigned i) const;
  int64_t integer(llvm::StringRef name, int64_t fallback) const;
  float number(llvm::StringRef name, float fallback) const;
  /// Why the op stays; returned as the failure that it is.
  llvm::LogicalResult missed(const llvm::Twine &reason) const;
  /// Result `i` is from now on `value`; a null value must not be needed.
  void replace(unsigned i, mlir::Value value) const;
};

/// Builds the replacement and replaces the results, or says why not.
using ContribConverter = llvm::LogicalResult (*)(const ContribOp &);

llvm::LogicalResult convertGroupQueryAttention(const ContribOp &contrib);
llvm::LogicalResult convertMultiHeadAttention(const ContribOp &contrib);
llvm::LogicalResult convertRotaryEmbedding(const ContribOp &contrib);

} // namespace caat

#endif // CAAT_LIB_RAISE_CONTRIB_H
