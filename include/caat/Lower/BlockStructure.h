// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which weight expressions only move codes in blocks, and in which form their codes can be kept. Answers follow from
// the expression alone, not from what files hold, so that all ranks agree on them.
#ifndef CAAT_LOWER_BLOCKSTRUCTURE_H
#define CAAT_LOWER_BLOCKSTRUCTURE_H

#include "dialects/onnx/ONNX.h"
#include "dialects/rt/RT.h"
#include <optional>
#include <string>

namespace caat {

/// The integers that an onnx.DequantizeLinear scales.
struct Codes {
  unsigned bits = 0;           // 2, 4 or 8 of which they are
  int64_t lowest = 0;          // the smallest that they can be
  std::optional<int64_t> zero; // their zero point, where it is known and the same for all
  int64_t highest() const { return lowest + (int64_t(1) << bits) - 1; }
};

/// Nothing for codes of other types, and zero points that may not be codes themselves.
std::optional<Codes> codesOf(onnx::DequantizeLinearOp op);

/// Whether the results of `op` are elements of its operands and zeros, in places that no element decides.
bool movesElements(mlir::Operation *op);

/// The operands of such an op whose elements are moved.
mlir::OperandRange movedOperands(mlir::Operation *op);

/// The onnx.DequantizeLinear that makes `value` (of joined ones the first), but for places and types of floats; or
/// null.
onnx::DequantizeLinearOp dequantizationOf(mlir::Value value);

/// The form in which a matrix of [N, K], K being dimension `depth`, keeps its codes on every rank: the largest blocks
/// along K that share a scale. `why`: what is in the way, where there is none.
std::optional<rt::BlocksAttr> findBlocks(mlir::Value matrix, unsigned depth, std::string &why);

} // namespace caat

#endif // CAAT_LOWER_BLOCKSTRUCTURE_H
