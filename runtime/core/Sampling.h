// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How a token is drawn from the best of a row of logits.
#ifndef CAAT_RUNTIME_CORE_SAMPLING_H
#define CAAT_RUNTIME_CORE_SAMPLING_H

#include "caat/runtime/Device.h"
#include "caat/runtime/Tasks.h"

namespace caat::runtime {

/// A number in [0, 1) that the seed, the row and the position give, and nothing else.
double uniform(uint64_t seed, int64_t row, int64_t position);

/// The token at `place`, in [0, 1), of the probabilities that `sampling` leaves. `best` are finite logits, or minus
/// infinity behind the first, from the best on; at least one.
int64_t draw(std::span<const Candidate> best, const Sampling &sampling, double place);

} // namespace caat::runtime

#endif
