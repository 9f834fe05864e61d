// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files by names that nobody has checked, with openat2 and, as on kernels before 5.6, without.
#include "caat/runtime/File.h"
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace caat::runtime;
namespace fs = std::filesystem;

namespace {

/// From here on openat2 fails in this process as on a kernel that does not have it.
bool forbidOpenat2() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{std::size(code), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
         ::syscall(SYS_openat2, -1, "", nullptr, 0) == -1 && errno == ENOSYS;
}

class ContainedFile : public testing::TestWithParam<bool> {
protected:
  void SetUp() override {
    root = fs::path(testing::TempDir()) / ("contained-" + std::to_string(::getpid()));
    inside = root / "inside";
    fs::create_directories(inside / "folder");
    for (const fs::path &path : {root / "secret", inside / "plain", inside / "folder" / "deep", inside / "twice"})
      std::ofstream(path) << "text";
    fs::create_symlink("../secret", inside / "link-out");
    fs::create_symlink("plain", inside / "link");
    fs::create_symlink("folder", inside / "folder-link");
    fs::create_symlink("..", inside / "parent");
    fs::create_hard_link(inside / "twice", inside / "thrice");
    ASSERT_EQ(::mkfifo((inside / "pipe").c_str(), 0600), 0);
  }
  void TearDown() override { fs::remove_all(root); }

  /// What opening `name` says; the text of the file where it is opened.
  std::string open(const std::string &name) const {
    std::string error;
    std::optional<MappedFile> file = MappedFile::tryOpenInside(inside.string(), name, error);
    return file ? std::string(reinterpret_cast<const char *>(file->data()), file->size()) : error;
  }

  /// The number of the first check that fails, 0 where all hold.
  int check() const {
    auto says = [&](const std::string &name, const std::string &what) {
      return open(name).find(what) != std::string::npos;
    };
    const bool checks[] = {open("plain") == "text",
                           open("folder/deep") == "text",
                           open("folder//deep") == "text",
                           says("link", "a symbolic link"),
                           says("link-out", "a symbolic link"),
                           says("folder-link/deep", "a symbolic link"),
                           says("parent/secret", "a symbolic link"),
                           says("../secret", "contains '..'"),
                           says("twice", "several hard links"),
                           says("pipe", "no regular file"),
                           says("folder", "no regular file"),
                           says("plain/deep", "Not a directory"),
                           says("absent", "No such file"),
                           says("absent/deep", "No such file")};
    for (size_t i = 0; i < std::size(checks); ++i)
      if (!checks[i])
        return static_cast<int>(i) + 1;
    return 0;
  }

  fs::path root, inside;
};

TEST_P(ContainedFile, OpensFilesOfTheFolderOnly) {
  if (!GetParam()) {
    EXPECT_EQ(check(), 0);
    return;
  }
  constexpr int unavailable = 100;
  pid_t child = ::fork(); // the filter cannot be taken off again
  if (child == 0)
    std::_Exit(forbidOpenat2() ? check() : unavailable);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == unavailable)
    GTEST_SKIP() << "no seccomp here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

INSTANTIATE_TEST_SUITE_P(Kernels, ContainedFile, testing::Bool(),
                         [](const auto &info) { return info.param ? "WithoutOpenat2" : "AsItIs"; });

} // namespace
