// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parts of whole arrays.
#include "Rank.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>

namespace caat::runtime {

std::vector<ShardRun> heldRuns(const ShardSpec &shard, int rank) {
  std::vector<ShardRun> runs;
  int64_t local = 0;
  for (auto [start, length] : shard.pieces[static_cast<size_t>(rank)]) {
    if (start >= 0)
      runs.push_back({start, local, length});
    local += length;
  }
  return runs;
}

std::vector<ShardRun> ownedRuns(const ShardSpec &shard, int rank) {
  std::vector<ShardRun> runs = heldRuns(shard, rank);
  for (int lower = 0; lower < rank; ++lower)
    for (auto [start, length] : shard.pieces[static_cast<size_t>(lower)]) {
      if (start < 0)
        continue;
      std::vector<ShardRun> rest;
      for (const ShardRun &run : runs) {
        int64_t end = run.global + run.length, cutBegin = std::clamp(start, run.global, end),
                cutEnd = std::clamp(start + length, run.global, end);
        if (cutBegin > run.global)
          rest.push_back({run.global, run.local, cutBegin - run.global});
        if (cutEnd < end)
          rest.push_back({cutEnd, run.local + (cutEnd - run.global), end - cutEnd});
      }
      runs = std::move(rest);
    }
  return runs;
}

void copyBox(Tensor &to, const Shape &toStart, const Tensor &from, const Shape &fromStart, const Shape &extent) {
  size_t rank = extent.size(), size = sizeOf(to.dtype);
  for (size_t d = 0; d < rank; ++d)
    if (toStart[d] < 0 || fromStart[d] < 0 || toStart[d] + extent[d] > to.shape[d] ||
        fromStart[d] + extent[d] > from.shape[d])
      failRun("internal: a part ", toString(extent), " at ", toString(fromStart), " of ", toString(from.shape),
              " does not fit at ", toString(toStart), " of ", toString(to.shape));
  if (std::find(extent.begin(), extent.end(), 0) != extent.end())
    return;
  // Dimensions that are whole in both arrays are copied at once.
  size_t outer = rank, run = size;
  while (outer > 0) {
    --outer;
    run *= static_cast<size_t>(extent[outer]);
    if (extent[outer] != to.shape[outer] || extent[outer] != from.shape[outer])
      break;
  }
  Shape index(rank, 0);
  while (true) {
    size_t toOffset = 0, fromOffset = 0;
    for (size_t d = 0; d < rank; ++d) {
      toOffset = toOffset * static_cast<size_t>(to.shape[d]) + static_cast<size_t>(toStart[d] + index[d]);
      fromOffset = fromOffset * static_cast<size_t>(from.shape[d]) + static_cast<size_t>(fromStart[d] + index[d]);
    }
    std::memcpy(to.data.get() + toOffset * size, from.data.get() + fromOffset * size, run);
    size_t d = outer;
    while (d > 0 && ++index[d - 1] == extent[d - 1])
      index[--d] = 0;
    if (d == 0)
      return;
  }
}

} // namespace caat::runtime
