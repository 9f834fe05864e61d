// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/File.h"
#include "caat/runtime/Error.h"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
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

void writeFile(const std::string &path, std::span<const std::span<const std::byte>> parts) {
  std::string temporary = path + ".XXXXXX";
  int fd = mkstemp(temporary.data());
  if (fd < 0)
    failInput("cannot write '", path, "': ", std::strerror(errno));
  fchmod(fd, 0644);
  for (std::span<const std::byte> part : parts) {
    while (!part.empty()) {
      ssize_t written = write(fd, part.data(), part.size());
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0) {
        int reason = errno;
        close(fd);
        unlink(temporary.c_str());
        failInput("cannot write '", path, "': ", std::strerror(reason));
      }
      part = part.subspan(static_cast<size_t>(written));
    }
  }
  if (close(fd) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    int reason = errno;
    unlink(temporary.c_str());
    failInput("cannot write '", path, "': ", std::strerror(reason));
  }
}

} // namespace caat::runtime
