// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The safetensors format: u64 little-endian header length, JSON header, data without holes.
#ifndef CAAT_RUNTIME_SAFETENSORS_H
#define CAAT_RUNTIME_SAFETENSORS_H

#include "caat/runtime/Digest.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Tensor.h"

namespace caat::runtime {

/// A mapped file. Every entry was checked when it was opened: known type, bytes equal to the shape's, inside the file,
/// no overlap, no hole.
class SafeTensors {
public:
  struct Entry {
    DType dtype;
    Shape shape;
    size_t offset, bytes; // in the file
  };

  /// Throws Error (Artifact).
  static SafeTensors open(const std::string &path);
  /// The same of a file that is open; `path` is for messages.
  static SafeTensors parse(MappedFile file, const std::string &path);

  using Entries = std::map<std::string, Entry>;
  const Entries &entries() const { return entries_; }
  /// As they lie in the file.
  std::vector<const Entries::value_type *> inOrder() const;
  const std::map<std::string, std::string> &metadata() const { return metadata_; }
  /// Throws Error (Artifact) that names the file where there is none.
  const Entry &entry(const std::string &name) const;
  const std::byte *data(const Entry &entry) const { return file_.data() + entry.offset; }
  const MappedFile &file() const { return file_; }
  const std::string &path() const { return path_; }

private:
  MappedFile file_;
  std::string path_;
  Entries entries_;
  std::map<std::string, std::string> metadata_;
};

/// In `__metadata__` of a program's weights: the digest of the arrays that are not empty, in the order in which they
/// lie, of each its name, a zero byte and its data.
inline constexpr const char *arraysDigestKey = "digest";
void addName(Digest &digest, std::string_view name);
/// Reads the whole file, whatever its metadata says.
Digest digestOf(const SafeTensors &file);

/// Copies of all arrays of a file.
TensorMap readSafeTensors(const std::string &path);
void writeSafeTensors(const std::string &path, const TensorMap &tensors,
                      const std::map<std::string, std::string> &metadata = {});

} // namespace caat::runtime

#endif
