// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The threads of an engine, one per rank. Where ranks have devices, the first rank's work is done by who asks for it:
// each step of decoding would wait for two threads to wake otherwise, which takes longer than starting its graph.
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

  /// Runs `work` on each rank, waits, throws the first error.
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
  void stop();
  /// Keeps the first error.
  void execute(size_t index, const std::function<void(Rank &)> &job);

  std::vector<std::thread> threads; // of ranks from `firstThread` on
  size_t firstThread = 0;
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
