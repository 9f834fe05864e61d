// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Collectives of one rank that its device has not finished: since when, and what they are. NCCL waits for ever, and who
// waits for the device learns nothing.
#ifndef CAAT_RUNTIME_CUDA_WATCH_H
#define CAAT_RUNTIME_CUDA_WATCH_H

#include "Context.h"
#include "caat/runtime/Communicator.h"
#include <chrono>
#include <deque>
#include <optional>

namespace caat::runtime::cuda {

class Watch {
public:
  explicit Watch(const Context &context) : context(context) {}
  ~Watch();

  /// Around a collective, or a graph that has `count` of them from `call` on, by the rank's thread.
  void begin(const CollectiveCall &call, CUstream stream, uint64_t count = 1);
  void end(CUstream stream);

  struct Late {
    CollectiveCall call;
    uint64_t number, count;                   // of the first collective, from 1; of all
    std::chrono::steady_clock::duration time; // in it
  };
  /// The oldest one, where the device has been in it for so long. By any thread.
  std::optional<Late> late(std::chrono::milliseconds timeout);
  void clear();

private:
  struct Begun {
    CollectiveCall call;
    uint64_t number, count;
    CUevent first, last;
    bool isWhole = false; // end() was called
    std::optional<std::chrono::steady_clock::time_point> since = {};
  };
  CUevent takeEvent();

  const Context &context;
  std::mutex mutex;
  std::deque<Begun> begun;
  std::vector<CUevent> unused;
  uint64_t all = 0; // that were begun
};

} // namespace caat::runtime::cuda

#endif
