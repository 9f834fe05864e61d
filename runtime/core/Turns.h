// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two halves of a rank's run that take turns: while one waits for the other ranks, the other one computes. Each has a
// thread. What a half does in its turn, it does alone; collectives that keep a thread waiting go on in the other's.
#ifndef CAAT_RUNTIME_CORE_TURNS_H
#define CAAT_RUNTIME_CORE_TURNS_H

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace caat::runtime {

class Turns {
public:
  using Clock = std::chrono::steady_clock;

  /// Waits until it is `half`'s turn, as it is the first one's in the beginning. Since when it has been.
  Clock::time_point enter(int half);
  /// It is the other half's turn, unless that has ended. Throws Error (Run) where the second one gets ahead: it may
  /// need what the first one leaves in the caches.
  void leave(int half);
  /// `half`, whose turn it is, has nothing more to do.
  void end(int half);

  /// A collective outside of turns. They alternate between the halves, so that all ranks have them in the same order.
  class Exchange {
  public:
    Exchange(Turns &turns, int half);
    ~Exchange();
    Exchange(const Exchange &) = delete;

  private:
    Turns &turns;
    int half;
  };

private:
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0, exchanging = 0; // whose it is, or will be
  std::array<bool, 2> ended = {};
  std::array<int64_t, 2> passed = {}; // turns that were given away
  std::array<Clock::time_point, 2> since = {Clock::now(), Clock::now()};
};

/// Which half of a run it is.
struct Half {
  Turns *turns = nullptr; // null: the run is whole
  int number = 0;
};

} // namespace caat::runtime

#endif
