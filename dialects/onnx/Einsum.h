// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The equation of an onnx.Einsum, taken apart.
#ifndef CAAT_DIALECTS_ONNX_EINSUM_H
#define CAAT_DIALECTS_ONNX_EINSUM_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <optional>

namespace caat::onnx {

/// A number for each letter and each dimension of an ellipsis: 0, 1, … are the output's in order, the others are summed
/// over. Dimensions of ellipses are counted from the last one, as broadcasting does.
struct EinsumTerms {
  llvm::SmallVector<llvm::SmallVector<unsigned>> inputs;
  unsigned outputs; // of so many dimensions
  unsigned labels;  // in all
};

/// The terms of `equation` for inputs of these ranks; nothing where it does not fit them.
std::optional<EinsumTerms> parseEinsum(llvm::StringRef equation, llvm::ArrayRef<int64_t> ranks);

} // namespace caat::onnx

#endif // CAAT_DIALECTS_ONNX_EINSUM_H
