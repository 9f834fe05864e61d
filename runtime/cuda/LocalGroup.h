// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks of one process that share a device: each has its own stream, and kernels read the others' memory. Their threads
// meet on the host, where calls are compared and timeouts noticed, and hand on events; nobody waits for the device.
//
// With CAAT_CUDA_LOCAL_PEERS=1 small sums go over memory that the ranks share, as between devices that reach each
// other: kernels of several streams then wait for each other, which a device only lets go on when it runs them at once.
// It is there to check those kernels on a machine with one GPU.
#ifndef CAAT_RUNTIME_CUDA_LOCALGROUP_H
#define CAAT_RUNTIME_CUDA_LOCALGROUP_H

#include "CudaDevice.h"
#include "PeerMemory.h"

namespace caat::runtime::cuda {

class LocalGroup final : public RankGroup {
public:
  LocalGroup(std::span<CudaDevice *const> devices, const CommunicatorOptions &options);
  ~LocalGroup() override;
  Communicator &at(int rank) override;
  void abort(const std::string &reason) override;
  void reset() override;

private:
  class Rank;
  ThreadGroup host;
  std::unique_ptr<PeerMemory> memory; // where it is asked for
  std::vector<std::unique_ptr<Rank>> ranks;
};

} // namespace caat::runtime::cuda

#endif
