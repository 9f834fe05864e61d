// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranges for NVIDIA's profilers (Nsight Systems, Nsight Compute): what the rank's thread asks for, by the names that
// traces have. A profiler that is attached names its library in NVTX_INJECTION64_PATH, as NVTX 3 has it; it is spoken
// to without NVTX's headers. Without a profiler a range is one comparison.
#ifndef CAAT_RUNTIME_CORE_NVTX_H
#define CAAT_RUNTIME_CORE_NVTX_H

#include "caat/runtime/Trace.h"

namespace caat::runtime {

class ProfilerRange {
public:
  /// Shown as "KIND NAME", in a category for each row of a trace.
  ProfilerRange(Trace::Row row, std::string_view kind, std::string_view name) {
    if (isAttached)
      begin(row, kind, name);
  }
  ~ProfilerRange() {
    if (isAttached)
      end();
  }
  ProfilerRange(const ProfilerRange &) = delete;

  /// Names the calling thread.
  static void nameThread(const std::string &name);

private:
  static void begin(Trace::Row row, std::string_view kind, std::string_view name);
  static void end();
  static const bool isAttached; // known before main() begins
};

} // namespace caat::runtime

#endif
