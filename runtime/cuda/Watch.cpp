// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Watch.h"

namespace caat::runtime::cuda {

Watch::~Watch() {
  clear();
  for (CUevent event : unused)
    context.driver().cuEventDestroy_v2(event);
}

CUevent Watch::takeEvent() {
  CUevent event = nullptr;
  if (unused.empty()) {
    context.driver().check(context.driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "an event");
    return event;
  }
  event = unused.back();
  unused.pop_back();
  return event;
}

void Watch::begin(const CollectiveCall &call, CUstream stream, uint64_t count) {
  std::lock_guard lock(mutex);
  Begun &now = begun.emplace_back(Begun{call, all + 1, count, takeEvent(), takeEvent()});
  all += count;
  context.driver().check(context.driver().cuEventRecord(now.first, stream), "an event");
}

void Watch::end(CUstream stream) {
  std::lock_guard lock(mutex);
  if (begun.empty())
    return;
  // An error here comes up again where the device is waited for.
  context.driver().cuEventRecord(begun.back().last, stream);
  begun.back().isWhole = true;
}

std::optional<Watch::Late> Watch::late(std::chrono::milliseconds timeout) {
  std::lock_guard lock(mutex);
  const Driver &driver = context.driver();
  auto isDone = [&](CUevent event) { return driver.cuEventQuery(event) == CUDA_SUCCESS; };
  while (!begun.empty() && begun.front().isWhole && isDone(begun.front().last)) {
    unused.insert(unused.end(), {begun.front().first, begun.front().last});
    begun.pop_front();
  }
  if (begun.empty())
    return std::nullopt;
  Begun &oldest = begun.front();
  auto now = std::chrono::steady_clock::now();
  if (!oldest.since && isDone(oldest.first))
    oldest.since = now;
  if (!oldest.since || now - *oldest.since < timeout)
    return std::nullopt;
  return Late{oldest.call, oldest.number, oldest.count, now - *oldest.since};
}

void Watch::clear() {
  std::lock_guard lock(mutex);
  for (const Begun &one : begun)
    unused.insert(unused.end(), {one.first, one.last});
  begun.clear();
  all = 0;
}

} // namespace caat::runtime::cuda
