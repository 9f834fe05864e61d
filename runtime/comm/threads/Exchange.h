// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Transfers that run beside the ranks' own work: one thread per rank copies what the rank before has offered.
#ifndef CAAT_RUNTIME_COMM_THREADS_EXCHANGE_H
#define CAAT_RUNTIME_COMM_THREADS_EXCHANGE_H

#include "caat/runtime/Communicator.h"
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace caat::runtime {

/// Waits until `seconds` after `begin`, or until `stop` says so.
void waitUntil(std::chrono::steady_clock::time_point begin, double seconds, const std::function<bool()> &stop);

class Exchange {
public:
  enum class Result { Done, TimedOut, Aborted, Disagree };

  Exchange(int size, Link link, std::function<bool()> aborted);
  ~Exchange();

  void start(int rank, const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift);
  /// Waits for what `rank` receives and for who receives from it. `other` becomes the rank that it waits for.
  Result finish(int rank, std::chrono::milliseconds timeout, int &other);
  /// Forgets everything. All ranks are idle.
  void reset();

private:
  struct Seat {
    CollectiveCall call;
    const std::byte *in = nullptr;
    std::byte *out = nullptr;
    size_t bytes = 0;
    int from = 0, to = 0;
    uint64_t started = 0, received = 0, sent = 0; // transfers so far
    bool copying = false, disagrees = false;
    std::thread thread; // made at the first start
  };
  void serve(Seat &seat);

  Link link;
  std::function<bool()> aborted;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Seat> seats;
  bool stopping = false;
};

} // namespace caat::runtime

#endif
