// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TEST_CUDA_WARP_EMULATOR_H
#define CAAT_TEST_CUDA_WARP_EMULATOR_H

#include <cstddef>
#include <cstdint>
#include <functional>

namespace caat::test {

/// Runs `body`, a kernel that uses cuda/Warp.h, in each thread of each block, one block after the other.
void runBlocks(const std::function<void()> &body, unsigned blocks, unsigned threads, size_t sharedBytes);
/// The same with clusters of two blocks, which run together; for cuda/WarpGroup.h.
void runClusters(const std::function<void()> &body, unsigned clusters, unsigned threads, size_t sharedBytes);

/// What the stand-in's driver encodes a TensorMap as.
struct EmulatedMap {
  uint64_t address, rows, columns, pitch; // elements of 2 bytes; the pitch in bytes
  uint32_t boxRows, boxColumns;
  uint32_t swizzles, unused;
};

} // namespace caat::test

#endif
