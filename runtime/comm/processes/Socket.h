// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// TCP between the processes of a program. All throw Error (Run).
#ifndef CAAT_RUNTIME_COMM_PROCESSES_SOCKET_H
#define CAAT_RUNTIME_COMM_PROCESSES_SOCKET_H

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace caat::runtime {

using Deadline = std::chrono::steady_clock::time_point;

class Socket {
public:
  Socket() = default;
  explicit Socket(int file) : file(file) {}
  Socket(Socket &&other) noexcept : file(std::exchange(other.file, -1)) {}
  Socket &operator=(Socket &&other) noexcept {
    std::swap(file, other.file);
    return *this;
  }
  ~Socket();

  int number() const { return file; }
  explicit operator bool() const { return file >= 0; }

  /// False where the peer has gone or the time is over.
  bool send(const void *data, size_t bytes, Deadline deadline) const;
  bool receive(void *data, size_t bytes, Deadline deadline) const;
  /// What has come, at least a byte unless the peer has gone (0); below 0 where nothing has.
  long receiveSome(void *data, size_t bytes) const;

private:
  int file = -1;
};

/// Listens at the first free one of `ports` ports from `port` on, which it becomes. An address of this machine only is
/// bound, so that nobody else is heard.
Socket listenAt(const std::string &address, int &port, int ports);
/// The next connection, or none when the time is over.
Socket acceptAt(const Socket &listening, Deadline deadline);
/// One attempt; `reason` says why it failed.
Socket connectTo(const std::string &address, int port, Deadline deadline, std::string &reason);

} // namespace caat::runtime

#endif
