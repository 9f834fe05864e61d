// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Barrier.h"
#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace caat::runtime {

namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the kernel waits on the counter's word");
constexpr std::chrono::milliseconds maxSleep{100}; // then the timeout and the abort flag are looked at again

void futexWait(std::atomic<uint32_t> &word, uint32_t expected, std::chrono::nanoseconds time) {
  timespec limit{time.count() / 1'000'000'000, time.count() % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &limit, nullptr, 0);
}

void futexWakeAll(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Counters wrap round; a rank is never more than one round ahead.
bool reached(uint32_t value, uint32_t round) { return static_cast<int32_t>(value - round) >= 0; }

} // namespace

Barrier::Barrier(int size, int spin, std::chrono::milliseconds timeout)
    : size(size), spin(spin), timeout(timeout), arrived(new Counter[static_cast<size_t>(size)]) {}

Barrier::Result Barrier::wait(int rank, uint32_t round) {
  // Sequentially consistent with `sleepers`: either the sleeper sees the new value or we see the sleeper.
  arrived[rank].value.store(round, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) > 0)
    futexWakeAll(arrived[rank].value);
  Clock::time_point deadline{};
  for (int other = 0; other < size; ++other) {
    Result result = waitFor(arrived[other].value, round, deadline);
    if (result != Result::Passed)
      return result;
  }
  return aborted() ? Result::Aborted : Result::Passed;
}

Barrier::Result Barrier::waitFor(std::atomic<uint32_t> &counter, uint32_t round, Clock::time_point &deadline) {
  for (int turn = 0; turn < spin; ++turn) {
    if (reached(counter.load(std::memory_order_acquire), round))
      return Result::Passed;
    relax();
  }
  uint32_t seen;
  while (!reached(seen = counter.load(std::memory_order_acquire), round)) {
    if (aborted())
      return Result::Aborted;
    Clock::time_point now = Clock::now();
    if (deadline == Clock::time_point{})
      deadline = now + timeout;
    if (now >= deadline)
      return Result::TimedOut;
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    if (counter.load(std::memory_order_seq_cst) == seen && !aborted())
      futexWait(counter, seen, std::min<std::chrono::nanoseconds>(deadline - now, maxSleep));
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }
  return Result::Passed;
}

std::vector<int> Barrier::late(uint32_t round) const {
  std::vector<int> ranks;
  for (int rank = 0; rank < size; ++rank)
    if (!reached(arrived[rank].value.load(std::memory_order_acquire), round))
      ranks.push_back(rank);
  return ranks;
}

void Barrier::abort(const std::string &reason) {
  {
    std::lock_guard lock(reasonMutex);
    if (abortFlag.load(std::memory_order_relaxed))
      return;
    reasonText = reason;
    abortFlag.store(true, std::memory_order_seq_cst);
  }
  for (int rank = 0; rank < size; ++rank)
    futexWakeAll(arrived[rank].value);
}

std::string Barrier::reason() const {
  std::lock_guard lock(reasonMutex);
  return reasonText;
}

void Barrier::reset() {
  for (int rank = 0; rank < size; ++rank)
    arrived[rank].value.store(0);
  std::lock_guard lock(reasonMutex);
  reasonText.clear();
  abortFlag.store(false);
}

} // namespace caat::runtime
