// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-major positions in small tensors of known shape.
#ifndef CAAT_LIB_RAISE_POSITIONS_H
#define CAAT_LIB_RAISE_POSITIONS_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace caat {

/// The index of the element at row-major position `linear`.
inline llvm::SmallVector<int64_t> delinearize(int64_t linear, llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t> index(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = linear % shape[axis];
    linear /= shape[axis];
  }
  return index;
}

/// Position in a tensor of `shape` of the element that broadcasting puts at `index`.
inline int64_t broadcastPosition(llvm::ArrayRef<int64_t> index, llvm::ArrayRef<int64_t> shape) {
  size_t offset = index.size() - shape.size();
  int64_t linear = 0;
  for (auto [axis, size] : llvm::enumerate(shape))
    linear = linear * size + (size == 1 ? 0 : index[offset + axis]);
  return linear;
}

} // namespace caat

#endif // CAAT_LIB_RAISE_POSITIONS_H
