// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Workers.h"
#include "caat/runtime/Error.h"
#include <utility>

namespace caat::runtime {

Engine::Workers::Workers(const Program &program, const EngineOptions &options)
    : group(program.manifest().tp, {options.timeout}) {
  int size = program.manifest().tp;
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(std::make_unique<Rank>(program, group.at(rank), options.threadsPerRank));
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
    std::exception_ptr failure;
    try {
      (*mine)(*ranks[static_cast<size_t>(rank)]);
    } catch (const std::exception &e) {
      failure = std::current_exception();
      group.abort(e.what()); // the others need not wait for the timeout
    } catch (...) {
      failure = std::current_exception();
      group.abort("unknown error");
    }
    std::lock_guard lock(mutex);
    if (failure && !error)
      error = failure;
    if (--running == 0)
      done.notify_one();
  }
}

void Engine::Workers::run(const std::function<void(Rank &)> &job) {
  std::unique_lock lock(mutex);
  work = &job;
  error = nullptr;
  running = ranks.size();
  ++generation;
  start.notify_all();
  done.wait(lock, [&] { return running == 0; });
  if (!error)
    return;
  std::exception_ptr failure = std::exchange(error, nullptr);
  group.reset();
  std::rethrow_exception(failure);
}

} // namespace caat::runtime
