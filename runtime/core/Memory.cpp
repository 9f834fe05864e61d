// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Memory.h"
#include "caat/runtime/Error.h"
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace caat::runtime {

namespace {
constexpr size_t hugePage = size_t{2} << 20, smallPage = 4096;
size_t roundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
} // namespace

LargeBuffer::LargeBuffer(LargeBuffer &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LargeBuffer &LargeBuffer::operator=(LargeBuffer &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void LargeBuffer::release() {
  if (data_)
    munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

void LargeBuffer::reserve(size_t bytes) {
  if (bytes <= size_)
    return;
  release();
  bool huge = bytes >= hugePage;
  size_t size = roundUp(bytes, smallPage), asked = huge ? size + hugePage : size;
  void *memory =
      asked < bytes ? MAP_FAILED : mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    failRun("out of memory: ", bytes, " bytes (", std::strerror(errno), ")");
  auto address = reinterpret_cast<size_t>(memory);
  if (huge) { // start at a huge page's boundary, give the rest back
    size_t begin = roundUp(address, hugePage);
    if (begin > address)
      munmap(memory, begin - address);
    if (address + asked > begin + size)
      munmap(reinterpret_cast<void *>(begin + size), address + asked - begin - size);
    address = begin;
    madvise(reinterpret_cast<void *>(address), size, MADV_HUGEPAGE);
  }
  data_ = reinterpret_cast<std::byte *>(address);
  size_ = size;
}

} // namespace caat::runtime
