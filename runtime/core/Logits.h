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

/// exp for x <= 0 to about 1e-15 relative, in a form that vectorizes; 0 below -700.
double expOfNegative(double x);

} // namespace caat::runtime

#endif
