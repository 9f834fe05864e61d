// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Turns.h"
#include "caat/runtime/Error.h"

namespace caat::runtime {

static size_t at(int half) { return static_cast<size_t>(half); }
static int otherOf(int half) { return 1 - half; }

Turns::Clock::time_point Turns::enter(int half) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return turn == half; });
  return since[at(half)];
}

void Turns::leave(int half) {
  std::lock_guard lock(mutex);
  ++passed[at(half)];
  if (!ended[0] && passed[1] > passed[0])
    failRun("the second half of a run came to a collective before the first one");
  int other = otherOf(half);
  if (ended[at(other)])
    return;
  turn = other;
  since[at(other)] = Clock::now();
  changed.notify_all();
}

void Turns::end(int half) {
  std::lock_guard lock(mutex);
  ended[at(half)] = true;
  turn = exchanging = otherOf(half);
  since[at(turn)] = Clock::now();
  changed.notify_all();
}

Turns::Exchange::Exchange(Turns &turns, int half) : turns(turns), half(half) {
  std::unique_lock lock(turns.mutex);
  turns.changed.wait(lock, [&] { return turns.exchanging == half; });
}

Turns::Exchange::~Exchange() {
  std::lock_guard lock(turns.mutex);
  if (!turns.ended[at(otherOf(half))])
    turns.exchanging = otherOf(half);
  turns.changed.notify_all();
}

} // namespace caat::runtime
