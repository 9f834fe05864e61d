// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/TensorView.h"
#include <cstring>

using namespace mlir;
using namespace caat;

TensorView TensorView::dense(const char *data, RankedTensorType type, std::shared_ptr<std::vector<char>> owner) {
  TensorView view;
  view.data = data;
  view.element = type.getElementType();
  view.shape.assign(type.getShape().begin(), type.getShape().end());
  view.strides.resize(view.shape.size());
  int64_t stride = 1;
  for (size_t d = view.shape.size(); d-- > 0;) {
    view.strides[d] = stride;
    stride *= view.shape[d];
  }
  view.owner = std::move(owner);
  return view;
}

std::pair<TensorView, char *> TensorView::create(RankedTensorType type) {
  TensorView shape = dense(nullptr, type);
  auto owner = std::make_shared<std::vector<char>>(shape.numElements() * shape.elementBytes());
  char *data = owner->data();
  return {dense(data, type, std::move(owner)), data};
}

int64_t TensorView::elementBytes() const { return std::max(1u, element.getIntOrFloatBitWidth() / 8); }

int64_t TensorView::numElements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

bool TensorView::isDense() const {
  int64_t expected = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected)
      return false;
    expected *= shape[d];
  }
  return true;
}

TensorView TensorView::slice(int64_t dim, int64_t start, int64_t length) const {
  TensorView result = *this;
  result.data += start * strides[dim] * elementBytes();
  result.shape[dim] = length;
  return result;
}

const char *TensorView::at(int64_t index) const {
  const char *result = data;
  for (size_t d = shape.size(); d-- > 0;) {
    result += index % shape[d] * strides[d] * elementBytes();
    index /= shape[d];
  }
  return result;
}

void caat::forEachRun(const TensorView &view, llvm::function_ref<void(const char *, int64_t, int64_t)> visit) {
  if (view.numElements() == 0)
    return;
  // The longest dense end of the shape is one run; otherwise the last dimension is.
  size_t rank = view.shape.size(), outer = rank;
  int64_t length = 1, stride = 1;
  while (outer > 0 && (view.shape[outer - 1] == 1 || view.strides[outer - 1] == length))
    length *= view.shape[--outer];
  if (outer == rank && rank > 0) {
    --outer;
    length = view.shape[outer];
    stride = view.strides[outer];
  }
  llvm::SmallVector<int64_t> index(outer);
  const char *at = view.data;
  int64_t bytes = view.elementBytes();
  while (true) {
    visit(at, length, stride);
    size_t d = outer;
    while (d > 0) {
      --d;
      at += view.strides[d] * bytes;
      if (++index[d] < view.shape[d])
        break;
      at -= view.strides[d] * view.shape[d] * bytes;
      index[d] = 0;
      if (d == 0)
        return;
    }
    if (outer == 0)
      return;
  }
}

template <typename Unit> static void gather(char *to, const char *from, int64_t length, int64_t stride) {
  for (int64_t i = 0; i < length; ++i)
    std::memcpy(to + i * sizeof(Unit), from + i * stride * sizeof(Unit), sizeof(Unit));
}

/// Copies a run to dense memory.
static void copyRun(char *to, const char *from, int64_t length, int64_t stride, int64_t bytes) {
  if (stride == 1)
    std::memcpy(to, from, length * bytes);
  else if (bytes == 8)
    gather<uint64_t>(to, from, length, stride);
  else if (bytes == 4)
    gather<uint32_t>(to, from, length, stride);
  else if (bytes == 2)
    gather<uint16_t>(to, from, length, stride);
  else
    gather<uint8_t>(to, from, length, stride);
}

void caat::copyDense(const TensorView &from, char *to) {
  int64_t bytes = from.elementBytes();
  // A transposed matrix goes in squares that stay in the cache.
  if (from.shape.size() == 2 && from.strides[0] == 1 && from.strides[1] != 1 && bytes == 4) {
    constexpr int64_t kSquare = 32;
    int64_t rows = from.shape[0], columns = from.shape[1];
    for (int64_t r = 0; r < rows; r += kSquare)
      for (int64_t c = 0; c < columns; c += kSquare)
        for (int64_t i = r; i < std::min(rows, r + kSquare); ++i)
          gather<uint32_t>(to + (i * columns + c) * bytes, from.data + (i + c * from.strides[1]) * bytes,
                           std::min(kSquare, columns - c), from.strides[1]);
    return;
  }
  forEachRun(from, [&](const char *first, int64_t length, int64_t stride) {
    copyRun(to, first, length, stride, bytes);
    to += length * bytes;
  });
}

void caat::writeDense(const TensorView &view, llvm::raw_ostream &os) {
  if (view.isDense()) {
    os.write(view.data, view.numElements() * view.elementBytes());
    return;
  }
  constexpr int64_t kChunkBytes = 4 << 20;
  int64_t rows = view.shape[0],
          rowBytes = std::max<int64_t>(1, view.numElements() * view.elementBytes() / std::max<int64_t>(1, rows));
  int64_t step = std::clamp<int64_t>(kChunkBytes / rowBytes / 32 * 32, 1, std::max<int64_t>(1, rows));
  std::vector<char> chunk;
  for (int64_t row = 0; row < rows; row += step) {
    TensorView part = view.slice(0, row, std::min(step, rows - row));
    chunk.resize(part.numElements() * part.elementBytes());
    copyDense(part, chunk.data());
    os.write(chunk.data(), chunk.size());
  }
}

void caat::copyInto(const TensorView &from, char *to, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> offsets) {
  // A view of the target with the source's shape, walked row by row in step with it.
  size_t rank = shape.size();
  int64_t bytes = from.elementBytes();
  if (rank == 0)
    return copyDense(from, to);
  llvm::SmallVector<int64_t> strides(rank, 1);
  for (size_t d = rank; d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  int64_t row = from.shape.back(), rows = row ? from.numElements() / row : 0;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t rest = r, target = offsets[rank - 1], source = 0;
    for (size_t d = rank - 1; d-- > 0;) {
      int64_t i = rest % from.shape[d];
      rest /= from.shape[d];
      target += (i + offsets[d]) * strides[d];
      source += i * from.strides[d];
    }
    copyRun(to + target * bytes, from.data + source * bytes, row, from.strides.back(), bytes);
  }
}
