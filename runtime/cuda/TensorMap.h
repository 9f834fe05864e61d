// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A matrix as copies of tiles on sm_90 see it, encoded by the driver; for the host's code and for kernels.
#ifndef CAAT_RUNTIME_CUDA_TENSOR_MAP_H
#define CAAT_RUNTIME_CUDA_TENSOR_MAP_H

namespace caat::runtime::cuda {

/// CUtensorMap. Kernels take it as a parameter, in whose memory it stays.
struct alignas(64) TensorMap {
  unsigned long long bits[16];
  bool operator==(const TensorMap &) const = default;
};

} // namespace caat::runtime::cuda

#endif
