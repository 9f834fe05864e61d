// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Import/WeightFile.h"

#include "llvm/Support/Errno.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace caat;

static llvm::Error fileError(StringRef name, const Twine &message) {
  return llvm::createStringError("file '" + name + "' " + message);
}

/// Opens `name` below `directory` component by component, following no link; -1 with errno on failure.
static int openBeneath(const std::string &directory, StringRef name) {
  int at = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  SmallVector<StringRef> parts;
  name.split(parts, '/', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (auto [i, part] : llvm::enumerate(parts)) {
    if (at < 0)
      return -1;
    // O_NONBLOCK: opening a pipe must not wait for a writer.
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (i + 1 < parts.size() ? O_DIRECTORY : O_NONBLOCK);
    int next = ::openat(at, part.str().c_str(), flags);
    int error = errno;
    ::close(at);
    errno = error;
    at = next;
  }
  return at;
}

WeightFiles::WeightFiles(StringRef directory, StringRef modelFile) : directory(directory), modelFile(modelFile) {}

static StringRef stringAttr(ModuleOp module, StringRef name) {
  auto attr = module->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : StringRef();
}

WeightFiles::WeightFiles(ModuleOp module)
    : WeightFiles(stringAttr(module, "onnx.directory"), stringAttr(module, "onnx.file")) {}

WeightFiles::~WeightFiles() {
  for (auto &entry : maps)
    if (!entry.second.empty())
      ::munmap(const_cast<char *>(entry.second.data()), entry.second.size());
}

llvm::Expected<ArrayRef<char>> WeightFiles::file(StringRef name) {
  if (std::optional<StringRef> why = onnx::unsafePath(name))
    return fileError(name, "is refused: the name " + *why);
  std::lock_guard<std::mutex> lock(mutex);
  auto known = maps.find(name);
  if (known != maps.end())
    return known->second;

  int fd = openBeneath(directory.empty() ? "." : directory, name);
  if (fd < 0)
    return fileError(name, errno == ELOOP || errno == EMLINK ? "is refused: a symbolic link"
                                                             : "cannot be opened: " + llvm::sys::StrError());
  struct stat status;
  std::string refused;
  if (::fstat(fd, &status) != 0)
    refused = "cannot be examined: " + llvm::sys::StrError();
  else if (!S_ISREG(status.st_mode))
    refused = "is refused: no regular file";
  else if (status.st_nlink > 1 && name != modelFile)
    refused = "is refused: it has several hard links";
  ArrayRef<char> map;
  if (refused.empty() && status.st_size > 0) {
    void *data = ::mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
      refused = "cannot be mapped: " + llvm::sys::StrError();
    else
      map = ArrayRef<char>(static_cast<const char *>(data), status.st_size);
  }
  ::close(fd);
  if (!refused.empty())
    return fileError(name, refused);
  return maps[name] = map;
}

llvm::Expected<ArrayRef<char>> WeightFiles::bytes(StringRef name, int64_t offset, int64_t length) {
  llvm::Expected<ArrayRef<char>> all = file(name);
  if (!all)
    return all.takeError();
  int64_t size = all->size();
  if (offset < 0 || length < 0 || offset > size || length > size - offset)
    return fileError(name, "has " + Twine(size) + " bytes, not " + Twine(length) + " at offset " + Twine(offset));
  return all->slice(offset, length);
}

llvm::Expected<ArrayRef<char>> WeightFiles::bytes(onnx::InitializerOp initializer) {
  return bytes(initializer.getFile(), initializer.getOffset(), initializer.getLength());
}
