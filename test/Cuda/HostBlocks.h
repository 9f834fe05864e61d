// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the runtime's CUDA sources call when they are C++ on the host; for the one file of a library that includes them.
#ifndef CAAT_TEST_CUDA_HOSTBLOCKS_H
#define CAAT_TEST_CUDA_HOSTBLOCKS_H

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

namespace caat::runtime::cuda {
thread_local long long hostBlock, hostBlocks;

/// Holds a rank up now and then, so that others are ahead of it by as much as they may be.
void hostPause() {
  static thread_local std::minstd_rand random(std::random_device{}());
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 16 == 0 ? 300 : 1));
}

/// CAAT_DOUBLE_FORGET_PEERS=1: no.
bool hostWaits() {
  static const char *forgets = std::getenv("CAAT_DOUBLE_FORGET_PEERS");
  static const bool waits = !forgets || std::atoi(forgets) == 0;
  return waits;
}
} // namespace caat::runtime::cuda

#endif
