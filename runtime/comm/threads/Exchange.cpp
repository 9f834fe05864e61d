// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Exchange.h"
#include <cstring>

namespace caat::runtime {

using Clock = std::chrono::steady_clock;

/// How often a waiting thread looks whether the group was aborted.
constexpr auto pollInterval = std::chrono::milliseconds(5);
/// What is copied before the link's speed is looked at.
constexpr size_t pieceBytes = 256 << 10;

void waitUntil(Clock::time_point begin, double seconds, const std::function<bool()> &stop) {
  auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  constexpr auto inaccuracy = std::chrono::microseconds(100); // of a sleep
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    if (end - now <= inaccuracy)
      std::this_thread::yield();
    else if (stop())
      return;
    else
      std::this_thread::sleep_for(std::min<Clock::duration>(end - now - inaccuracy, pollInterval));
  }
}

Exchange::Exchange(int size, Link link, std::function<bool()> aborted)
    : link(link), aborted(std::move(aborted)), seats(static_cast<size_t>(size)) {}

Exchange::~Exchange() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  changed.notify_all();
  for (Seat &seat : seats)
    if (seat.thread.joinable())
      seat.thread.join();
}

void Exchange::start(int rank, const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift) {
  auto size = static_cast<int64_t>(seats.size());
  Seat &seat = seats[static_cast<size_t>(rank)];
  {
    std::lock_guard lock(mutex);
    seat.call = call;
    seat.in = static_cast<const std::byte *>(in);
    seat.out = static_cast<std::byte *>(out);
    seat.bytes = bytes;
    seat.from = static_cast<int>(((rank - shift) % size + size) % size);
    seat.to = static_cast<int>(((rank + shift) % size + size) % size);
    ++seat.started;
    if (!seat.thread.joinable())
      seat.thread = std::thread([this, &seat] { serve(seat); });
  }
  changed.notify_all();
}

void Exchange::serve(Seat &seat) {
  std::unique_lock lock(mutex);
  while (!stopping) {
    Seat &source = seats[static_cast<size_t>(seat.from)];
    bool ready = seat.started > seat.received && source.started >= seat.started && !aborted();
    if (!ready || seat.disagrees) {
      changed.wait(lock);
      continue;
    }
    if (source.bytes != seat.bytes || source.call.index != seat.call.index || source.to != &seat - seats.data()) {
      seat.disagrees = source.disagrees = true;
      changed.notify_all();
      continue;
    }
    seat.copying = true;
    const std::byte *in = source.in;
    std::byte *out = seat.out;
    size_t bytes = seat.bytes;
    lock.unlock();
    auto begin = Clock::now();
    for (size_t at = 0; at < bytes && !aborted(); at += pieceBytes) {
      size_t piece = std::min(pieceBytes, bytes - at);
      std::memcpy(out + at, in + at, piece);
      if (link.isSlow())
        waitUntil(begin, cost::Traffic{1, static_cast<double>(at + piece)}.seconds(link), aborted);
    }
    lock.lock();
    seat.copying = false;
    ++seat.received;
    ++source.sent;
    changed.notify_all();
  }
}

Exchange::Result Exchange::finish(int rank, std::chrono::milliseconds timeout, int &other) {
  Seat &seat = seats[static_cast<size_t>(rank)];
  auto end = Clock::now() + timeout;
  std::unique_lock lock(mutex);
  while (seat.received < seat.started || seat.sent < seat.started) {
    // Who sends to this rank has not begun, or who receives from it.
    other = seats[static_cast<size_t>(seat.from)].started < seat.started ? seat.from : seat.to;
    if (seat.disagrees)
      return Result::Disagree;
    if (aborted())
      return Result::Aborted;
    if (Clock::now() >= end)
      return Result::TimedOut;
    changed.wait_for(lock, pollInterval);
  }
  return Result::Done;
}

void Exchange::reset() {
  std::unique_lock lock(mutex);
  while (std::any_of(seats.begin(), seats.end(), [](const Seat &seat) { return seat.copying; }))
    changed.wait_for(lock, pollInterval);
  for (Seat &seat : seats) {
    seat.started = seat.received = seat.sent = 0;
    seat.disagrees = false;
  }
}

} // namespace caat::runtime
