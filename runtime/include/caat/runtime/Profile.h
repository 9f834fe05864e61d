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
  double communication = 0; // collectives and rotations, as far as this rank waited for them
  int64_t runs = 0;
  std::vector<CollectiveStats> collectives; // by the manifest's index
  std::vector<CollectiveStats> rotations;   // the same

  void reset() {
    size_t count = collectives.size(), turning = rotations.size();
    *this = Profile();
    collectives.resize(count);
    rotations.resize(turning);
  }
};

} // namespace caat::runtime

#endif
