// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Fuzz.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Npy.h"

using namespace caat::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    Tensor tensor = parseNpy(std::as_bytes(std::span(data, size)), "fuzz");
    if (tensor.bytes() > size)
      std::abort();
    // What is written is read back.
    std::string again = npyHeader(tensor);
    again.append(reinterpret_cast<const char *>(tensor.data.get()), tensor.bytes());
    if (parseNpy(std::as_bytes(std::span(again)), "again").shape != tensor.shape)
      std::abort();
  } catch (const Error &) {
  }
  return 0;
}
