// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_CPU_OPERAND_H
#define CAAT_RUNTIME_CPU_OPERAND_H

#include <algorithm>
#include <cstdint>
#include <vector>

namespace caat::runtime {

/// A matrix as oneDNN multiplies it: 'N', rows of elements side by side that begin `leading` elements apart, or 'T',
/// columns of that kind.
template <typename T> struct Operand {
  const T *data;
  char transposed;
  int64_t leading;
};

/// Uses the matrix in place where one of its strides is 1, else copies it into `copy`.
template <typename T>
Operand<T> prepare(const T *data, int64_t rows, int64_t cols, int64_t rowStride, int64_t colStride,
                   std::vector<T> &copy) {
  if (colStride == 1 || cols == 1) {
    if (rows == 1)
      return {data, 'N', std::max<int64_t>(cols, 1)};
    if (rowStride >= std::max<int64_t>(cols, 1))
      return {data, 'N', rowStride};
  }
  if (rowStride == 1 || rows == 1) {
    if (cols == 1)
      return {data, 'T', std::max<int64_t>(rows, 1)};
    if (colStride >= std::max<int64_t>(rows, 1))
      return {data, 'T', colStride};
  }
  copy.resize(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      copy[r * cols + c] = data[r * rowStride + c * colStride];
  return {copy.data(), 'N', std::max<int64_t>(cols, 1)};
}

} // namespace caat::runtime

#endif
