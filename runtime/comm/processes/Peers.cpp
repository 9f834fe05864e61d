// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeersState.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>
#include <sys/eventfd.h>
#include <unistd.h>

namespace caat::runtime {

using namespace wire;
using std::chrono::milliseconds;

Peers::Peers(const World &world, milliseconds timeout) : world_(world), state(std::make_unique<State>(world, timeout)) {
  if (world.size == 1)
    return;
  state->progress.resize(static_cast<size_t>(world.size));
  world.rank == 0 ? state->waitForAll() : state->reachRoot();
  state->agreeOnClock();
  state->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  state->listener = std::thread([this] { state->listen(); });
}

/// Who leaves says so, and stays until the others have: what is not yet read of a closed connection may be lost.
Peers::~Peers() {
  if (!state->listener.joinable())
    return;
  for (auto &peer : state->peers)
    if (!peer->isGone)
      state->send(*peer, Kind::Bye, 0, {});
  {
    std::unique_lock lock(state->mutex);
    auto limit = state->isAborted ? std::min<milliseconds>(state->timeout, milliseconds(2000)) : state->timeout;
    state->changed.wait_for(lock, limit, [&] {
      return std::all_of(state->peers.begin(), state->peers.end(),
                         [](const auto &peer) { return peer->saidBye || peer->isGone; });
    });
  }
  state->stopping = true;
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(state->wake, &one, sizeof one);
  state->listener.join();
  close(state->wake);
}

void Peers::allGather(const char *name, const void *in, void *out, size_t bytes, uint64_t calls, milliseconds limit) {
  if (size() == 1) {
    if (bytes)
      std::memcpy(out, in, bytes);
    return;
  }
  State &s = *state;
  if (limit.count() == 0)
    limit = s.timeout;
  double seconds = static_cast<double>(limit.count()) / 1000;
  std::string what = std::string("'") + name + "'";
  GatherHead head{};
  std::strncpy(head.name, name, sizeof head.name - 1);
  head.calls = calls;
  head.bytes = bytes;
  uint64_t number = s.gathers++;
  if (s.isAborted)
    failRun(reason());
  auto *to = static_cast<char *>(out);
  auto lost = [&](size_t index) {
    std::string text = what + ": the process of " + s.nameOf(index) + " has ended";
    s.fail(text, std::nullopt);
    failRun(reason());
  };
  if (!s.isRoot()) {
    if (!s.send(*s.peers[0], Kind::Data, number, {{&head, sizeof head}, {in, bytes}}))
      lost(0);
    // Rank 0 notices who is late.
    Message all = s.await(0, what, Clock::now() + limit + milliseconds(2000) + limit / 4, seconds);
    if (all.body.size() != bytes * static_cast<size_t>(size()))
      failRun(what, ": a message of ", all.body.size(), " bytes");
    if (bytes)
      std::memcpy(to, all.body.data(), all.body.size());
    return;
  }
  auto until = Clock::now() + limit;
  if (bytes)
    std::memcpy(to, in, bytes);
  for (size_t i = 0; i < s.peers.size(); ++i) {
    Message part = s.await(i, what, until, seconds);
    GatherHead other{};
    std::string difference;
    if (part.body.size() >= sizeof other)
      std::memcpy(&other, part.body.data(), sizeof other);
    other.name[sizeof other.name - 1] = 0;
    if (part.body.size() != sizeof other + other.bytes || std::strcmp(other.name, head.name) != 0 ||
        other.bytes != bytes || part.header.number != number)
      difference = detail::concat(s.nameOf(i), " sends ", other.bytes, " bytes for '", other.name, "', rank 0 ", bytes,
                                  " for ", what);
    else if (calls && other.calls && other.calls != calls)
      difference = detail::concat("the ranks' collectives disagree: ", s.nameOf(i),
                                  " has called others than rank 0, or of other sizes, before ", what);
    if (!difference.empty()) {
      s.fail(difference, std::nullopt);
      failRun(difference);
    }
    if (bytes)
      std::memcpy(to + (i + 1) * bytes, part.body.data() + sizeof other, bytes);
  }
  for (size_t i = 0; i < s.peers.size(); ++i)
    if (!s.send(*s.peers[i], Kind::Data, number, {{to, bytes * static_cast<size_t>(size())}}))
      lost(i);
}

void Peers::abort(const std::string &reason) {
  if (size() > 1)
    return state->fail(reason, std::nullopt);
  std::lock_guard lock(state->mutex);
  if (!state->isAborted)
    state->reason = reason;
  state->isAborted = true;
}

bool Peers::aborted() const { return state->isAborted; }

std::string Peers::reason() const {
  std::lock_guard lock(state->mutex);
  return state->reason;
}

void Peers::onAbort(std::function<void()> then) {
  {
    std::lock_guard lock(state->mutex);
    if (!state->isAborted) {
      state->then = std::move(then);
      return;
    }
  }
  if (then)
    then();
}

milliseconds Peers::timeout() const { return state->timeout; }

void Peers::setProgress(uint64_t count) { state->mine = count; }

std::vector<uint64_t> Peers::progress() const {
  std::lock_guard lock(state->mutex);
  std::vector<uint64_t> all = state->progress;
  all.resize(static_cast<size_t>(size()));
  all[static_cast<size_t>(rank())] = state->mine;
  return all;
}

std::vector<std::vector<char>> Peers::gather(const char *name, const void *in, size_t bytes) {
  State &s = *state;
  std::string what = std::string("'") + name + "'";
  if (s.isAborted)
    failRun(reason());
  GatherHead head{};
  std::strncpy(head.name, name, sizeof head.name - 1);
  head.bytes = bytes;
  uint64_t number = s.gathers++;
  if (!s.isRoot()) {
    if (!s.send(*s.peers[0], Kind::Data, number, {{&head, sizeof head}, {in, bytes}})) {
      s.fail(what + ": the process of " + s.nameOf(0) + " has ended", std::nullopt);
      failRun(reason());
    }
    return {};
  }
  const char *begin = static_cast<const char *>(in);
  std::vector<std::vector<char>> all;
  all.emplace_back(begin, begin + bytes);
  auto until = Clock::now() + s.timeout;
  for (size_t i = 0; i < s.peers.size(); ++i) {
    Message part = s.await(i, what, until, static_cast<double>(s.timeout.count()) / 1000);
    if (part.body.size() < sizeof head || part.header.number != number ||
        std::strcmp(part.body.data() + offsetof(GatherHead, name), head.name) != 0) {
      s.fail(s.nameOf(i) + " sends something else than " + what, std::nullopt);
      failRun(reason());
    }
    part.body.erase(part.body.begin(), part.body.begin() + sizeof head);
    all.push_back(std::move(part.body));
  }
  return all;
}

} // namespace caat::runtime
