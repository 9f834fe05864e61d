// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Workers.h"

namespace caat::runtime {

static BackendOptions backendOptions(const Program &program, const EngineOptions &options) {
  return {program.manifest().tp,
          options.threadsPerRank,
          options.devices,
          {options.timeout, -1, options.link},
          options.progress};
}

Engine::Workers::Workers(const Program &program, const EngineOptions &options)
    : trace(options.trace.empty() ? nullptr : std::make_unique<Trace>(options.trace, program.manifest().tp)),
      backend(makeBackend(program, backendOptions(program, options))) {
  int size = program.manifest().tp;
  std::vector<Device *> all;
  for (int rank = 0; rank < size; ++rank)
    all.push_back(devices.emplace_back(backend->makeDevice(rank)).get());
  group = backend->makeGroup(all);
  for (int rank = 0; rank < size; ++rank) {
    all[static_cast<size_t>(rank)]->setTiming(trace != nullptr);
    ranks.push_back(std::make_unique<Rank>(program, group->at(rank), *all[static_cast<size_t>(rank)],
                                           trace ? &trace->at(rank) : nullptr));
  }
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=, this] { loop(rank); });
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

void Engine::Workers::loop(int rank) {
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
      group->abort(failure->what()); // the others need not wait for the timeout
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
  group->reset();
  for (auto &rank : ranks)
    if (rank->context.rings)
      rank->context.rings->invalidate();
  throw Error(error->kind, error->what());
}

} // namespace caat::runtime
