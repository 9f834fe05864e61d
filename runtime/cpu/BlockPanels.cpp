// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "BlockCodes.h"
#include "CpuDevice.h"
#include <algorithm>

namespace caat::runtime {

int64_t blockPanelBytes(const BlockFormat &format, int64_t k) {
  return k / format.size * (blockNumberBytes(format) + blockCodeBytes(format));
}

/// `size` bytes of each of a panel's columns, side by side; zeros where there is no column.
static void copyColumns(const std::byte *from, int64_t rowBytes, int64_t columns, int64_t size, std::byte *to) {
  for (int64_t c = 0; c < panelColumns; ++c, to += size)
    if (c < columns)
      std::memcpy(to, from + c * rowBytes, static_cast<size_t>(size));
    else
      std::memset(to, 0, static_cast<size_t>(size));
}

void packBlocks(const BlockFormat &format, const std::byte *rows, int64_t k, int64_t n, std::byte *to) {
  int64_t rowBytes = format.rowBytes(k), scale = format.scaleSize(), offset = format.offsetSize(), wordBytes = 4;
  for (int64_t first = 0; first < n; first += panelColumns, rows += panelColumns * rowBytes) {
    int64_t columns = std::min(panelColumns, n - first);
    const std::byte *codes = rows, *scales = rows + format.scalesAt(k), *offsets = rows + format.offsetsAt(k);
    auto copy = [&](const std::byte *from, int64_t size) {
      copyColumns(from, rowBytes, columns, size, to);
      to += panelColumns * size;
    };
    for (int64_t block = 0; block < k / format.size; ++block) {
      copy(scales + block * scale, scale);
      copy(offsets + block * offset, offset);
      for (int64_t end = (block + 1) * format.size * format.bits / 8, at = block * format.size * format.bits / 8;
           at < end; at += wordBytes)
        copy(codes + at, wordBytes);
    }
  }
}

namespace {

/// With constant `bits` and `isBf16Pairs`.
CAAT_INLINED void dequantizePanel(const Panels &panels, int64_t panel, const DensePanels &to, int64_t place, int bits,
                                  bool isBf16Pairs) {
  const BlockFormat &format = panels.format;
  const std::byte *at = panels.data + panel * blockPanelBytes(format, panels.k);
  int64_t numbers = blockNumberBytes(format), perWord = 32 / bits;
  auto *floats = static_cast<float *>(to.data) + place * to.panelStride;
  auto *pairs = static_cast<uint16_t *>(to.data) + place * to.panelStride;
  for (int64_t row = 0; row < panels.k; at += numbers + blockCodeBytes(format)) {
    Floats scale[panelVectors], offset[panelVectors];
    for (int v = 0; v < panelVectors; ++v) {
      readScales(format, at, v * lanes, scale[v], offset[v]);
      offset[v] -= scale[v] * static_cast<float>(1 << bits); // what readCodes() adds
    }
    const std::byte *codes = at + numbers;
    for (int64_t end = row + format.size; row < end; row += perWord, codes += panelColumns * 4)
#pragma unroll
      for (int v = 0; v < panelVectors; ++v) {
        Words words;
        __builtin_prefetch(codes + v * lanes * 4 + prefetchDistance);
        load(words, codes + v * lanes * 4);
#pragma unroll
        for (int c = 0; c < perWord; c += 2) {
          Floats even, odd;
          readCodes(even, words, bits, c);
          readCodes(odd, words, bits, c + 1);
          even = even * scale[v] + offset[v];
          odd = odd * scale[v] + offset[v];
          int64_t r = row + c;
          if (!isBf16Pairs) {
            store(floats + r * to.rowStride + v * lanes, even);
            store(floats + (r + 1) * to.rowStride + v * lanes, odd);
          } else { // rounded to nearest, ties to even; values are finite
            auto below = __builtin_bit_cast(Words, even), above = __builtin_bit_cast(Words, odd);
            below = (below + 0x7fff + (below >> 16 & 1)) >> 16;
            above = (above + 0x7fff + (above >> 16 & 1)) & 0xffff0000;
            store(pairs + r / 2 * to.rowStride + 2 * v * lanes, below | above);
          }
        }
      }
  }
  constexpr int64_t filledUpTo = 32; // rows of pairs
  for (int64_t row = panels.k; isBf16Pairs && row % filledUpTo != 0; row += 2)
    std::memset(pairs + row / 2 * to.rowStride, 0, panelColumns * 4);
}

struct Dequantization {
  const Panels &panels;
  int64_t first;
  const DensePanels &to;
};

CAAT_WIDEST void dequantizePanels(int64_t begin, int64_t end, void *const *buffers, const int64_t *) {
  const auto &d = *static_cast<const Dequantization *>(buffers[0]);
  bool isFour = d.panels.format.bits == 4;
  for (int64_t i = begin; i < end; ++i)
    if (d.to.isBf16Pairs)
      isFour ? dequantizePanel(d.panels, d.first + i, d.to, i, 4, true)
             : dequantizePanel(d.panels, d.first + i, d.to, i, 8, true);
    else
      isFour ? dequantizePanel(d.panels, d.first + i, d.to, i, 4, false)
             : dequantizePanel(d.panels, d.first + i, d.to, i, 8, false);
}

} // namespace

void dequantize(const Panels &panels, int64_t first, int64_t count, const DensePanels &to, int threads) {
  Dequantization job{panels, first, to};
  void *buffers[] = {&job};
  runKernel(dequantizePanels, count, buffers, nullptr, threads);
}

} // namespace caat::runtime
