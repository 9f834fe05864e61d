// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files that untrusted input names.
#ifndef CAAT_SUPPORT_CONTAINEDFILE_H
#define CAAT_SUPPORT_CONTAINEDFILE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace caat {

/// Why a file of this name, relative to some folder, may not be opened: empty, absolute, with "..", a URL, …; nothing
/// where the name is good.
std::optional<llvm::StringRef> unsafePath(llvm::StringRef path);

/// A regular file inside a folder, mapped read-only. Names that lead out of the folder, symbolic links in any component
/// and files with several hard links are refused; opening a pipe does not wait.
class ContainedFile {
public:
  static llvm::Expected<ContainedFile> open(llvm::StringRef directory, llvm::StringRef name, bool mayHaveLinks = false);
  ContainedFile() = default;
  ContainedFile(ContainedFile &&other) : map(std::exchange(other.map, {})) {}
  ContainedFile &operator=(ContainedFile &&other) {
    std::swap(map, other.map);
    return *this;
  }
  ~ContainedFile();

  llvm::ArrayRef<char> bytes() const { return map; }
  llvm::StringRef text() const { return {map.data(), map.size()}; }
  /// Takes the pages that were read out of this process's memory; they can be read again.
  void release() const;

private:
  llvm::ArrayRef<char> map;
};

} // namespace caat

#endif // CAAT_SUPPORT_CONTAINEDFILE_H
