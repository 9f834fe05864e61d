// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Integers of few bits, and what they stand for.
#ifndef CAAT_LIB_ARTIFACT_WEIGHTCODES_H
#define CAAT_LIB_ARTIFACT_WEIGHTCODES_H

#include "caat/Artifact/TensorView.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/Support/Error.h"

namespace caat {

bool isBelowByte(mlir::Type element);

/// Integers below a byte, each in a byte of its own. `packed`: their bytes as files have them, lowest bits first.
TensorView unpackedElements(mlir::RankedTensorType type, llvm::ArrayRef<char> packed);

/// Numbers below a byte, one to a byte.
TensorView unpacked(mlir::RankedTensorType type, const TensorView &packed, unsigned bits);

/// (x - zero) * scale, whose scale is of one element, of one for each slice of `axis`, or of one for each block along
/// it.
llvm::Expected<TensorView> dequantized(onnx::DequantizeLinearOp op, llvm::ArrayRef<TensorView> operands);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_WEIGHTCODES_H
