// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An operator of ONNX Runtime, or an old form of ONNX's own, on its way to standard ops.
#ifndef CAAT_LIB_RAISE_CONTRIB_H
#define CAAT_LIB_RAISE_CONTRIB_H

#include "OnnxBuilder.h"
#include "llvm/ADT/StringMap.h"

namespace caat {

struct ContribOp {
  mutable onnx::CustomOp op; // ops are handles and know no const
  OnnxBuilder &b;
  SymbolicShapes &shapes;
  bool rowLengths = false; // rows of a cache may have lengths of their own

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

/// Heads, experts and the like that are believed; products of a few such numbers fit 63 bits.
inline constexpr int64_t kMaxCount = 1 << 16;

/// Builds the replacement and replaces the results, or says why not.
using ContribConverter = llvm::LogicalResult (*)(const ContribOp &);

llvm::LogicalResult convertGroupQueryAttention(const ContribOp &contrib);
llvm::LogicalResult convertMultiHeadAttention(const ContribOp &contrib);
llvm::LogicalResult convertPackedAttention(const ContribOp &contrib);
llvm::LogicalResult convertRotaryEmbedding(const ContribOp &contrib);
llvm::LogicalResult convertMatMulNBits(const ContribOp &contrib);
llvm::LogicalResult convertGatherBlockQuantized(const ContribOp &contrib);
llvm::LogicalResult convertOldSoftmax(const ContribOp &contrib);
llvm::LogicalResult convertOldGroupNormalization(const ContribOp &contrib);
llvm::LogicalResult convertMoE(const ContribOp &contrib);

} // namespace caat

#endif // CAAT_LIB_RAISE_CONTRIB_H
