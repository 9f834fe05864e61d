// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A rank's sums over memory that it shares with the others: which these are, by size, and how they are asked for, as
// kernels of their own or in the program's kernel that reads the sum.
#ifndef CAAT_RUNTIME_CUDA_PEERSUMS_H
#define CAAT_RUNTIME_CUDA_PEERSUMS_H

#include "CudaDevice.h"
#include "PeerMemory.h"

namespace caat::runtime::cuda {

class PeerSums {
public:
  /// `number`: among the ranks of this process. CAAT_CUDA_FUSE_SUMS=0 leaves nothing to the program's kernels.
  PeerSums(CudaDevice &device, size_t number);
  /// Null: there is none.
  void use(const PeerMemory *shared) { memory = shared; }

  /// PeersOneShot or PeersTwoShots; AllReduce where the sum is not one of these.
  Exchange::Kind kindOf(const CollectiveCall &call, const void *data) const;
  static Exchange exchange(const CollectiveCall &call, void *data, Exchange::Kind kind, int type = 0);
  void ask(const Exchange &exchange, CUstream stream) const;
  /// As Communicator has them.
  bool leavesToKernel(const CollectiveCall &call, const void *data) const;
  bool sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch);
  /// Fails where ranks have summed different things.
  void check() const;

  static bool isOne(const Exchange &exchange) {
    return exchange.kind == Exchange::Kind::PeersOneShot || exchange.kind == Exchange::Kind::PeersTwoShots ||
           exchange.kind == Exchange::Kind::InKernel;
  }

  /// For Communicator::sumWays, behind `library`.
  std::vector<std::string> ways(const char *library, int64_t bytes) const;
  void setWay(int way) { wanted = way; }

private:
  CudaDevice &device;
  size_t number;
  const PeerMemory *memory = nullptr;
  int wanted = -1; // below 0: by size
  bool leavesSums = environment::isOn("CAAT_CUDA_FUSE_SUMS", true);
};

} // namespace caat::runtime::cuda

#endif
