// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Copies between the host's memory and a device's through pinned memory, so that the host need not wait for uploads.
#ifndef CAAT_RUNTIME_CUDA_STAGING_H
#define CAAT_RUNTIME_CUDA_STAGING_H

#include "Context.h"

namespace caat::runtime::cuda {

class Staging {
public:
  explicit Staging(const Context &context) : context(context) {}
  ~Staging();

  /// In the order of the stream; `from` may be changed after the call.
  void upload(void *to, const void *from, size_t bytes, CUstream stream);
  /// Waits for the stream.
  void download(void *to, const void *from, size_t bytes, CUstream stream);

private:
  /// A part of the pinned memory that is filled from its begin; before it is filled anew, what was read from it last
  /// must have been read.
  struct Slot {
    std::byte *data = nullptr;
    size_t used = 0;
    CUevent read = nullptr;
  };
  static constexpr size_t numSlots = 4, slotBytes = 4 << 20;
  Slot &slotFor(size_t bytes);
  void allocate();

  const Context &context;
  std::shared_ptr<std::byte> pinned;
  Slot slots[numSlots];
  size_t current = 0;
};

} // namespace caat::runtime::cuda

#endif
