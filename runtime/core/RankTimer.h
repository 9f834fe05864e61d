// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How the steps of a rank are timed, and its collectives with them.
#ifndef CAAT_RUNTIME_CORE_RANKTIMER_H
#define CAAT_RUNTIME_CORE_RANKTIMER_H

#include "Nvtx.h"
#include "RankContext.h"
#include <algorithm>
#include <exception>

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
  Trace::Event event{Trace::Row::Communication, nameOf(spec.kind), spec.name, {}, {}, bytes};
  CollectiveCall call{index, spec.name.c_str(), spec.kind, spec.dtype, count, extra};
  if (half.turns && device.isHost()) { // another device does what it is asked for by and by
    exchangeBeside(stats, event, [&] { run(call); });
  } else {
    Timer timer(*this, stats.seconds, event, &profile.communication);
    run(call);
  }
  ++stats.calls;
  stats.bytes += bytes;
}

/// The rank waits for it where the other half has come to an exchange too. A sum of an earlier turn would be waited for
/// out of order if this turn ended before it is.
template <typename F> void RankContext::exchangeBeside(CollectiveStats &stats, Trace::Event event, F &&run) {
  ProfilerRange range(event.row, event.kind, event.name);
  bool leaves = started.empty() || started.front().turn == turnNumber;
  if (leaves) {
    ++turnNumber;
    half.turns->leave(half.number);
  }
  std::exception_ptr failure;
  {
    Turns::Exchange exchange(*half.turns, half.number);
    event.time.begin = Turns::Clock::now();
    try {
      run();
    } catch (...) {
      failure = std::current_exception();
    }
    event.time.end = Turns::Clock::now();
  }
  auto back = leaves ? half.turns->enter(half.number) : event.time.begin;
  if (failure)
    std::rethrow_exception(failure);
  auto seconds = [](auto begin, auto end) { return std::chrono::duration<double>(end - begin).count(); };
  double exposed = std::max(0.0, seconds(std::max(back, event.time.begin), event.time.end));
  stats.seconds += exposed;
  profile.communication += exposed;
  stats.hidden += seconds(event.time.begin, event.time.end) - exposed;
  if (trace)
    trace->add(event);
}

} // namespace caat::runtime

#endif
