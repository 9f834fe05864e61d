// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks with a GPU each, connected by NCCL: threads of one process, or a process each.
#ifndef CAAT_RUNTIME_CUDA_NCCLGROUP_H
#define CAAT_RUNTIME_CUDA_NCCLGROUP_H

#include "CudaDevice.h"
#include "PeerMemory.h"
#include "Watch.h"
#include "caat/runtime/Peers.h"
#include <atomic>
#include <thread>

namespace caat::runtime {
class ProcessHosts;
}

namespace caat::runtime::cuda {

class NcclGroup final : public RankGroup {
public:
  /// Loads NCCL and connects the devices: all of them, or this process's one with those of `peers`. Throws Error (Run).
  NcclGroup(std::span<CudaDevice *const> devices, const CommunicatorOptions &options, std::shared_ptr<Peers> peers);
  ~NcclGroup() override;
  Communicator &at(int rank) override;
  /// Ends the collectives that the devices are in, too.
  void abort(const std::string &reason) override;
  /// Connects the devices anew, where all are of this process.
  void reset() override;

private:
  class Rank;
  /// What an abort ends; it may come when the group is gone.
  struct Connections {
    std::shared_ptr<const Nccl> nccl;
    std::mutex mutex;
    std::vector<ncclComm_t> all;        // null where it was ended
    std::unique_ptr<PeerMemory> memory; // where GPUs reach each other
    void abort();
  };

  ProcessHosts *processes() const; // null: the ranks are threads
  int size() const { return peers ? peers->size() : static_cast<int>(devices.size()); }
  void connect();
  ncclUniqueId makeId();
  ncclComm_t connection(size_t index);
  /// What the connection says that has not failed at once.
  ncclResult_t settle(size_t index);
  void watch();
  void reportLate(const Watch::Late &late, int rank);

  std::shared_ptr<const Nccl> nccl;
  std::vector<CudaDevice *> devices;
  std::shared_ptr<Peers> peers; // null: the ranks are threads of this process
  std::chrono::milliseconds timeout;
  std::unique_ptr<RankGroup> host;
  std::shared_ptr<Connections> connections;
  std::vector<std::unique_ptr<Watch>> watches;
  std::vector<std::unique_ptr<Rank>> ranks;
  std::vector<std::atomic<uint64_t>> begun; // collectives of the ranks here
  std::atomic<bool> stopping = false;
  std::thread watcher;
};

} // namespace caat::runtime::cuda

#endif
