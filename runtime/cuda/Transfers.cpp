// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Transfers.h"
#include "caat/runtime/Error.h"

namespace caat::runtime::cuda {

Transfers::~Transfers() {
  device.place().enter();
  reset();
  for (auto [ready, done] : unused) {
    driver().cuEventDestroy_v2(ready);
    driver().cuEventDestroy_v2(done);
  }
  if (stream_)
    driver().cuStreamDestroy_v2(stream_);
}

CUstream Transfers::stream() {
  if (!stream_)
    driver().check(driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "a stream");
  return stream_;
}

CUevent Transfers::newEvent() const {
  CUevent event = nullptr;
  driver().check(driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "an event");
  return event;
}

Transfers::Transfer &Transfers::start(const CollectiveCall &call, int64_t shift) {
  if (unused.empty())
    unused.emplace_back(newEvent(), newEvent());
  auto [ready, done] = unused.front();
  unused.pop_front();
  Transfer &transfer = open.emplace_back(Transfer{call, shift, ready, done});
  driver().check(driver().cuEventRecord(ready, device.stream()), nameOf(call.kind), " '", call.name, "'");
  driver().check(driver().cuStreamWaitEvent(stream(), ready, 0), nameOf(call.kind), " '", call.name, "'");
  return transfer;
}

void Transfers::begin() { open.back().time.begin = device.nowOn(stream()); }

void Transfers::end() {
  Transfer &transfer = open.back();
  transfer.time.end = device.nowOn(stream());
  driver().check(driver().cuEventRecord(transfer.done, stream()), nameOf(transfer.call.kind), " '", transfer.call.name,
                 "'");
}

Transfers::Transfer Transfers::finish(const CollectiveCall &call) {
  if (open.empty() || open.front().call.index != call.index)
    failRun(nameOf(call.kind), " '", call.name, "' is waited for, but ",
            open.empty() ? "nothing was started" : std::string("'") + open.front().call.name + "' was started before");
  Transfer transfer = open.front();
  open.pop_front();
  unused.emplace_back(transfer.ready, transfer.done);
  return transfer;
}

void Transfers::awaitOnWork(CUevent event, const CollectiveCall &call) {
  driver().check(driver().cuStreamWaitEvent(device.stream(), event, 0), nameOf(call.kind), " '", call.name, "'");
}

void Transfers::reset() {
  if (stream_)
    driver().cuStreamSynchronize(stream_); // an error comes up again elsewhere
  for (const Transfer &transfer : open)
    unused.emplace_back(transfer.ready, transfer.done);
  open.clear();
}

} // namespace caat::runtime::cuda
