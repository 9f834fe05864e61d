// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The connections of a process, and what it does over them: Rendezvous.cpp makes them, PeerMessages.cpp listens to
// them, PeerClock.cpp compares clocks.
#ifndef CAAT_RUNTIME_COMM_PROCESSES_PEERSSTATE_H
#define CAAT_RUNTIME_COMM_PROCESSES_PEERSSTATE_H

#include "Socket.h"
#include "caat/runtime/Peers.h"
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace caat::runtime {

namespace wire {
using Clock = std::chrono::steady_clock;

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
  std::atomic<bool> saidBye = false, isGone = false; // read by who sends, without the mutex
};

/// This process's clock, in nanoseconds.
int64_t now();
} // namespace wire

struct Peers::State {
  State(const World &world, std::chrono::milliseconds timeout) : world(world), timeout(timeout) {}
  bool isRoot() const { return world.rank == 0; }

  void waitForAll();
  void reachRoot();
  std::optional<Socket> greet(int port, Deadline deadline, std::string &reason);
  void agreeOnClock();
  bool send(wire::Peer &peer, wire::Kind kind, uint64_t number,
            std::initializer_list<std::pair<const void *, size_t>> parts);
  void listen();
  void read(size_t index);
  void take(size_t index, wire::Message message);
  void lose(size_t index);
  void tick();
  void fail(const std::string &text, std::optional<size_t> from);
  std::string nameOf(size_t index) const;
  wire::Message await(size_t index, const std::string &what, wire::Clock::time_point until, double seconds);

  World world;
  std::chrono::milliseconds timeout;
  std::vector<std::unique_ptr<wire::Peer>> peers; // rank 0: of rank i + 1; others: rank 0 alone
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

} // namespace caat::runtime

#endif
