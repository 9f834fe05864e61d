// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TEST_RUNTIME_ONRANKS_H
#define CAAT_TEST_RUNTIME_ONRANKS_H

#include "caat/runtime/Communicator.h"
#include "caat/runtime/Error.h"
#include <string>
#include <thread>
#include <vector>

namespace caat::test {

/// Runs `work` on a thread per rank; returns each rank's error, "" for none.
template <typename F> std::vector<std::string> onRanks(runtime::ThreadGroup &group, int size, F &&work) {
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        work(group.at(rank), rank);
      } catch (const runtime::Error &e) {
        errors[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}

} // namespace caat::test

#endif
