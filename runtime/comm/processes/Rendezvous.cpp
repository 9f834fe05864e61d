// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeersState.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>

namespace caat::runtime {

using namespace wire;
using std::chrono::milliseconds;

static constexpr int triedPorts = 16;
static constexpr char magic[8] = {'c', 'a', 'a', 't', 'r', 'u', 'n', '1'};

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

} // namespace caat::runtime
