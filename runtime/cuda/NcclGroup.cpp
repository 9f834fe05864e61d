// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "NcclGroup.h"
#include "../comm/processes/ProcessHosts.h"
#include "NcclRank.h"
#include <algorithm>
#include <utility>

namespace caat::runtime::cuda {

NcclGroup::NcclGroup(std::span<CudaDevice *const> given, const CommunicatorOptions &options,
                     std::shared_ptr<Peers> others)
    : nccl(std::make_shared<Nccl>()), devices(given.begin(), given.end()), peers(std::move(others)),
      timeout(options.timeout), connections(std::make_shared<Connections>()) {
  if (devices.size() > maxLocalRanks || size() > maxLocalRanks)
    failRun(size(), " ranks on GPUs: at most ", maxLocalRanks);
  connections->nccl = nccl;
  if (peers) {
    host = std::make_unique<ProcessHosts>(peers);
    peers->onAbort([connections = connections] { connections->abort(); });
  } else {
    host = std::make_unique<ThreadGroup>(static_cast<int>(devices.size()), options);
  }
  connect();
  begun = std::vector<std::atomic<uint64_t>>(devices.size());
  std::vector<const Context *> places;
  for (CudaDevice *device : devices)
    places.push_back(&device->place());
  connections->memory = PeerMemory::make(places, peers.get());
  for (size_t r = 0; r < devices.size(); ++r) {
    watches.push_back(std::make_unique<Watch>(devices[r]->place()));
    ranks.push_back(std::make_unique<Rank>(*this, r, host->at(static_cast<int>(r))));
  }
  if (size() > 1)
    watcher = std::thread([this] { watch(); });
}

NcclGroup::~NcclGroup() {
  stopping = true;
  if (watcher.joinable())
    watcher.join();
  if (peers)
    peers->onAbort({});
  ranks.clear();
  std::lock_guard lock(connections->mutex);
  for (ncclComm_t &connection : connections->all)
    if (connection)
      nccl->ncclCommDestroy(std::exchange(connection, nullptr));
}

void NcclGroup::Connections::abort() {
  std::lock_guard lock(mutex);
  if (memory)
    memory->stop();
  for (ncclComm_t &connection : all)
    if (connection)
      nccl->ncclCommAbort(std::exchange(connection, nullptr));
}

ProcessHosts *NcclGroup::processes() const { return peers ? static_cast<ProcessHosts *>(host.get()) : nullptr; }

ncclComm_t NcclGroup::connection(size_t index) {
  {
    std::lock_guard lock(connections->mutex);
    if (ncclComm_t connection = connections->all[index])
      return connection;
  }
  host->at(0).checkAborted();
  failRun("another rank failed");
}

ncclResult_t NcclGroup::settle(size_t index) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < end) {
    {
      std::lock_guard lock(connections->mutex);
      ncclResult_t status = ncclSuccess;
      ncclComm_t connection = connections->all[index];
      if (!connection || nccl->ncclCommGetAsyncError(connection, &status) != ncclSuccess)
        return ncclSystemError;
      if (status != ncclInProgress)
        return status;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return ncclInProgress;
}

/// Rank 0's, which all get.
ncclUniqueId NcclGroup::makeId() {
  ncclUniqueId id{};
  if (!peers || peers->rank() == 0)
    if (ncclResult_t status = nccl->ncclGetUniqueId(&id); status != ncclSuccess)
      failRun("NCCL cannot begin: ", nccl->ncclGetErrorString(status));
  if (!peers)
    return id;
  std::vector<ncclUniqueId> all(static_cast<size_t>(size()));
  peers->allGather("NCCL's id", &id, all.data(), sizeof id);
  return all[0];
}

/// Without blocking, so that a rank that does not come is noticed.
void NcclGroup::connect() {
  auto check = [&](ncclResult_t status) {
    if (peers && peers->aborted())
      failRun(peers->reason());
    if (status == ncclInProgress)
      failRun("NCCL does not connect ", size(), " GPUs within ", static_cast<double>(timeout.count()) / 1000,
              " s (NCCL_DEBUG=INFO says more)");
    if (status != ncclSuccess)
      failRun("NCCL cannot connect ", size(), " GPUs: ", nccl->ncclGetErrorString(status),
              " (NCCL_DEBUG=INFO says more)");
  };
  ncclUniqueId id = makeId();
  ncclConfig_t config{};
  config.blocking = 0;
  std::vector<ncclComm_t> made(devices.size());
  auto pending = [](ncclResult_t status) { return status == ncclInProgress ? ncclSuccess : status; };
  check(nccl->ncclGroupStart());
  for (size_t r = 0; r < devices.size(); ++r) {
    devices[r]->place().enter();
    int rank = peers ? peers->rank() : static_cast<int>(r);
    check(pending(nccl->ncclCommInitRankConfig(&made[r], size(), id, rank, &config)));
  }
  check(pending(nccl->ncclGroupEnd()));
  {
    std::lock_guard lock(connections->mutex);
    connections->all = std::move(made);
  }
  for (size_t r = 0; r < devices.size(); ++r)
    check(settle(r));
}

/// The watching thread: errors of the connections, and collectives that do not end.
void NcclGroup::watch() {
  auto pause = std::clamp(timeout / 10, std::chrono::milliseconds(5), std::chrono::milliseconds(200));
  try {
    while (!stopping) {
      std::this_thread::sleep_for(pause);
      for (size_t r = 0; r < devices.size() && !host->at(0).aborted(); ++r) {
        devices[r]->place().enter();
        int rank = peers ? peers->rank() : static_cast<int>(r);
        ncclResult_t status = ncclSuccess;
        {
          std::lock_guard lock(connections->mutex);
          if (connections->all[r])
            nccl->ncclCommGetAsyncError(connections->all[r], &status);
        }
        std::optional<Watch::Late> late = watches[r]->late(timeout);
        if (status != ncclSuccess && status != ncclInProgress)
          abort(detail::concat("NCCL on rank ", rank, ": ", nccl->ncclGetErrorString(status)));
        else if (late)
          reportLate(*late, rank);
      }
    }
  } catch (const std::exception &e) {
    abort(e.what());
  }
}

void NcclGroup::reportLate(const Watch::Late &late, int rank) {
  std::string waiting;
  std::vector<uint64_t> progress = peers ? peers->progress() : std::vector<uint64_t>(begun.begin(), begun.end());
  for (size_t other = 0; other < progress.size(); ++other)
    if (progress[other] < late.number)
      waiting += (waiting.empty() ? ": waiting for rank " : ", ") + std::to_string(other);
  // A graph takes longer than a collective.
  if (waiting.empty() && late.time < timeout * static_cast<int64_t>(late.count))
    return;
  std::string number = late.call.index < 0 ? "" : detail::concat(" (collective ", late.call.index, ")");
  std::string others =
      late.count == 1 ? "" : detail::concat(", or one of the ", late.count - 1, " behind it in a graph,");
  if (waiting.empty())
    waiting = detail::concat(others, " though all ranks have begun ", others.empty() ? "it" : "them",
                             ": the connection between the GPUs is stuck",
                             others.empty() ? "" : " (CAAT_CUDA_GRAPHS=0 finds where)");
  abort(
      detail::concat(nameOf(late.call.kind), " '", late.call.name, "'", number, " timed out after ",
                     std::chrono::duration<double>(late.count == 1 || waiting[0] == ':' ? timeout : late.time).count(),
                     " s on rank ", rank, waiting));
}

void NcclGroup::abort(const std::string &reason) {
  if (host->at(0).aborted())
    return;
  host->abort(reason);
  connections->abort();
}

void NcclGroup::reset() {
  host->reset();
  for (auto &watch : watches)
    watch->clear();
  for (CudaDevice *device : devices)
    device->settle();
  for (auto &count : begun)
    count = 0;
  if (!peers && connections->memory)
    connections->memory->reset();
  for (auto &rank : ranks) {
    rank->forgetTransfers();
    rank->reconnected();
  }
  if (!peers && std::find(connections->all.begin(), connections->all.end(), nullptr) != connections->all.end())
    connect();
}

Communicator &NcclGroup::at(int rank) { return *ranks.at(static_cast<size_t>(rank)); }

} // namespace caat::runtime::cuda
