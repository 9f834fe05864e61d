// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_TENSORVIEW_H
#define CAAT_ARTIFACT_TENSORVIEW_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <vector>

namespace caat {

/// Elements somewhere in memory, seen through a shape and strides; most operations on weights only change these.
/// Booleans take one byte.
struct TensorView {
  const char *data = nullptr;
  llvm::SmallVector<int64_t> shape, strides; // strides in elements; 0 repeats
  mlir::Type element;
  std::shared_ptr<std::vector<char>> owner; // null where the data is mapped from a file

  /// Dense row-major elements at `data`.
  static TensorView dense(const char *data, mlir::RankedTensorType type, std::shared_ptr<std::vector<char>> owner = {});
  /// New zeroed elements, and the way to write them.
  static std::pair<TensorView, char *> create(mlir::RankedTensorType type);

  int64_t elementBytes() const;
  int64_t numElements() const;
  bool isDense() const;
  /// The part [start, start + length) of a dimension.
  TensorView slice(int64_t dim, int64_t start, int64_t length) const;
  /// The elements at row-major position `index`.
  const char *at(int64_t index) const;
};

/// Visits the elements row-major, as runs of elements that lie `stride` elements apart.
void forEachRun(const TensorView &view,
                llvm::function_ref<void(const char *first, int64_t length, int64_t stride)> visit);

/// Writes the elements row-major, a few rows in memory at a time.
void writeDense(const TensorView &view, llvm::raw_ostream &os);

/// Copies `from` onto dense memory at `to`.
void copyDense(const TensorView &from, char *to);

/// Copies `from` into a part of a dense tensor of shape `shape` that begins at `offsets`.
void copyInto(const TensorView &from, char *to, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> offsets);

} // namespace caat

#endif // CAAT_ARTIFACT_TENSORVIEW_H
