// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Exchange.h"
#include "Reduce.h"
#include <algorithm>
#include <cstring>
#include <sys/prctl.h>

namespace caat::runtime {

using Clock = std::chrono::steady_clock;

/// How often a waiting thread looks whether the group was aborted.
constexpr auto pollInterval = std::chrono::milliseconds(5);
/// What is copied before the link's speed is looked at.
constexpr size_t pieceBytes = 256 << 10;

static Clock::time_point after(Clock::time_point begin, double seconds) {
  constexpr double longest = 1e8; // so that it can be added to a time
  return begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::min(seconds, longest)));
}

void waitUntil(Clock::time_point begin, double seconds, Waiting how, const std::function<bool()> &stop) {
  auto end = after(begin, seconds);
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

Slice Slice::of(int64_t count, int rank, int size) {
  constexpr int64_t line = 64; // elements
  int64_t lines = (count + line - 1) / line;
  return {std::min(count, lines * rank / size * line), std::min(count, lines * (rank + 1) / size * line)};
}

void Exchange::startPermute(int rank, const CollectiveCall &call, const void *in, void *out, size_t bytes,
                            int64_t shift) {
  auto place = [&](int64_t distance) {
    return static_cast<int>(((rank + distance % size()) % size() + size()) % size());
  };
  start(rank, {call, in, out, bytes, place(-shift), place(shift), 2});
}

void Exchange::startAllReduce(int rank, const CollectiveCall &call, void *data) {
  start(rank, {call, data, data, static_cast<size_t>(call.count) * sizeOf(call.dtype), rank, rank, size()});
}

void Exchange::start(int rank, Task &&task) {
  Seat &seat = seatOf(rank);
  {
    std::lock_guard lock(mutex);
    task.started = Clock::now();
    seat.open.push_back(std::move(task));
    if (!seat.thread.joinable())
      seat.thread = std::thread([this, rank] { serve(rank); });
  }
  changed.notify_all();
}

bool Exchange::haveStarted(const Task &task, uint64_t number, bool andReaders) {
  auto has = [&](const Seat &seat) { return seat.started() > number; };
  if (task.isSum())
    return std::all_of(seats.begin(), seats.end(), has);
  return has(seatOf(task.from)) && (!andReaders || has(seatOf(task.to)));
}

/// What so many bytes of a task take on the link.
double Exchange::secondsOf(const Task &task, double bytes) const {
  return (task.isSum() ? cost::allReduce(cost::AllReduce::Ring, size(), bytes) : cost::permute(size(), bytes))
      .seconds(link);
}

void Exchange::waitForLink(const Task &task, double bytes) const {
  if (link.isSlow())
    waitUntil(task.time.begin, secondsOf(task, bytes), Waiting::Idle, aborted);
}

void Exchange::copy(const Task &source, const Task &mine) {
  const auto *in = static_cast<const std::byte *>(source.in);
  auto *out = static_cast<std::byte *>(mine.out);
  for (size_t at = 0; at < mine.bytes && !aborted(); at += pieceBytes) {
    size_t piece = std::min(pieceBytes, mine.bytes - at);
    waitForLink(mine, static_cast<double>(at));
    std::memcpy(out + at, in + at, piece);
  }
}

void Exchange::sum(int rank, std::span<void *const> data, const Task &mine) {
  std::vector<const void *> sources(data.begin(), data.end());
  Slice slice = Slice::of(mine.call.count, rank, size());
  sumInOrder(mine.call.dtype, sources, data, slice.begin, slice.end);
}

void Exchange::serve(int rank) {
  prctl(PR_SET_TIMERSLACK, 1); // sleeps end when they should
  Seat &seat = seatOf(rank);
  std::unique_lock lock(mutex);
  while (!stopping) {
    uint64_t number = seat.served;
    if (seat.started() <= number || !haveStarted(seat[number], number, false) || seat.disagrees || aborted()) {
      changed.wait(lock);
      continue;
    }
    // Tasks stay where they are while others are added, and until all whom they concern have done their parts.
    Task &mine = seat[number];
    std::vector<Task *> others;
    for (int other = 0; other < size(); ++other)
      if (mine.isSum() || other == mine.from)
        others.push_back(&seatOf(other)[number]);
    auto agrees = [&](const Task *other) {
      return other->call.index == mine.call.index && other->call.kind == mine.call.kind && other->bytes == mine.bytes &&
             other->call.dtype == mine.call.dtype && (mine.isSum() || other->to == rank);
    };
    if (!std::all_of(others.begin(), others.end(), agrees)) {
      for (int other = 0; other < size(); ++other)
        seatOf(other).disagrees |= other == rank || mine.isSum() || other == mine.from;
      changed.notify_all();
      continue;
    }
    std::vector<void *> data;
    auto ready = mine.started;
    for (const Task *other : others) {
      data.push_back(other->out);
      ready = std::max(ready, other->started);
    }
    seat.busy = true;
    // A link takes up the next task as soon as it is free, however long this thread waits for a processor.
    auto begin = link.isSlow() ? std::max(ready, seat.free) : Clock::now();
    lock.unlock();
    mine.time.begin = begin;
    mine.isSum() ? sum(rank, data, mine) : copy(*others.front(), mine);
    mine.time.end = Clock::now();
    if (link.isSlow()) {
      auto bytes = static_cast<double>(mine.bytes);
      mine.time.end = std::max(mine.time.end, after(begin, secondsOf(mine, bytes)));
      waitForLink(mine, bytes);
    }
    lock.lock();
    seat.free = mine.time.end;
    seat.busy = false;
    ++seat.served;
    for (Task *other : others)
      --other->missing;
    mine.missing -= !mine.isSum();
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
  Task &task = seat.open.front();
  while (task.missing > 0) {
    if (seat.disagrees)
      return Result::Disagree;
    if (aborted())
      return Result::Aborted;
    // Who has a part in it has not begun. What has begun comes to an end.
    if (haveStarted(task, number, true)) {
      end = Clock::now() + timeout;
    } else if (Clock::now() >= end) {
      // They may wait for another one in turn: the rank that is furthest behind holds the others up.
      auto behind = [](const Seat &a, const Seat &b) { return a.started() < b.started(); };
      other = static_cast<int>(std::min_element(seats.begin(), seats.end(), behind) - seats.begin());
      return Result::TimedOut;
    }
    changed.wait_for(lock, pollInterval);
  }
  time = task.time;
  seat.open.pop_front();
  ++seat.finished;
  return Result::Done;
}

void Exchange::reset() {
  std::unique_lock lock(mutex);
  while (std::any_of(seats.begin(), seats.end(), [](const Seat &seat) { return seat.busy; }))
    changed.wait_for(lock, pollInterval);
  for (Seat &seat : seats) {
    seat.open.clear();
    seat.finished = seat.served = 0;
    seat.free = {};
    seat.disagrees = false;
  }
}

} // namespace caat::runtime
