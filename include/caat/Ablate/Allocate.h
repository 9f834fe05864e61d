// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bits of every channel of a site, by rate and distortion.
#ifndef CAAT_ABLATE_ALLOCATE_H
#define CAAT_ABLATE_ALLOCATE_H

#include <cstdint>
#include <vector>

namespace caat::ablate {

/// By channel, over tokens and summed over the ranks.
struct ChannelFacts {
  int64_t ranks = 2;
  std::vector<double> magnitude; // mean squares of what is rounded
  std::vector<double> waiting;   // mean squares of what readers lack where the channel waits for a later site
  std::vector<double> weight;    // of an error there in what reads the stream
};

/// What each channel of a site gets: those of `shared` travel, in this order, the first `exact` of them whole and the
/// others in `bits` bits; the rest waits.
struct Allocation {
  int64_t bits = 0, exact = 0, block = 32;
  std::vector<int64_t> shared;
  double distortion = 0; // the weighted error that is expected
};

/// The division of `rate` bits a channel on average, scales included and an exact channel counted as 16 bits, of least
/// expected distortion. A channel's rounding error follows from the size of those that share its scale; which channels
/// wait, from what each loses that way beside what it loses by rounding.
Allocation allocate(const ChannelFacts &facts, double rate);

} // namespace caat::ablate

#endif
