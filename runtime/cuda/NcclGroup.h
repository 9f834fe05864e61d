// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks of one process with a GPU each, connected by NCCL.
#ifndef CAAT_RUNTIME_CUDA_NCCLGROUP_H
#define CAAT_RUNTIME_CUDA_NCCLGROUP_H

#include "CudaDevice.h"

namespace caat::runtime::cuda {

class NcclGroup final : public RankGroup {
public:
  /// Loads NCCL and connects the devices. Throws Error (Run).
  NcclGroup(std::span<CudaDevice *const> devices, const CommunicatorOptions &options);
  ~NcclGroup() override;
  Communicator &at(int rank) override;
  /// Ends the collectives that the devices are in, too.
  void abort(const std::string &reason) override;
  /// Connects the devices anew.
  void reset() override;

private:
  class Rank;
  void connect();
  ncclComm_t connection(int rank);

  std::shared_ptr<const Nccl> nccl;
  std::vector<CudaDevice *> devices;
  ThreadGroup host;
  std::vector<ncclComm_t> connections;
  std::vector<std::unique_ptr<Rank>> ranks;
  std::mutex mutex; // of `connections`
};

} // namespace caat::runtime::cuda

#endif
