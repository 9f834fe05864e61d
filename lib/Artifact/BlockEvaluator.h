// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights in blocks, as the bytes of their rows.
#ifndef CAAT_LIB_ARTIFACT_BLOCKEVALUATOR_H
#define CAAT_LIB_ARTIFACT_BLOCKEVALUATOR_H

#include "caat/Artifact/WeightEvaluator.h"

namespace caat {

struct EncodedBlocks {
  std::vector<std::byte> rows;
  int64_t numNotFinite = 0; // elements with a scale or minimum that is NaN or infinite
};

/// One rank's rows of a weight with blocks: codes, scales, offsets. Codes of the model are moved as its expression
/// moves their values; what is `rounded` is evaluated and rounded, in which an element that is not finite, or too large
/// for a scale of f16, is an error.
llvm::Expected<EncodedBlocks> encodeBlocks(rt::WeightOp weight, int64_t rank, WeightEvaluator &evaluator);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_BLOCKEVALUATOR_H
