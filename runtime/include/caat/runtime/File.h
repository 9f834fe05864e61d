// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files: mapped for reading, written through a temporary name.
#ifndef CAAT_RUNTIME_FILE_H
#define CAAT_RUNTIME_FILE_H

#include <cstddef>
#include <span>
#include <string>

namespace caat::runtime {

/// A regular file mapped read-only.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();
  /// Throws Error (Artifact) where `path` cannot be opened or is no regular file.
  static MappedFile open(const std::string &path);

  const std::byte *data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Gives the pages that lie wholly inside [offset, offset + length) back to the system; they can still be read.
  void release(size_t offset, size_t length) const;

private:
  const std::byte *data_ = nullptr;
  size_t size_ = 0;
};

/// Writes the parts one after another to `path`, which is replaced only when all is written.
void writeFile(const std::string &path, std::span<const std::span<const std::byte>> parts);

} // namespace caat::runtime

#endif
