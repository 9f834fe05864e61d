// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Each panel is read once for up to 4 rows of x: their sums, 4 rows times 4 vectors of columns, are half of AVX-512's
// registers.
#include "BlockCodes.h"
#include "CpuDevice.h"
#include <algorithm>
#include <vector>

namespace caat::runtime {

namespace {

constexpr int64_t rowsAtOnce = 4;
using Sums = Floats[rowsAtOnce][panelVectors];

struct Product {
  const Panels &panels;
  const float *x;
  int64_t m, xStride; // between rows
  const float *sums;  // panels of blocks: of a row's elements that meet a block, by row and block
  float *y;
  bool accumulate;
};

// What follows is inlined with constants for `rows` and `bits`.

CAAT_INLINED void addF32(const Product &p, const std::byte *w, const float *x, int rows, Sums &sums) {
  for (int64_t i = 0; i < p.panels.k; ++i, w += panelColumns * 4)
#pragma unroll
    for (int v = 0; v < panelVectors; ++v) {
      Floats weights;
      __builtin_prefetch(w + v * lanes * 4 + prefetchDistance);
      load(weights, w + v * lanes * 4);
#pragma unroll
      for (int r = 0; r < rows; ++r)
        sums[r][v] += weights * x[r * p.xStride + i];
    }
}

/// A word has an even row's weight below and an odd row's above. Behind the last row of an odd number are zeros.
CAAT_INLINED void addBf16(const Product &p, const std::byte *w, const float *x, int rows, Sums &sums) {
  for (int64_t i = 0; i < p.panels.k; i += 2, w += panelColumns * 4)
#pragma unroll
    for (int v = 0; v < panelVectors; ++v) {
      Words pairs;
      __builtin_prefetch(w + v * lanes * 4 + prefetchDistance);
      load(pairs, w + v * lanes * 4);
      Floats even = __builtin_bit_cast(Floats, pairs << 16), odd = __builtin_bit_cast(Floats, pairs & 0xffff0000);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        sums[r][v] += even * x[r * p.xStride + i];
        sums[r][v] += odd * x[r * p.xStride + i + 1];
      }
    }
}

/// The codes times x first, then once for a block the scale and, with the sum of x, the offset.
CAAT_INLINED void addBlocks(const Product &p, const std::byte *w, const float *x, const float *xSums, int bits,
                            int rows, Sums &sums) {
  const BlockFormat &format = p.panels.format;
  int64_t blocks = p.panels.k / format.size, numberBytes = blockNumberBytes(format);
  int perWord = 32 / bits;
  for (int64_t block = 0; block < blocks; ++block) {
    const std::byte *numbers = w;
    w += numberBytes;
    Sums partial = {};
    for (int64_t i = block * format.size; i < (block + 1) * format.size; i += perWord, w += panelColumns * 4)
#pragma unroll
      for (int v = 0; v < panelVectors; ++v) {
        Words words;
        __builtin_prefetch(w + v * lanes * 4 + prefetchDistance);
        load(words, w + v * lanes * 4);
#pragma unroll
        for (int c = 0; c < perWord; ++c) {
          Floats codes;
          readCodes(codes, words, bits, c);
#pragma unroll
          for (int r = 0; r < rows; ++r)
            partial[r][v] += codes * x[r * p.xStride + i + c];
        }
      }
#pragma unroll
    for (int v = 0; v < panelVectors; ++v) {
      Floats scale, offset;
      readScales(format, numbers, v * lanes, scale, offset);
      offset -= scale * static_cast<float>(1 << bits); // what readCodes() adds
#pragma unroll
      for (int r = 0; r < rows; ++r)
        sums[r][v] += partial[r][v] * scale + offset * xSums[r * blocks + block];
    }
  }
}

CAAT_INLINED void multiplyPanel(const Product &p, int64_t panel, int64_t row, int rows) {
  const Panels &w = p.panels;
  const float *x = p.x + row * p.xStride;
  Sums sums = {};
  if (w.kind == Panels::Kind::Blocks) {
    const std::byte *data = w.data + panel * blockPanelBytes(w.format, w.k);
    const float *xSums = p.sums + row * (w.k / w.format.size);
    if (w.format.bits == 4)
      addBlocks(p, data, x, xSums, 4, rows, sums);
    else
      addBlocks(p, data, x, xSums, 8, rows, sums);
  } else if (w.kind == Panels::Kind::F32) {
    addF32(p, w.data + panel * densePanelBytes(w), x, rows, sums);
  } else {
    addBf16(p, w.data + panel * densePanelBytes(w), x, rows, sums);
  }
  int64_t columns = std::min(panelColumns, w.n - panel * panelColumns);
  for (int r = 0; r < rows; ++r) {
    float *y = p.y + (row + r) * w.n + panel * panelColumns, values[panelColumns];
    std::memcpy(values, sums[r], sizeof(values));
    for (int64_t c = 0; c < columns; ++c)
      y[c] = p.accumulate ? y[c] + values[c] : values[c];
  }
}

CAAT_WIDEST void multiplyPanels(int64_t begin, int64_t end, void *const *buffers, const int64_t *) {
  const auto &p = *static_cast<const Product *>(buffers[0]);
  for (int64_t panel = begin; panel < end; ++panel)
    for (int64_t row = 0; row < p.m; row += rowsAtOnce)
      switch (std::min(rowsAtOnce, p.m - row)) {
      case 1:
        multiplyPanel(p, panel, row, 1);
        break;
      case 2:
        multiplyPanel(p, panel, row, 2);
        break;
      case 3:
        multiplyPanel(p, panel, row, 3);
        break;
      default:
        multiplyPanel(p, panel, row, 4);
      }
}

/// The sum of each `size` elements, a multiple of the lanes.
CAAT_WIDEST void sumBlocksOf(const float *x, int64_t count, int64_t size, float *sums) {
  for (int64_t block = 0; block < count / size; ++block, x += size) {
    Floats parts = {};
    for (int64_t i = 0; i < size; i += lanes) {
      Floats values;
      load(values, x + i);
      parts += values;
    }
    float sum = 0;
    for (int lane = 0; lane < lanes; ++lane)
      sum += parts[lane];
    sums[block] = sum;
  }
}

} // namespace

int64_t densePanelBytes(const Panels &panels) {
  int64_t step = panels.kind == Panels::Kind::F32 ? 16 : 32; // oneDNN fills up to these
  return (panels.k + step - 1) / step * step * panelColumns * (panels.kind == Panels::Kind::F32 ? 4 : 2);
}

void multiplyFewRows(const Panels &panels, const float *x, int64_t m, int64_t xStride, float *y, bool accumulate,
                     int threads) {
  static thread_local std::vector<float> sums;
  if (panels.kind == Panels::Kind::Blocks) {
    int64_t blocks = panels.k / panels.format.size;
    sums.resize(static_cast<size_t>(m * blocks));
    for (int64_t row = 0; row < m; ++row)
      sumBlocksOf(x + row * xStride, panels.k, panels.format.size, sums.data() + row * blocks);
  }
  Product product{panels, x, m, xStride, sums.data(), y, accumulate};
  void *buffers[] = {&product};
  runKernel(multiplyPanels, panelsOf(panels.n), buffers, nullptr, threads);
}

} // namespace caat::runtime
