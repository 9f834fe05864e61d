// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Large buffers: zero pages from the system, huge where it has them.
#ifndef CAAT_RUNTIME_CORE_MEMORY_H
#define CAAT_RUNTIME_CORE_MEMORY_H

#include <cstddef>

namespace caat::runtime {

class LargeBuffer {
public:
  LargeBuffer() = default;
  LargeBuffer(const LargeBuffer &) = delete;
  LargeBuffer(LargeBuffer &&other) noexcept;
  LargeBuffer &operator=(LargeBuffer &&other) noexcept;
  ~LargeBuffer() { release(); }

  /// At least `bytes`; what was in it is lost when it grows. Throws Error (Run).
  void reserve(size_t bytes);
  std::byte *data() const { return data_; }
  size_t size() const { return size_; }

private:
  void release();
  std::byte *data_ = nullptr;
  size_t size_ = 0;
};

} // namespace caat::runtime

#endif
