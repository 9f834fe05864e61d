// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_BLOCKROWS_H
#define CAAT_LIB_ARTIFACT_BLOCKROWS_H

#include "dialects/rt/RT.h"

namespace caat {

/// Writes rows of `k` elements in the form of rt.weight: codes (of 4 bits the lower ones first), scales, offsets.
class BlockRows {
public:
  BlockRows(rt::BlocksAttr blocks, int64_t k);

  int64_t rowBytes() const { return offsetsAt + offsetBytes * numBlocks; }
  /// `codes`, one to a byte, and for each block a scale and, where the form has them, a zero point or a minimum.
  void write(const uint8_t *codes, const float *scales, const uint8_t *zeros, const float *minima, char *row) const;

private:
  unsigned bits;
  bool halves;
  int64_t k, numBlocks, scalesAt, offsetsAt, offsetBytes;
};

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_BLOCKROWS_H
