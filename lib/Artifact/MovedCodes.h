// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_MOVEDCODES_H
#define CAAT_LIB_ARTIFACT_MOVEDCODES_H

#include "caat/Artifact/WeightEvaluator.h"

namespace caat {

/// A value as code * scale + offset. Scale and offset have the codes' shape, but for one dimension, of which `times`
/// neighbours share one. Elements without a scale (padding) are zeros whatever their code is.
struct CodedView {
  TensorView codes;                 // ui8
  TensorView scale;                 // f32
  std::optional<TensorView> offset; // ui8 zero points or f32 minima, as the form has them
  int64_t axis = 0, times = 1;
};

/// One rank's value of an expression that rt-block-weights accepts, with codes as `form` has them: moves codes, scales
/// and offsets as the expression moves their values.
llvm::Expected<CodedView> moveCodes(mlir::Value value, rt::BlocksAttr form, int64_t rank, WeightEvaluator &evaluator);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_MOVEDCODES_H
