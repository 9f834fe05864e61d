// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Support/ContainedFile.h"

using namespace caat;
using llvm::StringRef;

std::optional<StringRef> caat::unsafePath(StringRef path) { return runtime::unsafePath(path); }

llvm::Expected<ContainedFile> ContainedFile::open(StringRef directory, StringRef name, bool mayHaveLinks) {
  std::string error;
  std::optional<runtime::MappedFile> map =
      runtime::MappedFile::tryOpenInside(directory.str(), name.str(), error, mayHaveLinks);
  if (!map)
    return llvm::createStringError(error);
  ContainedFile file;
  file.map = std::move(*map);
  return file;
}
