// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "BlockRows.h"
#include <cstring>

using namespace caat;

BlockRows::BlockRows(rt::BlocksAttr blocks, int64_t k)
    : bits(blocks.getBits()), halves(blocks.getScales().isF16()), k(k), numBlocks(k / blocks.getSize()),
      scalesAt(k * bits / 8), offsetsAt(scalesAt + numBlocks * (halves ? 2 : 4)),
      offsetBytes(blocks.getOffset() == rt::BlockOffset::Middle  ? 0
                  : blocks.getOffset() == rt::BlockOffset::Zeros ? 1
                  : halves                                       ? 2
                                                                 : 4) {}

/// Little endian, at any address.
static void writeNumbers(const float *numbers, int64_t count, bool halves, char *to) {
  if (!halves) {
    std::memcpy(to, numbers, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    auto half = static_cast<_Float16>(numbers[i]);
    std::memcpy(to + i * static_cast<int64_t>(sizeof half), &half, sizeof half);
  }
}

void BlockRows::write(const uint8_t *codes, const float *scales, const uint8_t *zeros, const float *minima,
                      char *row) const {
  if (bits == 8)
    std::memcpy(row, codes, k);
  else
    for (int64_t i = 0; i < k / 2; ++i)
      row[i] = static_cast<char>(codes[2 * i] | codes[2 * i + 1] << 4);
  writeNumbers(scales, numBlocks, halves, row + scalesAt);
  if (offsetBytes == 1)
    std::memcpy(row + offsetsAt, zeros, numBlocks);
  else if (offsetBytes > 1)
    writeNumbers(minima, numBlocks, halves, row + offsetsAt);
}
