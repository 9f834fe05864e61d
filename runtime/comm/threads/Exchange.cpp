// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Exchange.h"
#include <algorithm>
#include <cstring>
#include <sys/prctl.h>

namespace caat::runtime {

using Clock = std::chrono::steady_clock;

/// How often a waiting thread looks whether the group was aborted.
constexpr auto pollInterval = std::chrono::milliseconds(5);
/// What is copied before the link's speed is looked at.
constexpr size_t pieceBytes = 256 << 10;

void waitUntil(Clock::time_point begin, double seconds, Waiting how, const std::function<bool()> &stop) {
  auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  auto inaccuracy = std::chrono::microseconds(how == Waiting::Precise ? 100 : 0); // of a sleep
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
  auto place = [&](int64_t distance) { return static_cast<int>(((rank + distance % size) % size + size) % size); };
  Seat &seat = seatOf(rank);
  {
    std::lock_guard lock(mutex);
    seat.open.push_back(
        {call, static_cast<const std::byte *>(in), static_cast<std::byte *>(out), bytes, place(-shift), place(shift)});
    if (!seat.thread.joinable())
      seat.thread = std::thread([this, rank] { serve(rank); });
  }
  changed.notify_all();
}

/// At the link's speed, if it is slow.
void Exchange::copy(const std::byte *in, std::byte *out, size_t bytes) {
  auto begin = Clock::now();
  auto size = static_cast<int64_t>(seats.size());
  for (size_t at = 0; at < bytes && !aborted(); at += pieceBytes) {
    size_t piece = std::min(pieceBytes, bytes - at);
    std::memcpy(out + at, in + at, piece);
    if (link.isSlow())
      waitUntil(begin, cost::permute(size, static_cast<double>(at + piece)).seconds(link), Waiting::Idle, aborted);
  }
}

void Exchange::serve(int rank) {
  prctl(PR_SET_TIMERSLACK, 1); // sleeps end when they should
  Seat &seat = seatOf(rank);
  std::unique_lock lock(mutex);
  while (!stopping) {
    uint64_t number = seat.received;
    bool ready = seat.started() > number && seatOf(seat[number].from).started() > number;
    if (!ready || seat.disagrees || aborted()) {
      changed.wait(lock);
      continue;
    }
    // Stay where they are while others are added, and until both ranks have finished them.
    Transfer &mine = seat[number], &source = seatOf(mine.from)[number];
    if (source.bytes != mine.bytes || source.call.index != mine.call.index || source.to != rank) {
      seat.disagrees = seatOf(mine.from).disagrees = true;
      changed.notify_all();
      continue;
    }
    seat.copying = true;
    lock.unlock();
    mine.time.begin = Clock::now();
    copy(source.in, mine.out, mine.bytes);
    mine.time.end = Clock::now();
    lock.lock();
    seat.copying = false;
    ++seat.received;
    source.sent = true;
    changed.notify_all();
  }
}

Exchange::Result Exchange::finish(int rank, const CollectiveCall &call, std::chrono::milliseconds timeout, int &other,
                                  Interval &time) {
  Seat &seat = seatOf(rank);
  auto end = Clock::now() + timeout;
  std::unique_lock lock(mutex);
  if (seat.open.empty() || seat.open.front().call.index != call.index)
    return Result::Disagree;
  uint64_t number = seat.finished;
  Transfer &transfer = seat.open.front();
  while (seat.received <= number || !transfer.sent) {
    if (seat.disagrees)
      return Result::Disagree;
    if (aborted())
      return Result::Aborted;
    // Who sends to this rank has not begun, or who receives from it. What has begun comes to an end.
    bool fromStarted = seatOf(transfer.from).started() > number, toStarted = seatOf(transfer.to).started() > number;
    if (fromStarted && toStarted) {
      end = Clock::now() + timeout;
    } else if (Clock::now() >= end) {
      // They may wait for another one in turn: the rank that is furthest behind holds the ring up.
      auto behind = [](const Seat &a, const Seat &b) { return a.started() < b.started(); };
      other = static_cast<int>(std::min_element(seats.begin(), seats.end(), behind) - seats.begin());
      return Result::TimedOut;
    }
    changed.wait_for(lock, pollInterval);
  }
  time = transfer.time;
  seat.open.pop_front();
  ++seat.finished;
  return Result::Done;
}

void Exchange::reset() {
  std::unique_lock lock(mutex);
  while (std::any_of(seats.begin(), seats.end(), [](const Seat &seat) { return seat.copying; }))
    changed.wait_for(lock, pollInterval);
  for (Seat &seat : seats) {
    seat.open.clear();
    seat.finished = seat.received = 0;
    seat.disagrees = false;
  }
}

} // namespace caat::runtime
