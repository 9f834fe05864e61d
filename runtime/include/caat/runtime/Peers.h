// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the processes of a program tell each other beside their collectives, over TCP by way of rank 0: small messages
// that all get, how far each has come, and that one has failed. A thread of each process listens all the time, so a
// rank that waits for its device still learns that another has failed.
#ifndef CAAT_RUNTIME_PEERS_H
#define CAAT_RUNTIME_PEERS_H

#include "caat/runtime/World.h"
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace caat::runtime {

class Peers {
public:
  /// Meets the others. Throws Error (Run) that names who is missing.
  Peers(const World &world, std::chrono::milliseconds timeout);
  ~Peers();

  const World &world() const { return world_; }
  int rank() const { return world_.rank; }
  int size() const { return world_.size; }
  std::chrono::milliseconds timeout() const;

  /// `bytes` of every rank, one after another. `calls` stands for what the rank has done so far (0: unknown): where two
  /// ranks differ in it, or in `name` or `bytes`, all fail. Throws Error (Run).
  void allGather(const char *name, const void *in, void *out, size_t bytes, uint64_t calls = 0,
                 std::chrono::milliseconds timeout = {});

  /// At rank 0 the bytes of every rank, as many as each likes; elsewhere nothing, and nobody waits. Throws Error (Run).
  std::vector<std::vector<char>> gather(const char *name, const void *in, size_t bytes);

  /// Ends every rank's waiting with this text; the first one counts. Any thread may call it.
  void abort(const std::string &reason);
  bool aborted() const;
  /// Why, and which rank says so; empty where nobody does.
  std::string reason() const;
  /// Called once, by whatever thread learns of an abort, at once where that has come already. Not from a call of
  /// abort() with the lock of the caller.
  void onAbort(std::function<void()> then);

  /// Collectives that this rank has begun; what the others have is known a moment later.
  void setProgress(uint64_t count);
  std::vector<uint64_t> progress() const;

  /// What is to be added to this process's steady clock to get rank 0's, at some time: as measured when the processes
  /// met, and by the last measureClock(), since clocks drift. Half of the shortest way there and back is taken for the
  /// way back.
  std::chrono::nanoseconds clockOffset(std::chrono::steady_clock::time_point at) const;
  /// Throws Error (Run).
  void measureClock();

private:
  struct State;
  World world_;
  std::unique_ptr<State> state;
};

} // namespace caat::runtime

#endif
