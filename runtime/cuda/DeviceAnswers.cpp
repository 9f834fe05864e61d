// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the host is told of a run: which conditions did not hold, and the best logits. It is asked for while the device
// still works, and comes to pinned memory, so that waiting for the run is all that the host waits for.
#include "CudaDevice.h"

namespace caat::runtime::cuda {

bool CudaDevice::check(const void *condition, int64_t number) {
  if (!failed) {
    failed = context->allocatePinned(sizeof(unsigned));
    new (failed.get()) unsigned{0};
  }
  launchOwn("caat_check", 1,
            CheckArguments{static_cast<const unsigned char *>(condition), reinterpret_cast<unsigned *>(failed.get()),
                           static_cast<unsigned>(number) + 1});
  return true;
}

std::optional<int64_t> CudaDevice::failedCheck() const {
  unsigned first = failed ? *reinterpret_cast<const unsigned *>(failed.get()) : 0;
  return first ? std::optional(int64_t{first} - 1) : std::nullopt;
}

/// Memory that nobody else has: what was asked for before may not have been read yet.
std::shared_ptr<std::byte> CudaDevice::pinnedFor(size_t bytes) {
  for (const auto &[memory, size] : answers)
    if (size >= bytes && memory.use_count() == 1)
      return memory;
  return answers.emplace_back(context->allocatePinned(bytes), bytes).first;
}

AskedCandidates CudaDevice::askBest(const float *first, int64_t rows, int64_t pitch, std::span<const ShardRun> runs,
                                    int64_t count) {
  if (runs.size() > mostRuns || rows == 0)
    return Device::askBest(first, rows, pitch, runs, count);
  // In each part of each row, `count` of them.
  int64_t blocks = rows * bestParts;
  size_t total = static_cast<size_t>(blocks * count), bytes = total * sizeof(Candidate);
  static_assert(sizeof(BestCandidate) == sizeof(Candidate));
  std::byte *found = candidates.reserve(*this, bytes, "the best logits");
  BestArguments arguments{
      first, reinterpret_cast<BestCandidate *>(found), pitch, static_cast<long long>(runs.size()), {}};
  for (size_t i = 0; i < runs.size(); ++i)
    arguments.run[i] = {runs[i].global, runs[i].local, runs[i].length};
  if (count == 1)
    launchOwn("caat_best", blocks, arguments);
  else
    launchOwn("caat_top", blocks, TopArguments{arguments, static_cast<long long>(count)});
  std::shared_ptr<std::byte> answer = pinnedFor(bytes);
  driver().check(driver().cuMemcpyDtoHAsync_v2(answer.get(), addressOf(found), bytes, stream()), "the best logits");
  return [=] {
    const auto *all = reinterpret_cast<const Candidate *>(answer.get());
    std::vector<Candidate> result;
    for (const Candidate *row = all; row != all + total; row += bestParts * count) {
      std::vector<Candidate> best(row, row + bestParts * count);
      keepBest(best, static_cast<size_t>(count));
      result.insert(result.end(), best.begin(), best.end());
    }
    return result;
  };
}

} // namespace caat::runtime::cuda
