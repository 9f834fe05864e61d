// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeersState.h"
#include "caat/runtime/Error.h"
#include <cstring>
#include <poll.h>
#include <unistd.h>

namespace caat::runtime {

using namespace wire;
using std::chrono::milliseconds;

static constexpr size_t mostBytes = size_t{1} << 34; // of a message

std::string Peers::State::nameOf(size_t index) const { return "rank " + std::to_string(isRoot() ? index + 1 : 0); }

bool Peers::State::send(Peer &peer, Kind kind, uint64_t number,
                        std::initializer_list<std::pair<const void *, size_t>> parts) {
  Header header{kind, 0, number, 0};
  for (const auto &[data, bytes] : parts)
    header.bytes += bytes;
  std::lock_guard lock(peer.sending);
  auto deadline = Clock::now() + timeout;
  if (!peer.socket.send(&header, sizeof header, deadline))
    return false;
  for (const auto &[data, bytes] : parts)
    if (!peer.socket.send(data, bytes, deadline))
      return false;
  return true;
}

/// The listening thread.
void Peers::State::listen() {
  auto pause = std::clamp(timeout / 4, milliseconds(20), milliseconds(500));
  while (!stopping) {
    std::vector<pollfd> files{{wake, POLLIN, 0}};
    std::vector<size_t> indices{0};
    for (size_t i = 0; i < peers.size(); ++i)
      if (!peers[i]->isGone) {
        files.push_back({peers[i]->socket.number(), POLLIN, 0});
        indices.push_back(i);
      }
    ::poll(files.data(), files.size(), static_cast<int>(pause.count()));
    for (size_t i = 1; i < files.size(); ++i)
      if (files[i].revents)
        read(indices[i]);
    tick();
  }
}

void Peers::State::read(size_t index) {
  Peer &peer = *peers[index];
  char buffer[1 << 16];
  long got;
  while ((got = peer.socket.receiveSome(buffer, sizeof buffer)) > 0)
    peer.bytes.insert(peer.bytes.end(), buffer, buffer + got);
  size_t at = 0;
  while (peer.bytes.size() - at >= sizeof(Header)) {
    Message message;
    std::memcpy(&message.header, peer.bytes.data() + at, sizeof(Header));
    size_t bytes = message.header.bytes;
    if (bytes > mostBytes)
      return lose(index);
    if (peer.bytes.size() - at - sizeof(Header) < bytes)
      break;
    auto begin = peer.bytes.begin() + static_cast<std::ptrdiff_t>(at + sizeof(Header));
    message.body.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes));
    at += sizeof(Header) + bytes;
    take(index, std::move(message));
  }
  peer.bytes.erase(peer.bytes.begin(), peer.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  if (got == 0) // gone; what it has said before counts
    lose(index);
}

void Peers::State::take(size_t index, Message message) {
  switch (message.header.kind) {
  case Kind::Data: {
    std::lock_guard lock(mutex);
    peers[index]->gathers.push_back(std::move(message));
    changed.notify_all();
    return;
  }
  case Kind::Abort:
    return fail({message.body.begin(), message.body.end()}, index);
  case Kind::Progress: {
    std::lock_guard lock(mutex);
    if (isRoot())
      progress[index + 1] = message.header.number;
    else if (message.body.size() == progress.size() * sizeof(uint64_t))
      std::memcpy(progress.data(), message.body.data(), message.body.size());
    return;
  }
  case Kind::Clock: {
    if (isRoot()) {
      send(*peers[index], Kind::Clock, static_cast<uint64_t>(now()), {});
      return;
    }
    std::lock_guard lock(mutex);
    answer = {static_cast<int64_t>(message.header.number), now()};
    changed.notify_all();
    return;
  }
  case Kind::Bye: {
    std::lock_guard lock(mutex);
    peers[index]->saidBye = true;
    changed.notify_all();
    return;
  }
  default:
    return lose(index);
  }
}

void Peers::State::lose(size_t index) {
  bool expected;
  {
    std::lock_guard lock(mutex);
    peers[index]->isGone = true;
    expected = peers[index]->saidBye || stopping;
    changed.notify_all();
  }
  if (!expected)
    fail("the process of " + nameOf(index) + " has ended", std::nullopt);
}

/// Tells how far everybody has come.
void Peers::State::tick() {
  std::vector<uint64_t> all;
  {
    std::lock_guard lock(mutex);
    uint64_t now = mine;
    auto me = static_cast<size_t>(world.rank);
    if (!isRoot() && progress[me] == now)
      return;
    progress[me] = now;
    all = progress;
  }
  for (auto &peer : peers)
    if (!peer->isGone && !peer->saidBye)
      send(*peer, Kind::Progress, all[static_cast<size_t>(world.rank)],
           {{all.data(), isRoot() ? all.size() * sizeof(uint64_t) : 0}});
}

/// The first failure counts, and goes to all; `from`: who has told of it.
void Peers::State::fail(const std::string &text, std::optional<size_t> from) {
  std::function<void()> call;
  {
    std::lock_guard lock(mutex);
    if (isAborted)
      return;
    reason = text;
    isAborted = true;
    call = then;
    changed.notify_all();
  }
  for (size_t i = 0; i < peers.size(); ++i)
    if (i != from && !peers[i]->isGone)
      send(*peers[i], Kind::Abort, 0, {{text.data(), text.size()}});
  if (call)
    call();
}

Message Peers::State::await(size_t index, const std::string &what, Clock::time_point until, double seconds) {
  std::unique_lock lock(mutex);
  Peer &peer = *peers[index];
  bool came = changed.wait_until(lock, until,
                                 [&] { return isAborted || peer.isGone || peer.saidBye || !peer.gathers.empty(); });
  if (isAborted)
    failRun(reason);
  if (!peer.gathers.empty()) {
    Message message = std::move(peer.gathers.front());
    peer.gathers.pop_front();
    return message;
  }
  lock.unlock();
  std::string text = came ? what + ": the process of " + nameOf(index) + " has ended"
                          : detail::concat(what, " timed out after ", seconds, " s on rank ", world.rank,
                                           ": waiting for ", nameOf(index));
  fail(text, std::nullopt);
  failRun(text);
}

} // namespace caat::runtime
