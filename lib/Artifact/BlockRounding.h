// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rounding of matrices to codes of few bits in blocks.
#ifndef CAAT_LIB_ARTIFACT_BLOCKROUNDING_H
#define CAAT_LIB_ARTIFACT_BLOCKROUNDING_H

#include <cstdint>
#include <vector>

namespace caat {

/// Blocks one behind the other: their codes, one to a byte, and numbers that f16 holds.
struct RoundedBlocks {
  std::vector<uint8_t> codes;
  std::vector<float> scales, minima; // minima: of 4 bits alone
  bool isFinite = true;              // no element was NaN or infinite
  bool fits = true;                  // and none too large for scales and minima of f16
};

/// `count` blocks of `size` elements, 16 or 32: code * scale + minimum with codes of 4 bits. Scale and minimum are
/// those of a few candidates, each refined by least squares and rounded to f16 before codes are chosen, that leave the
/// least squared error. Blocks that lie on such a grid keep their values; zeros at either end of a block (padding) stay
/// zeros.
void roundToFourBits(const float *x, int64_t count, int64_t size, RoundedBlocks &to);

/// The same for (code - 128) * scale with codes of 8 bits.
void roundToEightBits(const float *x, int64_t count, int64_t size, RoundedBlocks &to);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_BLOCKROUNDING_H
