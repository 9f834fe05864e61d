// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Double.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace caat::test {

static thread_local Clock known; // by the calling thread

static void raise(Clock &clock, const Clock &other) {
  clock.resize(std::max(clock.size(), other.size()));
  for (size_t i = 0; i < other.size(); ++i)
    clock[i] = std::max(clock[i], other[i]);
}

Double &Double::get() {
  static Double *instance = new Double; // outlives all threads
  return *instance;
}

int64_t Double::number(const char *variable, int64_t otherwise) {
  const char *value = std::getenv((std::string("CAAT_DOUBLE_") + variable).c_str());
  return value ? std::atoll(value) : otherwise;
}

Double::Double()
    : memoryBytes(static_cast<size_t>(number("MEMORY", int64_t{8} << 30))), forgotten(number("FORGET_WAIT", 0)) {
  if (number("COUNT", 0))
    std::atexit([] {
      std::cerr << "CUDA double: " << get().graphs << " graphs ran, " << get().sums << " sums over shared memory, "
                << get().sumsInKernels << " in kernels" << std::endl;
    });
  logs = std::getenv("CAAT_DOUBLE_LOG");
  if (logs)
    std::atexit([] { get().writeLog(std::getenv("CAAT_DOUBLE_LOG")); });
}

void Double::writeLog(const char *path) const {
  std::ofstream file(path);
  for (const Operation &operation : log) {
    file << operation.stream << '\t';
    for (uint64_t time : operation.clock)
      file << time << ' ';
    file << '\t' << operation.what << '\n';
  }
}

bool Double::fault(const std::string &text) {
  if (!failed)
    std::cerr << "CUDA double: " << text << std::endl;
  failed = true;
  return false;
}

/// A file of the folder CAAT_DOUBLE_SHARED; made where it is given a size.
static void *openFile(const std::string &name, size_t bytes) {
  std::string path = std::string(std::getenv("CAAT_DOUBLE_SHARED")) + "/" + name;
  int file = open(path.c_str(), O_RDWR | O_CLOEXEC | (bytes ? O_CREAT : 0), 0600);
  struct stat status{};
  void *memory = MAP_FAILED;
  if (file >= 0 && (bytes == 0 || ftruncate(file, static_cast<off_t>(bytes)) == 0) && fstat(file, &status) == 0)
    memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0)
    close(file);
  return memory == MAP_FAILED ? nullptr : memory;
}

std::string Double::share(void *memory) const {
  auto found = blocks.find(reinterpret_cast<uint64_t>(memory));
  return found == blocks.end() ? "" : found->second.name;
}

void *Double::openShared(const std::string &name) const {
  return std::getenv("CAAT_DOUBLE_SHARED") ? openFile(name, 0) : nullptr;
}

void *Double::allocate(size_t bytes, bool pinned) {
  constexpr size_t alignment = 256, guard = 256;
  size_t room = (bytes + guard + alignment - 1) / alignment * alignment;
  std::string name;
  void *memory = nullptr;
  if (std::getenv("CAAT_DOUBLE_SHARED") && !pinned) {
    name = "memory-" + std::to_string(getpid()) + "-" + std::to_string(++shared);
    memory = openFile(name, room);
  } else {
    memory = std::aligned_alloc(alignment, room);
  }
  if (!pinned)
    std::memset(memory, 0xa5, bytes); // whatever was there
  blocks[reinterpret_cast<uint64_t>(memory)] = {bytes, pinned, name, {}};
  used += pinned ? 0 : bytes;
  return memory;
}

bool Double::release(void *memory, bool pinned) {
  auto found = blocks.find(reinterpret_cast<uint64_t>(memory));
  if (found == blocks.end() || found->second.pinned != pinned)
    return fault("memory is freed that was not allocated");
  used -= pinned ? 0 : found->second.bytes;
  if (found->second.name.empty())
    std::free(memory);
  else
    munmap(memory, found->second.bytes); // the file goes with its folder
  blocks.erase(found);
  return true;
}

bool Double::isDevice(uint64_t address) const {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin())
    return false;
  const auto &[begin, block] = *std::prev(next);
  return !block.pinned && address < begin + block.bytes;
}

Stream *Double::makeStream() {
  auto *stream = new Stream{streams++, {}, {}, {}};
  stream->clock.resize(streams);
  return stream;
}

void Double::order(Stream &stream) { raise(stream.clock, known); }
void Double::join(const Clock &clock) { raise(known, clock); }

void Double::record(Event &event, Stream &stream) {
  if (stream.capturing)
    fault("an event is recorded on a stream that is captured");
  order(stream);
  event.recorded = true;
  event.time = std::chrono::steady_clock::now();
  event.clock = stream.clock;
}

bool Double::wait(Stream &stream, const Event &event) {
  if (stream.capturing)
    return fault("a stream that is captured waits for an event");
  if (!event.recorded)
    return fault("a stream waits for an event that was never recorded");
  if (++waits != forgotten)
    raise(stream.clock, event.clock);
  return !failed;
}

bool Double::operate(Stream &stream, const std::string &what, const std::vector<Access> &accesses) {
  order(stream);
  ++stream.clock[stream.number];
  if (logs)
    log.push_back({stream.number, stream.clock, what});
  for (const Access &access : accesses)
    if (access.begin < access.end && !check(stream, what, access))
      return false;
  return !failed;
}

bool Double::check(Stream &stream, const std::string &what, const Access &access) {
  auto next = blocks.upper_bound(access.begin);
  if (next == blocks.begin())
    return fault("'" + what + "' touches memory that was never allocated");
  auto &[begin, block] = *std::prev(next);
  if (access.begin >= begin + block.bytes)
    return fault("'" + what + "' touches memory that was never allocated");
  if (access.end > begin + block.bytes)
    return fault("'" + what + "' touches bytes [" + std::to_string(access.begin - begin) + ", " +
                 std::to_string(access.end - begin) + ") of an allocation of " + std::to_string(block.bytes));
  for (const Block::Past &past : block.past) {
    bool overlaps = past.access.begin < access.end && access.begin < past.access.end;
    bool ordered = past.stream < stream.clock.size() && past.time <= stream.clock[past.stream];
    if (overlaps && !ordered && (past.access.writes || access.writes))
      return fault("'" + what + "' " + (access.writes ? "writes" : "reads") + " what '" + past.what + "' " +
                   (past.access.writes ? "writes" : "reads") + " on another stream, with nothing to order them");
  }
  // What later accesses are ordered with by way of this one need not be kept.
  std::erase_if(block.past, [&](const Block::Past &past) {
    bool covered = access.begin <= past.access.begin && past.access.end <= access.end;
    bool same = past.stream == stream.number;
    return covered && (access.writes || (same && !past.access.writes));
  });
  block.past.push_back({access, stream.number, stream.clock[stream.number], what});
  return true;
}

} // namespace caat::test
