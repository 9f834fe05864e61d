// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_BYTEPROGRESS_H
#define CAAT_ARTIFACT_BYTEPROGRESS_H

#include "llvm/ADT/StringRef.h"
#include <chrono>
#include <string>

namespace caat {

/// "weights: 120 of 640 MiB, 312 MiB/s, 2 s left" on standard error while something large is written: one line that is
/// written over on a terminal; elsewhere a line every ten seconds and the last state.
class ByteProgress {
public:
  ByteProgress(llvm::StringRef what, int64_t total, bool enabled);
  void add(int64_t bytes);
  /// Ends the line.
  void finish();

  /// The line after so many seconds. Rate and time left stand in it once they mean something.
  static std::string describe(llvm::StringRef what, int64_t done, int64_t total, double seconds);

private:
  using Clock = std::chrono::steady_clock;
  void print(bool last);

  std::string what;
  int64_t total, done = 0;
  bool enabled, terminal;
  size_t shown = 0; // columns of the line on the terminal
  Clock::time_point start, next;
};

} // namespace caat

#endif // CAAT_ARTIFACT_BYTEPROGRESS_H
