// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files: mapped for reading, written through a temporary name.
#ifndef CAAT_RUNTIME_FILE_H
#define CAAT_RUNTIME_FILE_H

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace caat::runtime {

/// Why a file of this name, relative to some folder, may not be opened: empty, absolute, with "..", a URL, …; nothing
/// where the name is good.
std::optional<std::string_view> unsafePath(std::string_view path);

/// A regular file mapped read-only.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();
  /// Throws Error (Artifact) where `path` cannot be opened or is no regular file.
  static MappedFile open(const std::string &path);
  /// A file inside a folder, by a name that untrusted input has. Names that lead out of the folder, symbolic links in
  /// any component and files with several hard links are refused; opening a pipe does not wait. Throws Error
  /// (Artifact).
  static MappedFile openInside(const std::string &directory, const std::string &name, bool mayHaveLinks = false);
  /// The same for callers without exceptions: nothing where it fails, and `error` says why.
  static std::optional<MappedFile> tryOpenInside(const std::string &directory, const std::string &name,
                                                 std::string &error, bool mayHaveLinks = false);

  const std::byte *data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Gives the pages that lie wholly inside [offset, offset + length) back to the system; they can still be read.
  void release(size_t offset, size_t length) const;

private:
  /// Maps an open file; null, or what is wrong.
  const char *map(int fd, size_t size);

  const std::byte *data_ = nullptr;
  size_t size_ = 0;
};

/// Before the work whose result goes there: throws Error (Input) where `path`, which a tool's `option` names, is a
/// folder, or its own folder is missing or not to be written.
void checkOutputFile(const std::string &option, const std::string &path);
/// The same for a folder, which is made where it is missing.
void makeOutputFolder(const std::string &option, const std::string &path);

/// Writes the parts one after another to `path`, which is replaced only when all is written; what is there and no
/// regular file, such as a pipe, is written to as it is.
void writeFile(const std::string &path, std::span<const std::span<const std::byte>> parts);

} // namespace caat::runtime

#endif
