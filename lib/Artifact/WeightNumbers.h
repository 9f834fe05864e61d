// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Single numbers of weights, whatever their type.
#ifndef CAAT_LIB_ARTIFACT_WEIGHTNUMBERS_H
#define CAAT_LIB_ARTIFACT_WEIGHTNUMBERS_H

#include "caat/Artifact/TensorView.h"

namespace caat {

double readNumber(const char *at, mlir::Type element);
void writeNumber(char *at, mlir::Type element, double value);

/// Visits the elements in row-major order.
void forEachElement(const TensorView &view, llvm::function_ref<void(const char *)> visit);

llvm::SmallVector<int64_t> integers(const TensorView &view);

/// The function of each element, as `type`.
TensorView mapped(mlir::RankedTensorType type, const TensorView &x, llvm::function_ref<double(double)> function);

/// The function of each pair of elements, broadcast to `type`.
TensorView combined(mlir::RankedTensorType type, const TensorView &x, const TensorView &y,
                    llvm::function_ref<double(double, double)> function);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_WEIGHTNUMBERS_H
