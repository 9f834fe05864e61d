// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks of one process that share a device: each has its own stream, and kernels read the others' memory. Their threads
// meet on the host, where calls are compared and timeouts noticed, and hand on events; nobody waits for the device.
#ifndef CAAT_RUNTIME_CUDA_LOCALGROUP_H
#define CAAT_RUNTIME_CUDA_LOCALGROUP_H

#include "CudaDevice.h"

namespace caat::runtime::cuda {

class LocalGroup final : public RankGroup {
public:
  LocalGroup(std::span<CudaDevice *const> devices, const CommunicatorOptions &options);
  ~LocalGroup() override;
  Communicator &at(int rank) override;
  void abort(const std::string &reason) override { host.abort(reason); }
  void reset() override;

private:
  class Rank;
  ThreadGroup host;
  std::vector<std::unique_ptr<Rank>> ranks;
};

} // namespace caat::runtime::cuda

#endif
