// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Support/ContainedFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Errno.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace mlir;
using namespace caat;

std::optional<StringRef> caat::unsafePath(StringRef path) {
  if (path.empty())
    return "is empty";
  if (path.contains('\0'))
    return "contains a zero byte";
  if (path.contains('\\'))
    return "contains a backslash";
  if (path.contains("://") || (path.size() > 1 && path[1] == ':'))
    return "is a URL or names a drive";
  if (path.starts_with("/"))
    return "is absolute";
  SmallVector<StringRef> parts;
  path.split(parts, '/');
  if (llvm::is_contained(parts, ".."))
    return "contains '..'";
  return std::nullopt;
}

/// Opens `name` below the folder `at` component by component, following no link; -1 with errno on failure. `at` is
/// closed.
static int openByComponents(int at, StringRef name) {
  SmallVector<StringRef> parts;
  name.split(parts, '/', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (auto [i, part] : llvm::enumerate(parts)) {
    std::string component = part.str();
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (i + 1 < parts.size() ? O_DIRECTORY : O_NONBLOCK);
    int next = ::openat(at, component.c_str(), flags), error = errno;
    struct stat status;
    if (next < 0 && ::fstatat(at, component.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode))
      error = ELOOP; // where a folder was wanted, a link is "not a directory"
    ::close(at);
    errno = error;
    at = next;
    if (at < 0)
      break;
  }
  return at;
}

static int openBeneath(const std::string &directory, StringRef name) {
  int at = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0)
    return at;
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK; // a pipe must not wait for its writer
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = ::syscall(SYS_openat2, at, name.str().c_str(), &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) // an old kernel, or a sandbox that does not know the call
    return openByComponents(at, name);
  int error = errno;
  ::close(at);
  errno = error;
  return static_cast<int>(fd);
}

llvm::Expected<ContainedFile> ContainedFile::open(StringRef directory, StringRef name, bool mayHaveLinks) {
  auto refuse = [&](const Twine &message) { return llvm::createStringError("file '" + name + "' " + message); };
  if (std::optional<StringRef> why = unsafePath(name))
    return refuse("is refused: the name " + *why);
  int fd = openBeneath(directory.empty() ? "." : directory.str(), name);
  if (fd < 0)
    return refuse(errno == ELOOP ? "is refused: a symbolic link" : "cannot be opened: " + llvm::sys::StrError());
  struct stat status;
  std::string problem;
  ContainedFile file;
  if (::fstat(fd, &status) != 0)
    problem = "cannot be examined: " + llvm::sys::StrError();
  else if (!S_ISREG(status.st_mode))
    problem = "is refused: no regular file";
  else if (status.st_nlink > 1 && !mayHaveLinks)
    problem = "is refused: it has several hard links";
  else if (status.st_size > 0) {
    void *data = ::mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
      problem = "cannot be mapped: " + llvm::sys::StrError();
    else
      file.map = ArrayRef<char>(static_cast<const char *>(data), status.st_size);
  }
  ::close(fd);
  if (!problem.empty())
    return refuse(problem);
  return file;
}

ContainedFile::~ContainedFile() {
  if (!map.empty())
    ::munmap(const_cast<char *>(map.data()), map.size());
}

void ContainedFile::release() const {
  if (!map.empty())
    ::madvise(const_cast<char *>(map.data()), map.size(), MADV_DONTNEED);
}
