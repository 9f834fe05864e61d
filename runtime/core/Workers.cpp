// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Workers.h"

namespace caat::runtime {

Engine::Workers::Workers(const Program &program, const EngineOptions &options)
    : trace(options.trace.empty() ? nullptr : std::make_unique<Trace>(options.trace, program.manifest().tp)),
      group(program.manifest().tp, {options.timeout, -1, options.link}) {
  int size = program.manifest().tp;
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(
        std::make_unique<Rank>(program, group.at(rank), options.threadsPerRank, trace ? &trace->at(rank) : nullptr));
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=, this] { loop(rank, options.threadsPerRank); });
}

Engine::Workers::~Workers() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  start.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

void Engine::Workers::loop(int rank, int threadCount) {
  setThreads(threadCount); // a new thread starts with one OpenMP thread per core
  uint64_t seen = 0;
  while (true) {
    const std::function<void(Rank &)> *mine;
    {
      std::unique_lock lock(mutex);
      start.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping)
        return;
      seen = generation;
      mine = work;
    }
    // The text is handed over, not the exception: its owner would be shared between threads.
    std::optional<Error> failure;
    try {
      (*mine)(*ranks[static_cast<size_t>(rank)]);
    } catch (const Error &e) {
      failure = e;
    } catch (const std::exception &e) {
      failure.emplace(ErrorKind::Run, e.what());
    } catch (...) {
      failure.emplace(ErrorKind::Run, "unknown error");
    }
    if (failure)
      group.abort(failure->what()); // the others need not wait for the timeout
    std::lock_guard lock(mutex);
    if (failure && !error)
      error.emplace(failure->kind, failure->what());
    if (--running == 0)
      done.notify_one();
  }
}

void Engine::Workers::run(const std::function<void(Rank &)> &job) {
  std::unique_lock lock(mutex);
  work = &job;
  error.reset();
  running = ranks.size();
  ++generation;
  start.notify_all();
  done.wait(lock, [&] { return running == 0; });
  if (!error)
    return;
  group.reset();
  for (auto &rank : ranks)
    rank->context.rings.invalidate();
  throw Error(error->kind, error->what());
}

} // namespace caat::runtime
