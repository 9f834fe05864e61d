// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Socket.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace caat::runtime {

namespace {

int millisecondsUntil(Deadline deadline) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<long long>(left.count(), 0, 1 << 30));
}

/// False when the time is over.
bool waitFor(int file, short events, Deadline deadline) {
  while (true) {
    pollfd poll{file, events, 0};
    int ready = ::poll(&poll, 1, millisecondsUntil(deadline));
    if (ready > 0)
      return true;
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

std::unique_ptr<addrinfo, void (*)(addrinfo *)> resolve(const std::string &address, int port, std::string &reason) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  if (int error = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found)) {
    reason = gai_strerror(error);
    found = nullptr;
  }
  return {found, [](addrinfo *all) {
            if (all)
              freeaddrinfo(all);
          }};
}

Socket open(const addrinfo &info) {
  return Socket(::socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info.ai_protocol));
}

/// Small messages go at once; a machine that is gone without a word is noticed.
void tune(const Socket &socket) {
  auto set = [&](int level, int option, int value) {
    setsockopt(socket.number(), level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

} // namespace

Socket::~Socket() {
  if (file >= 0)
    close(file);
}

bool Socket::send(const void *data, size_t bytes, Deadline deadline) const {
  const auto *from = static_cast<const char *>(data);
  while (bytes > 0) {
    ssize_t sent = ::send(file, from, bytes, MSG_NOSIGNAL);
    if (sent > 0) {
      from += sent;
      bytes -= static_cast<size_t>(sent);
    } else if (errno != EINTR && (errno != EAGAIN || !waitFor(file, POLLOUT, deadline))) {
      return false;
    }
  }
  return true;
}

bool Socket::receive(void *data, size_t bytes, Deadline deadline) const {
  auto *to = static_cast<char *>(data);
  while (bytes > 0) {
    if (!waitFor(file, POLLIN, deadline))
      return false;
    long got = receiveSome(to, bytes);
    if (got == 0)
      return false;
    if (got > 0) {
      to += got;
      bytes -= static_cast<size_t>(got);
    }
  }
  return true;
}

long Socket::receiveSome(void *data, size_t bytes) const {
  ssize_t got = recv(file, data, bytes, 0);
  if (got >= 0)
    return got;
  return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

Socket listenAt(const std::string &address, int &port, int ports) {
  std::string reason;
  for (int number = port; number < port + ports; ++number) {
    auto all = resolve(address, number, reason);
    if (!all)
      failRun("MASTER_ADDR '", address, "': ", reason);
    for (const addrinfo *info = all.get(); info; info = info->ai_next) {
      Socket socket = open(*info);
      int on = 1;
      setsockopt(socket.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      if (socket && bind(socket.number(), info->ai_addr, info->ai_addrlen) == 0 && listen(socket.number(), 256) == 0) {
        port = number;
        return socket;
      }
      reason = std::strerror(errno);
      if (errno == EADDRNOTAVAIL)
        reason += ": rank 0 must run on the machine that MASTER_ADDR names";
    }
  }
  failRun("rank 0 cannot listen at ", address, ", ports ", port, " to ", port + ports - 1, ": ", reason);
}

Socket acceptAt(const Socket &listening, Deadline deadline) {
  if (!waitFor(listening.number(), POLLIN, deadline))
    return {};
  Socket socket(accept4(listening.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket)
    tune(socket);
  return socket;
}

Socket connectTo(const std::string &address, int port, Deadline deadline, std::string &reason) {
  auto all = resolve(address, port, reason);
  for (const addrinfo *info = all.get(); info; info = info->ai_next) {
    Socket socket = open(*info);
    if (!socket)
      continue;
    int error = connect(socket.number(), info->ai_addr, info->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      socklen_t size = sizeof error;
      if (!waitFor(socket.number(), POLLOUT, deadline))
        error = ETIMEDOUT;
      else
        getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) {
      tune(socket);
      return socket;
    }
    reason = std::strerror(error);
  }
  return {};
}

} // namespace caat::runtime
