// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the fuzz targets share: sanitizer settings, files in memory, a folder for one process.
#ifndef CAAT_TEST_FUZZ_FUZZ_H
#define CAAT_TEST_FUZZ_FUZZ_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

/// The installed MLIR is not instrumented (see scripts/test): leaks and poisoning by hand mislead.
extern "C" const char *__asan_default_options() {
  return "detect_leaks=0:allow_user_poisoning=0:detect_container_overflow=0";
}

namespace caat::fuzz {

/// Bytes as a file: readers that map files get a path.
class MemoryFile {
public:
  MemoryFile() : fd(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd < 0)
      std::abort();
  }
  ~MemoryFile() { close(fd); }
  MemoryFile(const MemoryFile &) = delete;
  std::string write(const uint8_t *data, size_t size) {
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size))
      std::abort();
    return "/proc/self/fd/" + std::to_string(fd);
  }

private:
  int fd;
};

/// A folder of this process, in memory where there is such a place; it goes with the process.
class Folder {
public:
  Folder() {
    std::string pattern = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/caat-fuzz.XXXXXX");
    if (!mkdtemp(pattern.data()))
      std::abort();
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string write(const std::string &name, const void *data, size_t size) const {
    std::string file = path + "/" + name;
    FILE *out = fopen(file.c_str(), "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out) != 0)
      std::abort();
    return file;
  }

  std::string path;
};

} // namespace caat::fuzz

#endif // CAAT_TEST_FUZZ_FUZZ_H
