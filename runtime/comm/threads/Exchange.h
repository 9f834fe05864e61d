// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Transfers that run beside the ranks' own work: one thread per rank copies what the rank before has offered.
#ifndef CAAT_RUNTIME_COMM_THREADS_EXCHANGE_H
#define CAAT_RUNTIME_COMM_THREADS_EXCHANGE_H

#include "caat/runtime/Communicator.h"
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace caat::runtime {

/// Precise: the last moments are spent in a loop. Idle: the processor is left to others all the time.
enum class Waiting { Precise, Idle };

/// Waits until `seconds` after `begin`, or until `stop` says so.
void waitUntil(std::chrono::steady_clock::time_point begin, double seconds, Waiting how,
               const std::function<bool()> &stop);

class Exchange {
public:
  enum class Result { Done, TimedOut, Aborted, Disagree };

  Exchange(int size, Link link, std::function<bool()> aborted);
  ~Exchange();

  void start(int rank, const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift);
  /// Waits for the oldest transfer of `rank`, which must be `call`'s: until it has received, and who receives from it
  /// too. `time` becomes when it received; after a timeout `other` is the rank that holds the ring up.
  Result finish(int rank, const CollectiveCall &call, std::chrono::milliseconds timeout, int &other, Interval &time);
  /// Forgets everything. All ranks are idle.
  void reset();

private:
  struct Transfer {
    CollectiveCall call;
    const std::byte *in;
    std::byte *out;
    size_t bytes;
    int from, to;
    bool sent = false;
    Interval time = {};
  };
  /// Transfers are numbered by rank; those with the same number belong together.
  struct Seat {
    std::deque<Transfer> open; // not finished
    uint64_t finished = 0, received = 0;
    bool copying = false, disagrees = false;
    std::thread thread; // made at the first start
    uint64_t started() const { return finished + open.size(); }
    Transfer &operator[](uint64_t number) { return open[number - finished]; }
  };
  Seat &seatOf(int rank) { return seats[static_cast<size_t>(rank)]; }
  void serve(int rank);
  void copy(const std::byte *in, std::byte *out, size_t bytes);

  Link link;
  std::function<bool()> aborted;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Seat> seats;
  bool stopping = false;
};

} // namespace caat::runtime

#endif
