// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TEST_CUDA_WARP_EMULATOR_H
#define CAAT_TEST_CUDA_WARP_EMULATOR_H

#include <cstddef>
#include <functional>

namespace caat::test {

/// Runs `body`, a kernel that uses cuda/Warp.h, in each thread of each block, one block after the other.
void runBlocks(const std::function<void()> &body, unsigned blocks, unsigned threads, size_t sharedBytes);

} // namespace caat::test

#endif
