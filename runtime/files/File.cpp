// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/File.h"
#include "caat/runtime/Error.h"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace caat::runtime {

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_)
    munmap(const_cast<std::byte *>(data_), size_);
}

MappedFile MappedFile::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    failArtifact(path, ": ", std::strerror(errno));
  struct stat status;
  MappedFile file;
  const char *problem = nullptr;
  if (fstat(fd, &status) != 0)
    problem = std::strerror(errno);
  else if (!S_ISREG(status.st_mode))
    problem = "not a regular file";
  else
    problem = file.map(fd, static_cast<size_t>(status.st_size));
  ::close(fd);
  if (problem)
    failArtifact(path, ": ", problem);
  return file;
}

const char *MappedFile::map(int fd, size_t size) {
  if (size == 0)
    return nullptr;
  void *memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED)
    return std::strerror(errno);
  data_ = static_cast<const std::byte *>(memory);
  size_ = size;
  return nullptr;
}

void MappedFile::release(size_t offset, size_t length) const {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t begin = (offset + page - 1) / page * page, end = (offset + length) / page * page;
  if (begin < end)
    madvise(const_cast<std::byte *>(data_) + begin, end - begin, MADV_DONTNEED);
}

namespace fs = std::filesystem;

/// Why nothing can be written into a folder; empty where it can.
static std::string problemOfFolder(const fs::path &folder) {
  std::error_code error;
  fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found)
    return detail::concat("there is no folder '", folder.string(), "'; make it first");
  if (!fs::is_directory(status))
    return detail::concat("'", folder.string(), "' is ", error ? error.message() : "a file, not a folder");
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    return detail::concat("the folder '", folder.string(), "' is not to be written: ", std::strerror(errno));
  return "";
}

void checkOutputFile(const std::string &option, const std::string &path) {
  std::error_code ignored;
  fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status))
    failInput(option, "=", path, " is a folder; name a file in it");
  bool isOther = fs::exists(status) && !fs::is_regular_file(status); // a pipe or device
  fs::path folder = fs::path(path).parent_path();
  std::string problem = isOther ? "" : problemOfFolder(folder.empty() ? "." : folder);
  if (isOther && access(path.c_str(), W_OK) != 0)
    problem = std::strerror(errno);
  if (!problem.empty())
    failInput(option, "=", path, ": ", problem);
}

void makeOutputFolder(const std::string &option, const std::string &path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    failInput(option, "=", path, " is a file; name a folder, which is made where it is missing");
  fs::create_directories(path, error);
  if (error)
    failInput(option, "=", path, ": the folder cannot be made: ", error.message());
  if (std::string problem = problemOfFolder(path); !problem.empty())
    failInput(option, "=", path, ": ", problem);
}

void writeFile(const std::string &path, std::span<const std::span<const std::byte>> parts) {
  struct stat status;
  bool isInPlace = stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
  std::string temporary = path + ".XXXXXX";
  int fd = isInPlace ? open(path.c_str(), O_WRONLY | O_CLOEXEC) : mkstemp(temporary.data());
  auto fail = [&](int reason) {
    if (!isInPlace)
      unlink(temporary.c_str());
    failInput("cannot write '", path, "': ", std::strerror(reason));
  };
  if (fd < 0)
    failInput("cannot write '", path, "': ", std::strerror(errno));
  if (!isInPlace)
    fchmod(fd, 0644);
  for (std::span<const std::byte> part : parts) {
    while (!part.empty()) {
      ssize_t written = write(fd, part.data(), part.size());
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0) {
        int reason = errno;
        close(fd);
        fail(reason);
      }
      part = part.subspan(static_cast<size_t>(written));
    }
  }
  if (close(fd) != 0 || (!isInPlace && rename(temporary.c_str(), path.c_str()) != 0))
    fail(errno);
}

} // namespace caat::runtime
