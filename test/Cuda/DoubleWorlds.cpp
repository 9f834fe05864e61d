// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "DoubleWorlds.h"
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

Stream &of(CUstream stream) { return *reinterpret_cast<Stream *>(stream); }

Access access(const void *data, size_t bytes, bool writes) {
  auto address = reinterpret_cast<uint64_t>(data);
  return {address, address + bytes, writes};
}

bool operate(const Call &call, size_t inputs, size_t outputs) {
  size_t size = sizeOfType(call.type);
  return Double::get().operate(of(call.stream), call.name,
                               {access(call.in, inputs * size, false), access(call.out, outputs * size, true)});
}

bool isSend(const Call &call) { return !std::strcmp(call.name, "ncclSend"); }

bool operate(const Call &call) { return operate(call, isSend(call) ? call.count : 0, isSend(call) ? 0 : call.count); }

ncclResult_t differ(const std::string &a, size_t countA, const std::string &b, size_t countB) {
  Double::get().fault("ranks call " + a + " of " + std::to_string(countA) + " and " + b + " of " +
                      std::to_string(countB) + " elements");
  return ncclInvalidUsage;
}

ncclResult_t differ(const Call &a, int captured) {
  Double::get().fault(std::string("the ranks' calls of ") + a.name + " are not of the same capture: " +
                      std::to_string(a.captured) + " and " + std::to_string(captured) + " (0: of none)");
  return ncclInvalidUsage;
}

/// Ranks that are threads of this process.
class ThreadWorld final : public World {
public:
  explicit ThreadWorld(size_t size) : calls(size), computes(size), groups(size) {}
  size_t size() const override { return calls.size(); }

  ncclResult_t collective(size_t rank, const Call &call, size_t inputs, size_t outputs,
                          const Compute &compute) override {
    return meet([&] { calls[rank] = call, computes[rank] = &compute; }, [&] { return runCollective(inputs, outputs); });
  }
  ncclResult_t exchange(size_t rank, const std::vector<Call> &mine) override {
    return meet([&] { groups[rank] = mine; }, [&] { return runExchange(); });
  }
  void abort() override {
    std::lock_guard lock(mutex);
    aborted = true;
    changed.notify_all();
  }

private:
  /// Waits for all ranks; the last one runs `all`.
  ncclResult_t meet(const std::function<void()> &post, const std::function<ncclResult_t()> &all) {
    std::unique_lock lock(mutex);
    post();
    uint64_t now = generation;
    if (++arrived == calls.size()) {
      std::lock_guard whole(Double::get().mutex);
      status = all();
      arrived = 0;
      ++generation;
      changed.notify_all();
    } else {
      changed.wait(lock, [&] { return aborted || generation != now; });
    }
    return aborted ? ncclInvalidUsage : status;
  }

  ncclResult_t runCollective(size_t inputs, size_t outputs) {
    const Call &first = calls[0];
    std::vector<std::vector<char>> copies;
    Inputs all;
    for (const Call &other : calls) {
      if (std::strcmp(first.name, other.name) || first.count != other.count || first.type != other.type ||
          first.root != other.root)
        return differ(first.name, first.count, other.name, other.count);
      if (first.captured != other.captured)
        return differ(first, other.captured);
      if (!operate(other, inputs, outputs))
        return ncclUnhandledCudaError;
      const char *in = static_cast<const char *>(other.in);
      copies.emplace_back(in, in + inputs * sizeOfType(other.type));
    }
    for (const auto &copy : copies)
      all.push_back(copy.data());
    bool good = true;
    for (size_t r = 0; r < calls.size(); ++r)
      good = good && (*computes[r])(all, r);
    joinStreams([&](size_t r) { return calls[r].stream; });
    return good ? ncclSuccess : ncclInvalidUsage;
  }

  ncclResult_t runExchange() {
    Double &d = Double::get();
    std::map<std::pair<size_t, size_t>, std::vector<const Call *>> sends, receives;
    for (size_t r = 0; r < groups.size(); ++r)
      for (const Call &call : groups[r]) {
        auto peer = static_cast<size_t>(call.root);
        (isSend(call) ? sends[{r, peer}] : receives[{peer, r}]).push_back(&call);
        if (!operate(call))
          return ncclUnhandledCudaError;
      }
    for (const auto &[pair, list] : sends) {
      const auto &other = receives[pair];
      if (list.size() != other.size()) {
        d.fault("rank " + std::to_string(pair.first) + " sends " + std::to_string(list.size()) + " times to rank " +
                std::to_string(pair.second) + ", which receives " + std::to_string(other.size()) + " times");
        return ncclInvalidUsage;
      }
      for (size_t i = 0; i < list.size(); ++i) {
        if (list[i]->count != other[i]->count || list[i]->type != other[i]->type)
          return differ("ncclSend", list[i]->count, "ncclRecv", other[i]->count);
        if (list[i]->captured != other[i]->captured)
          return differ(*list[i], other[i]->captured);
        std::memmove(other[i]->out, list[i]->in, list[i]->count * sizeOfType(list[i]->type));
      }
    }
    joinStreams([&](size_t r) { return groups[r].front().stream; });
    return ncclSuccess;
  }

  /// Every stream continues behind the others.
  void joinStreams(const std::function<CUstream(size_t)> &stream) {
    Clock all;
    for (size_t r = 0; r < calls.size(); ++r) {
      const Clock &clock = of(stream(r)).clock;
      all.resize(std::max(all.size(), clock.size()));
      for (size_t i = 0; i < clock.size(); ++i)
        all[i] = std::max(all[i], clock[i]);
    }
    for (size_t r = 0; r < calls.size(); ++r) {
      of(stream(r)).clock = all;
      Double::get().order(of(stream(r)));
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Call> calls;
  std::vector<const Compute *> computes;
  std::vector<std::vector<Call>> groups; // sends and receives of each rank
  size_t arrived = 0;
  uint64_t generation = 0;
  ncclResult_t status = ncclSuccess;
  bool aborted = false;
};

constexpr size_t mostRanks = 16, mostParts = 256, mailboxBytes = size_t{64} << 20;

/// What a rank has called: a collective, or its sends.
struct Note {
  char name[24];
  size_t count;
  int type, root, captured;
  size_t at; // its bytes in the rank's mailbox
};
struct Control {
  std::atomic<uint32_t> arrived, generation;
  struct {
    uint32_t parts;
    Note notes[mostParts];
  } of[mostRanks];
};

/// Ranks that are processes: each has a mailbox, a file that all map.
class ProcessWorld final : public World {
public:
  ProcessWorld(const std::string &path, size_t size) : ranks(size) {
    control = static_cast<Control *>(map(path, sizeof(Control)));
    for (size_t r = 0; r < size; ++r)
      boxes.push_back(static_cast<char *>(map(path + "-" + std::to_string(r), mailboxBytes)));
  }
  size_t size() const override { return ranks; }

  ncclResult_t collective(size_t rank, const Call &call, size_t inputs, size_t outputs,
                          const Compute &compute) override {
    post(rank, {call}, inputs);
    if (!meet())
      return ncclInvalidUsage;
    std::unique_lock lock(Double::get().mutex);
    bool good = operate(call, inputs, outputs);
    Inputs all;
    for (size_t r = 0; r < ranks; ++r) {
      const Note &other = control->of[r].notes[0];
      if (std::strcmp(call.name, other.name) || call.count != other.count || call.type != other.type ||
          call.root != other.root)
        return differ(call.name, call.count, other.name, other.count);
      if (call.captured != other.captured)
        return differ(call, other.captured);
      all.push_back(boxes[r]);
    }
    good = good && compute(all, rank);
    lock.unlock();
    return meet() && good ? ncclSuccess : ncclInvalidUsage;
  }

  ncclResult_t exchange(size_t rank, const std::vector<Call> &calls) override {
    std::vector<Call> sends;
    for (const Call &call : calls)
      if (isSend(call))
        sends.push_back(call);
    post(rank, sends, 0);
    if (!meet())
      return ncclInvalidUsage;
    std::unique_lock lock(Double::get().mutex);
    bool good = true;
    std::vector<size_t> taken(ranks); // sends of each rank to this one
    for (const Call &call : calls) {
      good = good && operate(call);
      if (isSend(call))
        continue;
      auto from = static_cast<size_t>(call.root);
      const Note *note = sendTo(from, rank, taken[from]++);
      if (!note || note->count != call.count || note->type != call.type)
        return differ("ncclRecv", call.count, "ncclSend", note ? note->count : 0);
      if (note->captured != call.captured)
        return differ(call, note->captured);
      std::memcpy(call.out, boxes[from] + note->at, call.count * sizeOfType(call.type));
    }
    lock.unlock();
    return meet() && good ? ncclSuccess : ncclInvalidUsage;
  }
  void abort() override { aborted = true; }

private:
  static void *map(const std::string &path, size_t bytes) {
    int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *memory = file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0
                       ? MAP_FAILED
                       : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
      close(file);
    if (memory == MAP_FAILED)
      std::abort();
    return memory;
  }

  void post(size_t rank, const std::vector<Call> &calls, size_t inputs) {
    auto &mine = control->of[rank];
    mine.parts = 0;
    size_t at = 0;
    for (const Call &call : calls) {
      size_t bytes = (inputs ? inputs : call.count) * sizeOfType(call.type);
      if (mine.parts == mostParts || at + bytes > mailboxBytes)
        std::abort();
      Note &note = mine.notes[mine.parts++];
      note = {{}, call.count, call.type, call.root, call.captured, at};
      std::strncpy(note.name, call.name, sizeof note.name - 1);
      std::memcpy(boxes[rank] + at, call.in, bytes);
      at += bytes;
    }
  }

  const Note *sendTo(size_t from, size_t to, size_t number) const {
    const auto &other = control->of[from];
    for (uint32_t i = 0; i < other.parts; ++i)
      if (other.notes[i].root == static_cast<int>(to) && number-- == 0)
        return &other.notes[i];
    return nullptr;
  }

  /// False after an abort.
  bool meet() {
    uint32_t now = control->generation;
    if (++control->arrived == ranks) {
      control->arrived = 0;
      ++control->generation;
    }
    while (control->generation == now && !aborted)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    return !aborted;
  }

  size_t ranks;
  Control *control;
  std::vector<char *> boxes;
  std::atomic<bool> aborted = false;
};

std::mutex worldsMutex;
std::map<std::string, std::weak_ptr<World>> worlds;
int ids = 0;

} // namespace

size_t caat::test::sizeOfType(int type) {
  switch (type) {
  case ncclInt8:
  case ncclUint8:
    return 1;
  case ncclFloat16:
  case ncclBfloat16:
    return 2;
  case ncclInt64:
  case ncclUint64:
  case ncclFloat64:
    return 8;
  default:
    return 4;
  }
}

void caat::test::makeWorldId(char *id, size_t bytes) {
  std::lock_guard lock(worldsMutex);
  std::memset(id, 0, bytes);
  std::snprintf(id, bytes, "world-%d-%d", static_cast<int>(getpid()), ++ids);
}

std::shared_ptr<World> caat::test::worldOf(const std::string &id, size_t size, size_t rank) {
  std::lock_guard lock(worldsMutex);
  std::weak_ptr<World> &known = worlds[id];
  std::shared_ptr<World> world = known.lock();
  if (!world) {
    if (const char *folder = std::getenv("CAAT_DOUBLE_SHARED"))
      world = std::make_shared<ProcessWorld>(std::string(folder) + "/" + id, size);
    else
      world = std::make_shared<ThreadWorld>(size);
    known = world;
  }
  return world;
}
