// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A barrier of threads that spins for short waits, sleeps for long ones, gives up after a timeout and can be aborted.
#ifndef CAAT_RUNTIME_COMM_THREADS_BARRIER_H
#define CAAT_RUNTIME_COMM_THREADS_BARRIER_H

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace caat::runtime {

class Barrier {
public:
  enum class Result { Passed, TimedOut, Aborted };

  Barrier(int size, int spin, std::chrono::milliseconds timeout);

  /// Rank `rank` arrives for the `round`-th time (from 1) and waits for the others to have done so.
  Result wait(int rank, uint32_t round);
  /// The ranks that have not arrived for `round`.
  std::vector<int> late(uint32_t round) const;

  /// Wakes everybody; the first reason is kept.
  void abort(const std::string &reason);
  bool aborted() const { return abortFlag.load(std::memory_order_acquire); }
  std::string reason() const;
  void reset();

private:
  struct alignas(128) Counter {
    std::atomic<uint32_t> value{0};
  };
  using Clock = std::chrono::steady_clock;
  Result waitFor(std::atomic<uint32_t> &counter, uint32_t round, Clock::time_point &deadline);

  int size, spin;
  std::chrono::milliseconds timeout;
  std::unique_ptr<Counter[]> arrived;
  alignas(128) std::atomic<int> sleepers{0};
  std::atomic<bool> abortFlag{false};
  mutable std::mutex reasonMutex;
  std::string reasonText;
};

} // namespace caat::runtime

#endif
