// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Sampling.h"
#include "caat/runtime/Error.h"
#include <cmath>

namespace caat::runtime {

void Sampling::check() const {
  if (!(temperature > 0 && temperature < INFINITY))
    failInput("temperature: ", temperature, " is not a finite number above 0");
  if (topK < 1 || topK > mostTopK)
    failInput("top-k: ", topK, " is not from 1 to ", mostTopK);
  if (!(topP > 0 && topP <= 1))
    failInput("top-p: ", topP, " is not above 0 and at most 1");
}

/// SplitMix64's step and finaliser (Steele, Lea and Flood 2014).
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

double uniform(uint64_t seed, int64_t row, int64_t position) {
  uint64_t bits = mix(mix(mix(seed) + static_cast<uint64_t>(row)) + static_cast<uint64_t>(position));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int64_t draw(std::span<const Candidate> best, const Sampling &sampling, double place) {
  std::vector<double> upTo; // probabilities, not yet divided by their sum, each with those before it
  double all = 0;
  for (const Candidate &candidate : best.first(std::min(best.size(), static_cast<size_t>(sampling.topK)))) {
    all += std::exp((static_cast<double>(candidate.logit) - best.front().logit) / sampling.temperature);
    upTo.push_back(all);
  }
  size_t kept = 1;
  while (kept < upTo.size() && upTo[kept - 1] < sampling.topP * all)
    ++kept;
  size_t drawn = 0;
  while (drawn + 1 < kept && upTo[drawn] <= place * upTo[kept - 1])
    ++drawn;
  return best[drawn].token;
}

} // namespace caat::runtime
