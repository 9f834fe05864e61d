// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_OUTPUTFILE_H
#define CAAT_ARTIFACT_OUTPUTFILE_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <optional>

namespace caat {

/// A file under a temporary name, which gets its own when it is complete and disappears otherwise.
class OutputFile {
public:
  static llvm::Expected<OutputFile> create(llvm::StringRef directory, llvm::StringRef name);
  OutputFile(OutputFile &&) = default;
  ~OutputFile();

  llvm::raw_pwrite_stream &os() { return *stream; }
  llvm::StringRef temporaryName() const { return temporary->TmpName; }
  /// What went wrong in writing so far, e.g. a full disk.
  llvm::Error status();
  /// Closes the file and renames it.
  llvm::Error keep();

private:
  OutputFile(llvm::sys::fs::TempFile temporary, std::string path);

  std::optional<llvm::sys::fs::TempFile> temporary;
  std::unique_ptr<llvm::raw_fd_ostream> stream;
  std::string path;
};

} // namespace caat

#endif // CAAT_ARTIFACT_OUTPUTFILE_H
