// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reductions over one row of logits.
#ifndef CAAT_RUNTIME_CORE_LOGITS_H
#define CAAT_RUNTIME_CORE_LOGITS_H

#include "Rank.h"

namespace caat::runtime {

/// max, and the sum of exp(x - max) in double; the parts of several ranks are joined with add().
struct LogSumExp {
  double max, sum; // -infinity and 0 for no element
  void add(const LogSumExp &other);
  double value() const;
};
LogSumExp logSumExp(const float *x, int64_t count);

/// The last position of each row of logits that a rank has a part of.
struct LastPositions {
  int64_t row, rows;  // the first one's number in the batch, and how many
  const float *first; // in the device's memory
  int64_t pitch;      // elements from one row's to the next one's
};
/// Of a part of output `output`, after a run of `batch` rows. Throws Error (Input) where that has no such positions.
LastPositions lastPositions(const Rank &rank, const Manifest &manifest, size_t output, const Rank::Part &part,
                            int64_t batch);

/// exp for x <= 0 to about 1e-15 relative, in a form that vectorizes; 0 below -700.
double expOfNegative(double x);

} // namespace caat::runtime

#endif
