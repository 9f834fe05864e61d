// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/ByteProgress.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace caat;

ByteProgress::ByteProgress(llvm::StringRef what, int64_t total, bool enabled)
    : what(what), total(total), enabled(enabled), terminal(llvm::sys::Process::StandardErrIsDisplayed()),
      start(Clock::now()), next(terminal ? start : start + std::chrono::seconds(10)) {}

/// "2 s", "3 min 05 s", "1 h 02 min".
static std::string duration(double seconds) {
  auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 60)
    return llvm::formatv("{0} s", whole);
  if (whole < 3600)
    return llvm::formatv("{0} min {1,0+2} s", whole / 60, whole % 60);
  return llvm::formatv("{0} h {1,0+2} min", whole / 3600, whole % 3600 / 60);
}

std::string ByteProgress::describe(llvm::StringRef what, int64_t done, int64_t total, double seconds) {
  std::string line = llvm::formatv("{0}: {1} of {2} MiB", what, done >> 20, total >> 20);
  constexpr double leastSeconds = 0.5; // before, the rate is that of some cache
  if (done <= 0 || seconds < leastSeconds)
    return line;
  double rate = static_cast<double>(done) / seconds;
  line += llvm::formatv(", {0:F0} MiB/s", rate / (1 << 20));
  if (done < total)
    line += ", " + duration(static_cast<double>(total - done) / rate) + " left";
  return line;
}

void ByteProgress::print(bool last) {
  Clock::time_point now = Clock::now();
  if (!enabled || (!last && now < next))
    return;
  next = now + (terminal ? std::chrono::milliseconds(100) : std::chrono::seconds(10));
  std::string line = describe(what, done, total, std::chrono::duration<double>(now - start).count());
  llvm::errs() << (terminal ? "\r" : "") << line;
  if (terminal && line.size() < shown)
    llvm::errs().indent(static_cast<unsigned>(shown - line.size())); // over the rest of a longer line
  shown = line.size();
  if (last || !terminal)
    llvm::errs() << "\n";
}

void ByteProgress::add(int64_t bytes) {
  done += bytes;
  print(/*last=*/false);
}

void ByteProgress::finish() { print(/*last=*/true); }
