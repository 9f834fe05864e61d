// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where a rank's time goes.
#ifndef CAAT_RUNTIME_PROFILE_H
#define CAAT_RUNTIME_PROFILE_H

#include "caat/runtime/Communicator.h"

namespace caat::runtime {

/// Seconds since the last reset. What caat_forward spends outside the four is total minus their sum.
struct Profile {
  double total = 0;         // in caat_forward
  double linear = 0;        // products with weights
  double matmul = 0;        // products of activations
  double kernels = 0;       // generated kernels and copies
  double communication = 0; // collectives, waiting included
  int64_t runs = 0;
  std::vector<CollectiveStats> collectives; // by the manifest's index

  void reset() {
    size_t count = collectives.size();
    *this = Profile();
    collectives.resize(count);
  }
};

} // namespace caat::runtime

#endif
