// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files inside a folder, by names that nobody has checked.
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace caat::runtime {

static std::vector<std::string> components(std::string_view path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::optional<std::string_view> unsafePath(std::string_view path) {
  if (path.empty())
    return "is empty";
  if (path.find('\0') != path.npos)
    return "contains a zero byte";
  if (path.find('\\') != path.npos)
    return "contains a backslash";
  if (path.find("://") != path.npos || (path.size() > 1 && path[1] == ':'))
    return "is a URL or names a drive";
  if (path.starts_with("/"))
    return "is absolute";
  for (const std::string &part : components(path))
    if (part == "..")
      return "contains '..'";
  return std::nullopt;
}

/// Opens `name` below the folder `at` component by component, following no link; -1 with errno on failure. `at` is
/// closed.
static int openByComponents(int at, const std::string &name) {
  std::vector<std::string> parts = components(name);
  std::erase(parts, "");
  for (size_t i = 0; i < parts.size(); ++i) {
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (i + 1 < parts.size() ? O_DIRECTORY : O_NONBLOCK);
    int next = ::openat(at, parts[i].c_str(), flags), error = errno;
    struct stat status;
    if (next < 0 && ::fstatat(at, parts[i].c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode))
      error = ELOOP; // where a folder was wanted, a link is "not a directory"
    ::close(at);
    errno = error;
    at = next;
    if (at < 0)
      break;
  }
  return at;
}

static int openBeneath(const std::string &directory, const std::string &name) {
  int at = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0)
    return at;
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK; // a pipe must not wait for its writer
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = ::syscall(SYS_openat2, at, name.c_str(), &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) // an old kernel, or a sandbox that does not know the call
    return openByComponents(at, name);
  int error = errno;
  ::close(at);
  errno = error;
  return static_cast<int>(fd);
}

MappedFile MappedFile::openInside(const std::string &directory, const std::string &name, bool mayHaveLinks) {
  std::string error;
  std::optional<MappedFile> file = tryOpenInside(directory, name, error, mayHaveLinks);
  if (!file)
    failArtifact(error);
  return std::move(*file);
}

std::optional<MappedFile> MappedFile::tryOpenInside(const std::string &directory, const std::string &name,
                                                    std::string &error, bool mayHaveLinks) {
  auto refuse = [&](const std::string &why) {
    error = "file '" + name + "' " + why;
    return std::nullopt;
  };
  if (std::optional<std::string_view> why = unsafePath(name))
    return refuse("is refused: the name " + std::string(*why));
  int fd = openBeneath(directory, name);
  if (fd < 0)
    return refuse(errno == ELOOP ? "is refused: a symbolic link"
                                 : std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status;
  std::string problem;
  MappedFile file;
  if (::fstat(fd, &status) != 0)
    problem = std::string("cannot be examined: ") + std::strerror(errno);
  else if (!S_ISREG(status.st_mode))
    problem = "is refused: no regular file";
  else if (status.st_nlink > 1 && !mayHaveLinks)
    problem = "is refused: it has several hard links";
  else if (const char *reason = file.map(fd, static_cast<size_t>(status.st_size)))
    problem = std::string("cannot be mapped: ") + reason;
  ::close(fd);
  if (!problem.empty())
    return refuse(problem);
  return file;
}

} // namespace caat::runtime
