// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Peers.h"
#include "Socket.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace caat::runtime {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int triedPorts = 16;
constexpr size_t mostBytes = size_t{1} << 34; // of a message
constexpr char magic[8] = {'c', 'a', 'a', 't', 'r', 'u', 'n', '1'};

/// The first that both sides send.
struct Hello {
  char magic[8];
  int32_t rank, size, refused;
  char text[116]; // why
};

enum class Kind : uint32_t { Data, Abort, Progress, Clock, Bye };
struct Header {
  Kind kind;
  uint32_t unused;
  uint64_t number; // of the gather; the count of Progress; rank 0's time of Clock
  uint64_t bytes;  // that follow
};

/// Of a gather, before the bytes.
struct GatherHead {
  char name[40];
  uint64_t calls, bytes;
};

struct Message {
  Header header;
  std::vector<char> body;
};

/// One connection: whole messages are read from it as their bytes come.
struct Peer {
  Socket socket;
  std::mutex sending;
  std::vector<char> bytes; // not yet a whole message
  std::deque<Message> gathers;
  bool saidBye = false, isGone = false;
};

} // namespace

struct Peers::State {
  State(const World &world, milliseconds timeout) : world(world), timeout(timeout) {}
  bool isRoot() const { return world.rank == 0; }

  void waitForAll();
  void reachRoot();
  std::optional<Socket> greet(int port, Deadline deadline, std::string &reason);
  void agreeOnClock();
  bool send(Peer &peer, Kind kind, uint64_t number, std::initializer_list<std::pair<const void *, size_t>> parts);
  void listen();
  void read(size_t index);
  void take(size_t index, Message message);
  void lose(size_t index);
  void tick();
  void fail(const std::string &text, std::optional<size_t> from);
  std::string nameOf(size_t index) const;
  Message await(size_t index, const std::string &what, Clock::time_point until, double seconds);

  World world;
  milliseconds timeout;
  std::vector<std::unique_ptr<Peer>> peers; // rank 0: of rank i + 1; others: rank 0 alone
  std::thread listener;
  int wake = -1;
  std::atomic<bool> stopping = false, isAborted = false;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::string reason;
  std::function<void()> then;
  uint64_t gathers = 0;
  std::atomic<uint64_t> mine = 0;
  std::vector<uint64_t> progress;

  /// What was added to this process's clock to get rank 0's, and when.
  struct Measured {
    int64_t at = 0, offset = 0;
  };
  Measured first, last;
  struct Answer {
    int64_t time, arrived;
  };
  std::optional<Answer> answer; // of rank 0, to who asks for its time
};

std::string Peers::State::nameOf(size_t index) const { return "rank " + std::to_string(isRoot() ? index + 1 : 0); }

/// Rank 0: the others come in any order. Who is no caat, or stays silent, is sent away.
void Peers::State::waitForAll() {
  auto deadline = Clock::now() + timeout;
  int first = world.port;
  Socket listening = listenAt(world.address, world.port, triedPorts);
  peers.resize(static_cast<size_t>(world.size) - 1);
  size_t there = 0;
  while (there < peers.size()) {
    Socket socket = acceptAt(listening, deadline);
    if (!socket) {
      std::string missing;
      for (size_t i = 0; i < peers.size(); ++i)
        if (!peers[i])
          missing += (missing.empty() ? "" : ", ") + std::to_string(i + 1);
      failRun("after ", static_cast<double>(timeout.count()) / 1000, " s at ", world.address, ":", world.port, " ",
              there + 1, " of ", world.size, " ranks are there (", world.origin, "); missing: ", missing);
    }
    Hello hello{}, answer{};
    auto soon = std::min(deadline, Clock::now() + milliseconds(2000));
    if (!socket.receive(&hello, sizeof hello, soon) || std::memcmp(hello.magic, magic, sizeof magic) != 0)
      continue;
    std::memcpy(answer.magic, magic, sizeof magic);
    answer.size = world.size;
    std::string refusal;
    auto index = static_cast<size_t>(hello.rank) - 1;
    if (hello.size != world.size)
      refusal = "it counts " + std::to_string(hello.size) + " ranks, rank 0 " + std::to_string(world.size);
    else if (hello.rank < 1 || hello.rank >= world.size || peers[index])
      refusal = "there is a rank " + std::to_string(hello.rank) + " already";
    answer.refused = !refusal.empty();
    std::strncpy(answer.text, refusal.c_str(), sizeof answer.text - 1);
    if (!socket.send(&answer, sizeof answer, soon) || answer.refused)
      continue;
    peers[index] = std::make_unique<Peer>();
    peers[index]->socket = std::move(socket);
    ++there;
  }
  world.port = first;
}

/// Says hello at a port; nothing where nobody of caat answers.
std::optional<Socket> Peers::State::greet(int port, Deadline deadline, std::string &reason) {
  auto soon = std::min(deadline, Clock::now() + milliseconds(2000));
  Socket socket = connectTo(world.address, port, soon, reason);
  Hello hello{}, answer{};
  std::memcpy(hello.magic, magic, sizeof magic);
  hello.rank = world.rank;
  hello.size = world.size;
  if (!socket || !socket.send(&hello, sizeof hello, soon))
    return std::nullopt;
  if (!socket.receive(&answer, sizeof answer, soon) || std::memcmp(answer.magic, magic, sizeof magic) != 0 ||
      answer.rank != 0) {
    reason = "something else listens there";
    return std::nullopt;
  }
  if (answer.refused)
    failRun("rank 0 at ", world.address, ":", port, " refuses rank ", world.rank, ": ",
            std::string(answer.text, strnlen(answer.text, sizeof answer.text)), " (", world.origin, ")");
  return socket;
}

void Peers::State::reachRoot() {
  auto deadline = Clock::now() + timeout;
  std::string reason = "no answer";
  do {
    for (int port = world.port; port < world.port + triedPorts; ++port)
      if (auto socket = greet(port, deadline, reason)) {
        peers.push_back(std::make_unique<Peer>());
        peers[0]->socket = std::move(*socket);
        return;
      }
    std::this_thread::sleep_for(milliseconds(50));
  } while (Clock::now() < deadline);
  failRun("rank ", world.rank, " does not reach rank 0 at ", world.address, ", ports ", world.port, " to ",
          world.port + triedPorts - 1, " (MASTER_ADDR, MASTER_PORT), after ",
          static_cast<double>(timeout.count()) / 1000, " s: ", reason);
}

constexpr int clockTurns = 8;

/// What a test adds to this process's clock, which is that of the others' otherwise: CAAT_TEST_CLOCK_SHIFT, in ms.
static int64_t clockShift() {
  static const char *shift = std::getenv("CAAT_TEST_CLOCK_SHIFT");
  return shift ? Clock::duration(milliseconds(std::atoll(shift))).count() : 0;
}
static int64_t now() { return Clock::now().time_since_epoch().count() + clockShift(); }

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
