// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_BYTEPROGRESS_H
#define CAAT_ARTIFACT_BYTEPROGRESS_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace caat {

/// "weights: 120 of 640 MiB" on standard error while something large is written: one line that is written over on a
/// terminal, the last state alone elsewhere.
class ByteProgress {
public:
  ByteProgress(llvm::StringRef what, int64_t total, bool enabled);
  void add(int64_t bytes);
  /// Ends the line.
  void finish();

private:
  void print(bool last);

  std::string what;
  int64_t total, done = 0;
  bool enabled, terminal;
};

} // namespace caat

#endif // CAAT_ARTIFACT_BYTEPROGRESS_H
