// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// bfloat16 as its bits. Written so that compilers vectorize loops over it.
#ifndef CAAT_RUNTIME_BF16_H
#define CAAT_RUNTIME_BF16_H

#include <bit>
#include <cstdint>

namespace caat::runtime {

inline float bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// Round to nearest, ties to even; NaN stays NaN.
inline uint16_t floatToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(value != value ? (bits >> 16) | 0x40 : rounded);
}

} // namespace caat::runtime

#endif
