// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Workers.h"
#include "Nvtx.h"

namespace caat::runtime {

static std::shared_ptr<Peers> meetPeers(const Program &program, const EngineOptions &options) {
  if (!options.world)
    return nullptr;
  if (program.manifest().device != "cuda")
    failInput("'", program.directory(),
              "' is compiled for the CPU, whose ranks are threads of one process, but this is one of ",
              options.world->size, " (", options.world->origin,
              "): start it without a launcher, or with --processes=off where the variables are left from elsewhere");
  if (options.world->size != program.manifest().tp)
    failInput("'", program.directory(), "' is for ", program.manifest().tp, " ranks, but ", options.world->size,
              options.world->size == 1 ? " process was" : " processes were", " started (", options.world->origin, ")");
  return std::make_shared<Peers>(*options.world, options.timeout);
}

Engine::Workers::Workers(const Program &program, const EngineOptions &options) : peers(meetPeers(program, options)) {
  try {
    make(program, options);
  } catch (const std::exception &e) {
    if (peers)
      peers->abort(e.what()); // the others need not wait
    throw;
  }
  firstThread = devices[0]->isHost() ? 0 : 1;
  try {
    for (size_t i = firstThread; i < ranks.size(); ++i)
      threads.emplace_back([this, i] { loop(i); });
  } catch (const std::system_error &e) {
    stop();
    failRun("no thread for rank ", threads.size() + firstThread, " of ", ranks.size(), ": ", e.what());
  }
}

void Engine::Workers::make(const Program &program, const EngineOptions &options) {
  int size = peers ? 1 : program.manifest().tp, first = peers ? peers->rank() : 0;
  BackendOptions backendOptions{
      size, options.threadsPerRank, options.devices, {options.timeout, -1, options.link}, options.progress, peers};
  if (!options.trace.empty())
    trace = std::make_unique<Trace>(options.trace, size, peers);
  backend = makeBackend(program, backendOptions);
  std::vector<Device *> all;
  for (int index = 0; index < size; ++index)
    all.push_back(devices.emplace_back(backend->makeDevice(first + index)).get());
  group = backend->makeGroup(all);
  for (int index = 0; index < size; ++index) {
    Device &device = *all[static_cast<size_t>(index)];
    device.setTiming(trace != nullptr);
    ranks.push_back(std::make_unique<Rank>(program, group->at(index), device, trace ? &trace->at(index) : nullptr));
  }
}

Engine::Workers::~Workers() { stop(); }

void Engine::Workers::stop() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  start.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

void Engine::Workers::loop(size_t index) {
  ProfilerRange::nameThread("rank " + std::to_string(ranks[index]->rank()));
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
    execute(index, *mine);
    std::lock_guard lock(mutex);
    if (--running == 0)
      done.notify_one();
  }
}

void Engine::Workers::execute(size_t index, const std::function<void(Rank &)> &job) {
  // The text is handed over, not the exception: its owner would be shared between threads.
  std::optional<Error> failure;
  try {
    job(*ranks[index]);
  } catch (const Error &e) {
    failure = e;
  } catch (const std::exception &e) {
    failure.emplace(ErrorKind::Run, e.what());
  } catch (...) {
    failure.emplace(ErrorKind::Run, "unknown error");
  }
  if (!failure)
    return;
  group->abort(failure->what()); // the others need not wait for the timeout
  std::lock_guard lock(mutex);
  if (!error)
    error.emplace(failure->kind, failure->what());
}

void Engine::Workers::run(const std::function<void(Rank &)> &job) {
  std::unique_lock lock(mutex);
  work = &job;
  error.reset();
  running = threads.size();
  ++generation;
  start.notify_all();
  if (firstThread > 0) {
    lock.unlock();
    execute(0, [&](Rank &rank) { devices[0]->onCaller([&] { job(rank); }); });
    lock.lock();
  }
  done.wait(lock, [&] { return running == 0; });
  if (!error)
    return;
  group->reset();
  for (auto &rank : ranks)
    if (rank->context().rings)
      rank->context().rings->invalidate();
  throw Error(error->kind, error->what());
}

} // namespace caat::runtime
