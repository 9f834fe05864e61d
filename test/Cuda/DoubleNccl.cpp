// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NCCL's functions, for ranks that are threads of one process. A call waits until all ranks have made theirs, which
// must be the same; it is then done at once, and every stream continues behind all of them.
#include "Double.h"
#include "cuda/Kernels.h"
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

constexpr ncclResult_t ncclInvalidUsage = 5, ncclUnhandledCudaError = 1;

struct Call {
  const char *name = nullptr;
  const void *in = nullptr;
  void *out = nullptr;
  size_t count = 0;
  int type = 0, root = 0;
  CUstream stream = nullptr;
};

/// All ranks that share an id.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Call> calls;
  std::vector<std::vector<Call>> groups; // sends and receives of each rank
  size_t arrived = 0;
  uint64_t generation = 0;
  ncclResult_t status = ncclSuccess;
  bool aborted = false;
};

struct Connection {
  std::shared_ptr<World> world;
  int rank;
};

std::mutex worldsMutex;
std::map<std::string, std::weak_ptr<World>> worlds;
int ids = 0;

size_t sizeOf(int type) {
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

Connection &of(ncclComm_t connection) { return *reinterpret_cast<Connection *>(connection); }
Stream &of(CUstream stream) { return *reinterpret_cast<Stream *>(stream); }

/// Waits for all ranks; the last one runs `all`.
ncclResult_t meet(Connection &connection, const std::function<ncclResult_t(World &)> &all) {
  World &world = *connection.world;
  std::unique_lock lock(world.mutex);
  uint64_t generation = world.generation;
  if (++world.arrived == world.calls.size()) {
    Double &d = Double::get();
    std::lock_guard whole(d.mutex);
    world.status = all(world);
    world.arrived = 0;
    ++world.generation;
    world.changed.notify_all();
  } else {
    world.changed.wait(lock, [&] { return world.aborted || world.generation != generation; });
  }
  return world.aborted ? ncclInvalidUsage : world.status;
}

Access access(const void *data, size_t bytes, bool writes) {
  auto address = reinterpret_cast<uint64_t>(data);
  return {address, address + bytes, writes};
}

/// Every stream continues behind the others.
void joinStreams(World &world, const std::function<CUstream(size_t)> &stream) {
  Double &d = Double::get();
  Event all;
  all.clock.clear();
  for (size_t r = 0; r < world.calls.size(); ++r) {
    const Clock &clock = of(stream(r)).clock;
    all.clock.resize(std::max(all.clock.size(), clock.size()));
    for (size_t i = 0; i < clock.size(); ++i)
      all.clock[i] = std::max(all.clock[i], clock[i]);
  }
  for (size_t r = 0; r < world.calls.size(); ++r) {
    Stream &mine = of(stream(r));
    mine.clock.resize(all.clock.size());
    mine.clock = all.clock;
    d.order(mine);
  }
}

/// Sums in the order of the ranks, by the plugin's own kernel.
bool sum(World &world, const std::vector<void *> &targets, size_t begin, size_t count) {
  SumArguments arguments{};
  const char *kernels[] = {nullptr,        nullptr,        "caat_sum_i32", "caat_sum_i32", "caat_sum_i64",
                           "caat_sum_i64", "caat_sum_f16", "caat_sum_f32", "caat_sum_f64", "caat_sum_bf16"};
  const char *kernel = kernels[world.calls[0].type];
  if (!kernel)
    return false;
  arguments.sources = static_cast<long long>(world.calls.size());
  arguments.targets = static_cast<long long>(targets.size());
  arguments.outer = 1;
  arguments.end = static_cast<long long>(count);
  arguments.inOffset = static_cast<long long>(begin);
  for (size_t r = 0; r < world.calls.size(); ++r)
    arguments.in.at[r] = const_cast<void *>(world.calls[r].in);
  for (size_t t = 0; t < targets.size(); ++t)
    arguments.out.at[t] = targets[t];
  void *pointers[] = {&arguments};
  std::vector<Access> unused;
  return runOwnKernel(kernel, 1, pointers, unused, true);
}

/// What the ranks called must be the same; `inputs` and `outputs` are the elements that each reads and writes.
ncclResult_t collective(ncclComm_t connection, const Call &call, size_t inputs, size_t outputs,
                        const std::function<bool(World &)> &run) {
  Connection &mine = of(connection);
  {
    std::lock_guard lock(mine.world->mutex);
    mine.world->calls[static_cast<size_t>(mine.rank)] = call;
  }
  return meet(mine, [&](World &world) {
    Double &d = Double::get();
    const Call &first = world.calls[0];
    for (size_t r = 0; r < world.calls.size(); ++r) {
      const Call &other = world.calls[r];
      if (std::strcmp(first.name, other.name) || first.count != other.count || first.type != other.type ||
          first.root != other.root) {
        d.fault(std::string("ranks call ") + first.name + " of " + std::to_string(first.count) + " and " + other.name +
                " of " + std::to_string(other.count) + " elements");
        return ncclInvalidUsage;
      }
      size_t size = sizeOf(other.type);
      if (!d.operate(of(other.stream), other.name,
                     {access(other.in, inputs * size, false), access(other.out, outputs * size, true)}))
        return ncclUnhandledCudaError;
    }
    bool good = run(world);
    joinStreams(world, [&](size_t r) { return world.calls[r].stream; });
    return good ? ncclSuccess : ncclInvalidUsage;
  });
}

thread_local std::vector<std::pair<ncclComm_t, Call>> open; // sends and receives of a group
thread_local int depth = 0;

ncclResult_t runGroup() {
  auto calls = std::exchange(open, {});
  if (calls.empty())
    return ncclSuccess;
  Connection &mine = of(calls[0].first);
  auto me = static_cast<size_t>(mine.rank);
  {
    std::lock_guard lock(mine.world->mutex);
    mine.world->groups[me].clear();
    for (auto &[connection, call] : calls)
      mine.world->groups[me].push_back(call);
  }
  return meet(mine, [](World &world) {
    Double &d = Double::get();
    // The n-th send of a to b is received by the n-th receive of b from a.
    std::map<std::pair<size_t, size_t>, std::vector<const Call *>> sends, receives;
    for (size_t r = 0; r < world.groups.size(); ++r)
      for (const Call &call : world.groups[r]) {
        auto peer = static_cast<size_t>(call.root);
        bool isSend = !std::strcmp(call.name, "ncclSend");
        (isSend ? sends[{r, peer}] : receives[{peer, r}]).push_back(&call);
        if (!d.operate(of(call.stream), call.name,
                       {access(isSend ? call.in : call.out, call.count * sizeOf(call.type), !isSend)}))
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
        if (list[i]->count != other[i]->count || list[i]->type != other[i]->type) {
          d.fault("a message of " + std::to_string(list[i]->count) + " elements is received as " +
                  std::to_string(other[i]->count));
          return ncclInvalidUsage;
        }
        std::memmove(other[i]->out, list[i]->in, list[i]->count * sizeOf(list[i]->type));
      }
    }
    joinStreams(world, [&](size_t r) { return world.groups[r].front().stream; });
    return ncclSuccess;
  });
}

ncclResult_t point(ncclComm_t connection, const Call &call) {
  open.emplace_back(connection, call);
  return depth > 0 ? ncclSuccess : runGroup();
}

} // namespace

CAAT_EXPORT ncclResult_t ncclGetVersion(int *version) {
  *version = static_cast<int>(Double::number("NCCL_VERSION", 22703));
  return ncclSuccess;
}
CAAT_EXPORT const char *ncclGetErrorString(ncclResult_t) { return "the double found a fault"; }
CAAT_EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  std::lock_guard lock(worldsMutex);
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "world %d", ++ids);
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclCommInitRank(ncclComm_t *connection, int size, ncclUniqueId id, int rank) {
  std::lock_guard lock(worldsMutex);
  std::weak_ptr<World> &known = worlds[id.internal];
  std::shared_ptr<World> world = known.lock();
  if (!world) {
    known = world = std::make_shared<World>();
    world->calls.resize(static_cast<size_t>(size));
    world->groups.resize(static_cast<size_t>(size));
  }
  *connection = reinterpret_cast<ncclComm_t>(new Connection{world, rank});
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclCommAbort(ncclComm_t connection) {
  World &world = *of(connection).world;
  std::lock_guard lock(world.mutex);
  world.aborted = true;
  world.changed.notify_all();
  return ncclSuccess; // and is not freed: a rank may be in a call
}
CAAT_EXPORT ncclResult_t ncclCommDestroy(ncclComm_t connection) {
  delete &of(connection);
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t *status) {
  *status = ncclSuccess;
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclGroupEnd() { return --depth > 0 ? ncclSuccess : runGroup(); }

CAAT_EXPORT ncclResult_t ncclAllReduce(const void *in, void *out, size_t count, int type, int, ncclComm_t connection,
                                       CUstream stream) {
  return collective(connection, {"ncclAllReduce", in, out, count, type, 0, stream}, count, count, [&](World &world) {
    std::vector<void *> targets;
    for (const Call &call : world.calls)
      targets.push_back(call.out);
    return sum(world, targets, 0, count);
  });
}
CAAT_EXPORT ncclResult_t ncclAllGather(const void *in, void *out, size_t count, int type, ncclComm_t connection,
                                       CUstream stream) {
  size_t ranks = of(connection).world->calls.size();
  return collective(connection, {"ncclAllGather", in, out, count, type, 0, stream}, count, count * ranks,
                    [&](World &world) {
                      size_t bytes = count * sizeOf(type);
                      for (const Call &to : world.calls)
                        for (size_t r = 0; r < ranks; ++r)
                          std::memmove(static_cast<char *>(to.out) + r * bytes, world.calls[r].in, bytes);
                      return true;
                    });
}
CAAT_EXPORT ncclResult_t ncclReduceScatter(const void *in, void *out, size_t count, int type, int,
                                           ncclComm_t connection, CUstream stream) {
  size_t ranks = of(connection).world->calls.size();
  return collective(connection, {"ncclReduceScatter", in, out, count, type, 0, stream}, count * ranks, count,
                    [&](World &world) {
                      bool good = true;
                      for (size_t r = 0; r < ranks; ++r)
                        good = good && sum(world, {world.calls[r].out}, r * count, count);
                      return good;
                    });
}
CAAT_EXPORT ncclResult_t ncclBroadcast(const void *in, void *out, size_t count, int type, int root,
                                       ncclComm_t connection, CUstream stream) {
  return collective(connection, {"ncclBroadcast", in, out, count, type, root, stream}, count, count, [&](World &world) {
    for (const Call &to : world.calls)
      std::memmove(to.out, world.calls[static_cast<size_t>(root)].in, count * sizeOf(type));
    return true;
  });
}
CAAT_EXPORT ncclResult_t ncclSend(const void *from, size_t count, int type, int to, ncclComm_t connection,
                                  CUstream stream) {
  return point(connection, {"ncclSend", from, nullptr, count, type, to, stream});
}
CAAT_EXPORT ncclResult_t ncclRecv(void *to, size_t count, int type, int from, ncclComm_t connection, CUstream stream) {
  return point(connection, {"ncclRecv", nullptr, to, count, type, from, stream});
}
