// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files that untrusted input names.
#ifndef CAAT_SUPPORT_CONTAINEDFILE_H
#define CAAT_SUPPORT_CONTAINEDFILE_H

#include "caat/runtime/File.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace caat {

/// Why a file of this name may not be opened; see caat/runtime/File.h.
std::optional<llvm::StringRef> unsafePath(llvm::StringRef path);

/// A regular file inside a folder, mapped read-only: runtime::MappedFile::openInside with LLVM's errors. Names that
/// lead out of the folder, symbolic links in any component and files with several hard links are refused; opening a
/// pipe does not wait.
class ContainedFile {
public:
  static llvm::Expected<ContainedFile> open(llvm::StringRef directory, llvm::StringRef name, bool mayHaveLinks = false);
  ContainedFile() = default;

  llvm::ArrayRef<char> bytes() const { return {reinterpret_cast<const char *>(map.data()), map.size()}; }
  llvm::StringRef text() const { return {reinterpret_cast<const char *>(map.data()), map.size()}; }
  /// Takes the pages that were read out of this process's memory; they can be read again.
  void release() const { map.release(0, map.size()); }

private:
  runtime::MappedFile map;
};

} // namespace caat

#endif // CAAT_SUPPORT_CONTAINEDFILE_H
