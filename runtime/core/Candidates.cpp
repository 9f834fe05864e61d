// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Device.h"
#include <algorithm>
#include <cmath>

namespace caat::runtime {

Candidate better(const Candidate &a, const Candidate &b) {
  Candidate result = b.logit > a.logit || (b.logit == a.logit && b.token < a.token) ? b : a;
  result.notFinite = a.notFinite | b.notFinite;
  return result;
}

static Candidate bestOfRow(const float *row, std::span<const ShardRun> runs) {
  Candidate result = noCandidate;
  for (const ShardRun &run : runs) {
    const float *x = row + run.local;
    int64_t length = run.length;
    if (length == 0)
      continue;
    // Two loops that vectorize: the maximum, then its first place.
    float maximum = x[0];
    int32_t strange = 0;
    for (int64_t i = 0; i < length; ++i) {
      maximum = x[i] > maximum ? x[i] : maximum;
      strange |= !(x[i] < INFINITY); // NaN too
    }
    int64_t first = std::find(x, x + length, maximum) - x;
    result = better(result, {maximum, strange, run.global + first});
  }
  return result;
}

std::vector<Candidate> Device::best(const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs) {
  std::vector<Candidate> result;
  int64_t width = 0;
  for (const ShardRun &run : runs)
    width = std::max(width, run.local + run.length);
  for (int64_t row = 0; row < rows; ++row) {
    Tensor there = Tensor::view(DType::F32, {width}, const_cast<float *>(first + row * pitch));
    result.push_back(bestOfRow(onHost(*this, there).as<float>(), runs));
  }
  return result;
}

} // namespace caat::runtime
