// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the ranks of NCCL's double meet.
#ifndef CAAT_TEST_CUDA_DOUBLEWORLDS_H
#define CAAT_TEST_CUDA_DOUBLEWORLDS_H

#include "Double.h"

namespace caat::test {

inline constexpr runtime::cuda::ncclResult_t ncclUnhandledCudaError = 1, ncclInvalidUsage = 5, ncclRemoteError = 6;

struct Call {
  const char *name = nullptr;
  const void *in = nullptr;
  void *out = nullptr;
  size_t count = 0;
  int type = 0, root = 0;
  runtime::cuda::CUstream stream = nullptr;
  int captured = 0; // 0: is not part of a graph; else how many exchanges of this rank were captured before, and it
};

/// What each rank has given, as it was before anything is written.
using Inputs = std::vector<const void *>;
/// Computes what the rank gets.
using Compute = std::function<bool(const Inputs &, size_t rank)>;

/// All ranks that share an id. Each function is called by every rank and returns what NCCL would.
class World {
public:
  virtual ~World() = default;
  virtual size_t size() const = 0;
  /// What the ranks called must be the same; `inputs` and `outputs` are the elements that each reads and writes.
  virtual runtime::cuda::ncclResult_t collective(size_t rank, const Call &call, size_t inputs, size_t outputs,
                                                 const Compute &compute) = 0;
  /// The n-th send of a to b is received by the n-th receive of b from a.
  virtual runtime::cuda::ncclResult_t exchange(size_t rank, const std::vector<Call> &calls) = 0;
  virtual void abort() = 0;
};

size_t sizeOfType(int type);
void makeWorldId(char *id, size_t bytes);
std::shared_ptr<World> worldOf(const std::string &id, size_t size, size_t rank);

} // namespace caat::test

#endif
