// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SUPPORT_HALFTYPES_H
#define CAAT_SUPPORT_HALFTYPES_H

#include "mlir/IR/TypeUtilities.h"

namespace caat {

/// Whether `type`, or its elements, are floats of 16 bits.
inline bool isHalf(mlir::Type type) {
  mlir::Type element = mlir::getElementTypeOrSelf(type);
  return element.isF16() || element.isBF16();
}

} // namespace caat

#endif // CAAT_SUPPORT_HALFTYPES_H
