// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the steps of a rank are timed, and its collectives with them.
#ifndef CAAT_RUNTIME_CORE_RANKTIMER_H
#define CAAT_RUNTIME_CORE_RANKTIMER_H

#include "Nvtx.h"
#include "RankContext.h"

namespace caat::runtime {

/// Adds the time of the device's work during its life to one or two sums, and to the trace as an event. A profiler is
/// told too.
class RankContext::Timer {
public:
  Timer(RankContext &context, double &sum, Trace::Event event, double *also = nullptr)
      : context(context), range(event.row, event.kind, event.name),
        stretch{event, context.device.now(), {}, {&sum, also, nullptr}} {}
  /// It was something else.
  void cancel() { isCancelled = true; }
  ~Timer() {
    if (isCancelled)
      return;
    stretch.end = context.device.now();
    if (stretch.event.kind == "product")
      context.lastProduct = {stretch.isKnown() ? seconds(stretch.begin.time, stretch.end.time) : 0,
                             stretch.isKnown() ? std::nullopt : std::optional(context.open.size())};
    context.add(stretch);
  }

private:
  static double seconds(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
  }
  RankContext &context;
  ProfilerRange range;
  Stretch stretch;
  bool isCancelled = false;
};

/// Times and counts a collective, and stops there where a test asks for it.
template <typename F>
void RankContext::exchange(int64_t index, CollectiveKind kind, int64_t count, int64_t extra, F &&run) {
  const CollectiveSpec &spec = collective(index, kind);
  exchange(spec, index, count, count * static_cast<int64_t>(sizeOf(spec.dtype)), extra, run);
}

template <typename F>
void RankContext::exchange(const CollectiveSpec &spec, int64_t index, int64_t count, int64_t bytes, int64_t extra,
                           F &&run) {
  CollectiveStats &stats = beginExchange(spec, index, count);
  {
    Timer timer(*this, stats.seconds, {Trace::Row::Communication, nameOf(spec.kind), spec.name, {}, {}, bytes},
                &profile.communication);
    run(CollectiveCall{index, spec.name.c_str(), spec.kind, spec.dtype, count, extra});
  }
  ++stats.calls;
  stats.bytes += bytes;
}

} // namespace caat::runtime

#endif
