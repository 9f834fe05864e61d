// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Fuzz.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/SafeTensors.h"

using namespace caat::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static caat::fuzz::MemoryFile file;
  std::string path = file.write(data, size);
  try {
    // Every byte that an accepted file promises is there.
    for (const auto &[name, tensor] : readSafeTensors(path))
      if (tensor.bytes() > size)
        std::abort();
  } catch (const Error &) {
  }
  return 0;
}
