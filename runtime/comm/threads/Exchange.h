// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What goes on beside the ranks' own work: one thread per rank takes its part of transfers and sums, in the order in
// which they were started.
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

/// The elements that `rank` sums for all: whole cache lines, so that ranks do not write the same one.
struct Slice {
  int64_t begin, end;
  static Slice of(int64_t count, int rank, int size);
};

class Exchange {
public:
  enum class Result { Done, TimedOut, Aborted, Disagree };

  Exchange(int size, Link link, std::function<bool()> aborted);
  ~Exchange();

  /// Copies what the rank before has offered.
  void startPermute(int rank, const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift);
  /// Sums this rank's slice of all ranks' data into all of them.
  void startAllReduce(int rank, const CollectiveCall &call, void *data);
  /// Waits for the oldest of `rank`'s, which must be `call`'s: until its result is there, and nobody reads its input.
  /// `time` becomes when it went on; after a timeout `other` is the rank that holds the others up.
  Result finish(int rank, const CollectiveCall &call, std::chrono::milliseconds timeout, int &other, Interval &time);
  /// Forgets everything. All ranks are idle.
  void reset();

private:
  struct Task {
    CollectiveCall call;
    const void *in;
    void *out;
    size_t bytes;
    int from, to; // of a transfer
    int missing;  // parts that somebody has still to do: for a sum one of each rank, else what comes and what goes
    std::chrono::steady_clock::time_point started = {};
    Interval time = {};
    bool isSum() const { return call.kind == CollectiveKind::AllReduce; }
  };
  /// Tasks are numbered by rank; those with the same number belong together.
  struct Seat {
    std::deque<Task> open; // not finished
    uint64_t finished = 0, served = 0;
    bool busy = false, disagrees = false;
    std::chrono::steady_clock::time_point free = {}; // when its link has done with the task before
    std::thread thread;                              // made at the first start
    uint64_t started() const { return finished + open.size(); }
    Task &operator[](uint64_t number) { return open[number - finished]; }
  };
  Seat &seatOf(int rank) { return seats[static_cast<size_t>(rank)]; }
  int size() const { return static_cast<int>(seats.size()); }
  void start(int rank, Task &&task);
  /// The ranks whose data the task needs, or who need its data.
  bool haveStarted(const Task &task, uint64_t number, bool andReaders);
  void serve(int rank);
  void copy(const Task &source, const Task &mine);
  void sum(int rank, std::span<void *const> data, const Task &mine);
  void waitForLink(const Task &task, double bytes) const;
  double secondsOf(const Task &task, double bytes) const;

  Link link;
  std::function<bool()> aborted;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Seat> seats;
  bool stopping = false;
};

} // namespace caat::runtime

#endif
