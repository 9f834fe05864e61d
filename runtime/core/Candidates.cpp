// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Device.h"
#include <algorithm>
#include <cmath>
#include <utility>

namespace caat::runtime {

bool isBefore(const Candidate &a, const Candidate &b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

Candidate better(const Candidate &a, const Candidate &b) {
  Candidate result = isBefore(b, a) ? b : a;
  result.notFinite = a.notFinite | b.notFinite;
  return result;
}

void keepBest(std::vector<Candidate> &candidates, size_t count) {
  int32_t notFinite = 0;
  for (Candidate &candidate : candidates)
    notFinite |= std::exchange(candidate.notFinite, 0);
  auto end = candidates.begin() + static_cast<std::ptrdiff_t>(std::min(count, candidates.size()));
  std::partial_sort(candidates.begin(), end, candidates.end(), isBefore);
  candidates.erase(end, candidates.end());
  if (!candidates.empty())
    candidates.front().notFinite = notFinite;
}

/// Of one row, the best `count` in no order: a heap whose front is the worst.
static void topOfRow(const float *row, std::span<const ShardRun> runs, std::span<Candidate> kept) {
  int32_t strange = 0;
  std::fill(kept.begin(), kept.end(), noCandidate);
  for (const ShardRun &run : runs)
    for (int64_t i = 0; i < run.length; ++i) {
      Candidate here{row[run.local + i], 0, run.global + i};
      strange |= !(here.logit < INFINITY); // NaN too
      if (!isBefore(here, kept.front()))
        continue;
      std::pop_heap(kept.begin(), kept.end(), isBefore);
      kept.back() = here;
      std::push_heap(kept.begin(), kept.end(), isBefore);
    }
  std::sort(kept.begin(), kept.end(), isBefore);
  kept.front().notFinite = strange;
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

/// Calls `use` with each row in the host's memory.
static void forEachRow(Device &device, const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs,
                       auto use) {
  int64_t width = 0;
  for (const ShardRun &run : runs)
    width = std::max(width, run.local + run.length);
  for (int64_t row = 0; row < rows; ++row) {
    Tensor there = Tensor::view(DType::F32, {width}, const_cast<float *>(first + row * pitch));
    use(row, onHost(device, there).as<float>());
  }
}

AskedCandidates Device::askBest(const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs,
                                int64_t count) {
  return [=, this, runs = std::vector(runs.begin(), runs.end())] {
    std::vector<Candidate> result(static_cast<size_t>(rows * count));
    forEachRow(*this, first, rows, pitch, runs, [&](int64_t row, const float *x) {
      std::span found(result.data() + row * count, static_cast<size_t>(count));
      if (count == 1)
        found.front() = bestOfRow(x, runs);
      else
        topOfRow(x, runs, found);
    });
    return result;
  };
}

} // namespace caat::runtime
