// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_FLOATCASTS_H
#define CAAT_LIB_ARTIFACT_FLOATCASTS_H

#include "caat/Artifact/TensorView.h"

namespace caat {

/// Writes the elements of a view, cast, row-major.
using FloatCast = void (*)(const TensorView &from, char *to);
/// Casts between floats of 16 and 32 bits, as most of a model's weights need them, in loops of their own. Null for
/// others.
FloatCast floatCast(mlir::Type from, mlir::Type to);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_FLOATCASTS_H
