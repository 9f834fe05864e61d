// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The threads of an engine, one per rank.
#ifndef CAAT_RUNTIME_CORE_WORKERS_H
#define CAAT_RUNTIME_CORE_WORKERS_H

#include "Rank.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Peers.h"
#include <condition_variable>
#include <mutex>
#include <thread>

namespace caat::runtime {

struct Engine::Workers {
  Workers(const Program &program, const EngineOptions &options);
  ~Workers();

  /// Runs `work` on each rank's thread, waits, throws the first error.
  void run(const std::function<void(Rank &)> &work);

  std::shared_ptr<Peers> peers; // where the other ranks are other processes
  std::unique_ptr<Trace> trace; // where asked for
  std::unique_ptr<Backend> backend;
  std::vector<std::unique_ptr<Device>> devices;
  std::unique_ptr<RankGroup> group;
  std::vector<std::unique_ptr<Rank>> ranks;

private:
  void make(const Program &program, const EngineOptions &options);
  void loop(size_t index);

  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable start, done;
  const std::function<void(Rank &)> *work = nullptr;
  uint64_t generation = 0;
  size_t running = 0;
  bool stopping = false;
  std::optional<Error> error; // of the first rank that failed
};

} // namespace caat::runtime

#endif
