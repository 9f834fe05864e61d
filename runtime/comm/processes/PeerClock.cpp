// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeersState.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>

namespace caat::runtime {

using namespace wire;
using std::chrono::milliseconds;

static constexpr int clockTurns = 8;
static constexpr int64_t mostShift = int64_t(24) * 3600 * 1000; // ms

/// What a test adds to this process's clock, which is that of the others' otherwise: CAAT_TEST_CLOCK_SHIFT, in ms.
static int64_t clockShift() {
  static const milliseconds shift(environment::number("CAAT_TEST_CLOCK_SHIFT", 0, {-mostShift, mostShift}));
  return Clock::duration(shift).count();
}
int64_t wire::now() { return Clock::now().time_since_epoch().count() + clockShift(); }

/// In turn, before anything else is sent.
void Peers::State::agreeOnClock() {
  constexpr int turns = clockTurns;
  auto deadline = Clock::now() + timeout;
  auto lost = [&] { failRun("a process has ended while the ranks met"); };
  if (isRoot()) {
    for (auto &peer : peers)
      for (int turn = 0; turn < turns; ++turn) {
        int64_t time = now();
        if (!peer->socket.send(&time, sizeof time, deadline) || !peer->socket.receive(&time, sizeof time, deadline))
          lost();
      }
    return;
  }
  // The root's time of turn i + 1 lies between this side's answer i and its arrival.
  int64_t best = INT64_MAX, answered = 0;
  for (int turn = 0; turn < turns; ++turn) {
    int64_t time = 0;
    if (!peers[0]->socket.receive(&time, sizeof time, deadline))
      lost();
    int64_t arrived = now();
    if (turn > 0 && arrived - answered < best) {
      best = arrived - answered;
      first = last = {arrived, time - (answered + best / 2)};
    }
    answered = now();
    if (!peers[0]->socket.send(&answered, sizeof answered, deadline))
      lost();
  }
}

void Peers::measureClock() {
  State &s = *state;
  if (s.isRoot())
    return;
  int64_t best = INT64_MAX;
  for (int turn = 0; turn < clockTurns; ++turn) {
    int64_t asked = now();
    bool sent = s.send(*s.peers[0], Kind::Clock, 0, {});
    std::unique_lock lock(s.mutex);
    if (!sent || !s.changed.wait_for(lock, s.timeout, [&] { return s.answer || s.isAborted || s.peers[0]->isGone; }) ||
        !s.answer)
      failRun(s.isAborted ? s.reason : "rank 0 does not tell its time");
    if (int64_t way = s.answer->arrived - asked; way < best) {
      best = way;
      s.last = {s.answer->arrived, s.answer->time - (asked + way / 2)};
    }
    s.answer.reset();
  }
}

std::chrono::nanoseconds Peers::clockOffset(Clock::time_point at) const {
  const State::Measured &first = state->first, &last = state->last;
  int64_t time = at.time_since_epoch().count() + clockShift();
  double share = static_cast<double>(time - first.at) / static_cast<double>(std::max<int64_t>(last.at - first.at, 1));
  share = std::clamp(share, 0.0, 1.0);
  return std::chrono::nanoseconds(clockShift() + first.offset +
                                  static_cast<int64_t>(share * static_cast<double>(last.offset - first.offset)));
}

} // namespace caat::runtime
