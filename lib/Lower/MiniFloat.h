// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Floats of 8 and 4 bits, which LLVM has no conversions for: by integer arithmetic on the bits of an f32.
#ifndef CAAT_LIB_LOWER_MINIFLOAT_H
#define CAAT_LIB_LOWER_MINIFLOAT_H

#include "lib/Lower/OnnxLowering.h"

namespace caat::lower {

/// Whether `type` is such a float that has conversions here: f8E4M3FN, f8E4M3FNUZ, f8E5M2, f8E5M2FNUZ, f8E8M0FNU,
/// f4E2M1FN.
bool isMiniFloat(mlir::Type type);

/// What ONNX's Cast says of a conversion to such a float. `saturate`: numbers beyond the largest become it, else NaN or
/// infinity. `round` matters for f8E8M0FNU only: "up", "down" or "nearest".
struct MiniFloatOptions {
  bool saturate = true;
  llvm::StringRef round = "up";
};

mlir::Value widenMiniFloat(ScalarBuilder &s, mlir::Value x); // to f32, exactly
mlir::Value narrowToMiniFloat(ScalarBuilder &s, mlir::Value x, mlir::FloatType type, const MiniFloatOptions &options);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_MINIFLOAT_H
