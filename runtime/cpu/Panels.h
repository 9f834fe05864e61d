// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights as panels of 64 columns, one row of a panel after the other, and products of few rows with them, which read
// each weight once and are limited by memory.
#ifndef CAAT_RUNTIME_CPU_PANELS_H
#define CAAT_RUNTIME_CPU_PANELS_H

#include "caat/runtime/Blocks.h"

namespace caat::runtime {

constexpr int64_t panelColumns = 64;
constexpr int64_t panelsOf(int64_t columns) { return (columns + panelColumns - 1) / panelColumns; }

/// A matrix [k, n] in panels; columns behind the last are zeros.
struct Panels {
  enum class Kind {
    F32,       // oneDNN's BA16a64b
    BF16Pairs, // oneDNN's BA16a64b2a: two rows' elements side by side
    Blocks,    // see blockPanelBytes()
  };
  Kind kind;
  int64_t k, n;
  BlockFormat format = {}; // of blocks
  const std::byte *data;
};

/// Products of up to so many rows are faster here than oneDNN's (which has AMX for bf16).
constexpr int64_t fewRows(Panels::Kind kind) { return kind == Panels::Kind::BF16Pairs ? 4 : 8; }

/// Of a panel that is no Blocks.
int64_t densePanelBytes(const Panels &panels);

/// y[m, n] = x[m, k] * W, or y + x * W, over `threads` threads. x has rows of `xStride` elements, for pairs of bf16 of
/// an even number: an odd k is followed by 0.
void multiplyFewRows(const Panels &panels, const float *x, int64_t m, int64_t xStride, float *y, bool accumulate,
                     int threads);

// Panels of blocks: of each block of a panel the 64 columns' scales, their offsets, and their codes in words of 32 bits
// (8 or 4 rows of a column), 64 words of the columns side by side.

int64_t blockPanelBytes(const BlockFormat &format, int64_t k);
/// From rows as the file has them, [n, rowBytes], to panelsOf(n) panels.
void packBlocks(const BlockFormat &format, const std::byte *rows, int64_t k, int64_t n, std::byte *to);

/// Where dequantized panels go: element (row, column c of panel p) is at [row * rowStride + p * panelStride + c], for
/// pairs of bf16 at [row / 2 * rowStride + p * panelStride + 2 * c + row % 2].
struct DensePanels {
  void *data;
  bool isBf16Pairs;
  int64_t rowStride, panelStride;
};
/// The values of `count` panels from `first` on, over `threads` threads.
void dequantize(const Panels &panels, int64_t first, int64_t count, const DensePanels &to, int threads);

} // namespace caat::runtime

#endif
