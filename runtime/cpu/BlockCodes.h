// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How a panel of blocks lies in memory, and its numbers as vectors.
#ifndef CAAT_RUNTIME_CPU_BLOCKCODES_H
#define CAAT_RUNTIME_CPU_BLOCKCODES_H

#include "Panels.h"
#include "Vectors.h"

namespace caat::runtime {

constexpr int panelVectors = panelColumns / lanes;

/// Of a block's scales and offsets, which lie before its codes.
inline int64_t blockNumberBytes(const BlockFormat &format) {
  return panelColumns * (format.scaleSize() + format.offsetSize());
}
inline int64_t blockCodeBytes(const BlockFormat &format) { return panelColumns * format.size * format.bits / 8; }

CAAT_INLINED void readNumbers(Floats &to, const std::byte *numbers, int64_t at, bool half) {
  if (!half)
    return load(to, numbers + at * 4);
  Halves narrow;
  load(narrow, numbers + at * 2);
  to = __builtin_convertvector(narrow, Floats);
}

/// Scales and offsets of a block's columns from `column` on: value = code * scale + offset.
CAAT_INLINED void readScales(const BlockFormat &format, const std::byte *block, int64_t column, Floats &scale,
                             Floats &offset) {
  bool half = format.scales == DType::F16;
  const std::byte *offsets = block + panelColumns * format.scaleSize();
  readNumbers(scale, block, column, half);
  switch (format.offset) {
  case BlockOffset::Middle:
    offset = scale * -static_cast<float>(1 << (format.bits - 1));
    break;
  case BlockOffset::Zeros: {
    Bytes zeros;
    load(zeros, offsets + column);
    offset = -scale * __builtin_convertvector(zeros, Floats);
    break;
  }
  case BlockOffset::Minimum:
    readNumbers(offset, offsets, column, half);
    break;
  }
}

/// 2^bits + the code `number` of each word, which becomes the highest bits of a float's mantissa. With constants this
/// is a shift and one operation of logic.
CAAT_INLINED void readCodes(Floats &to, const Words &words, int bits, int number) {
  constexpr int mantissa = 23, bias = 127;
  int shift = mantissa - bits - number * bits;
  uint32_t mask = ((1u << bits) - 1) << (mantissa - bits), exponent = static_cast<uint32_t>(bias + bits) << mantissa;
  Words moved = shift >= 0 ? words << static_cast<uint32_t>(shift) : words >> static_cast<uint32_t>(-shift);
  to = __builtin_bit_cast(Floats, (moved & mask) | exponent);
}

} // namespace caat::runtime

#endif
