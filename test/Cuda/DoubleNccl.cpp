// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NCCL's functions. A call waits until all ranks have made theirs, which must be the same; it is then done at once, and
// every stream continues behind all of them. Ranks are threads of one process, or processes that meet in the files of
// the folder CAAT_DOUBLE_SHARED (DoubleWorlds.cpp).
#include "DoubleWorlds.h"
#include "cuda/Kernels.h"
#include <atomic>
#include <cstring>
#include <utility>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

struct Connection {
  std::shared_ptr<World> world;
  size_t rank;
  bool isNew = true; // it says once that it is not connected yet
  int captures = 0;  // exchanges that are part of graphs
  bool hasSent = false;
  std::shared_ptr<bool> isOpen = std::make_shared<bool>(true); // shared with the graphs
};

Connection &of(ncclComm_t connection) { return *reinterpret_cast<Connection *>(connection); }

/// Sums in the order of the ranks, by the plugin's own kernel.
bool sum(const std::vector<const void *> &inputs, int type, void *target, size_t begin, size_t count) {
  SumArguments arguments{};
  const char *kernels[] = {nullptr,        nullptr,        "caat_sum_i32", "caat_sum_i32", "caat_sum_i64",
                           "caat_sum_i64", "caat_sum_f16", "caat_sum_f32", "caat_sum_f64", "caat_sum_bf16"};
  const char *kernel = kernels[type];
  if (!kernel)
    return false;
  arguments.sources = static_cast<long long>(inputs.size());
  arguments.targets = 1;
  arguments.outer = 1;
  arguments.end = static_cast<long long>(count);
  arguments.inOffset = static_cast<long long>(begin);
  for (size_t r = 0; r < inputs.size(); ++r)
    arguments.in.at[r] = const_cast<void *>(inputs[r]);
  arguments.out.at[0] = target;
  void *pointers[] = {&arguments};
  std::vector<Access> unused;
  return runOwnKernel(kernel, 1, pointers, unused, true);
}

/// Does it now, or as part of the graph that the stream is captured for: then all ranks must run it from the graphs of
/// the same capture, while the connection is there.
template <typename F> ncclResult_t submit(Connection &mine, CUstream stream, F &&exchange) {
  auto &to = *reinterpret_cast<Stream *>(stream);
  if (!to.capturing)
    return exchange(0);
  int number = ++mine.captures;
  to.submit(
      [=, isOpen = mine.isOpen, exchange = std::forward<F>(exchange)] {
        if (!*isOpen)
          return Double::get().fault("a graph runs whose communicator has ended"), 1;
        return exchange(number) == ncclSuccess ? 0 : 1;
      },
      true);
  return ncclSuccess;
}

thread_local std::vector<std::pair<ncclComm_t, Call>> open; // sends and receives of a group
thread_local int depth = 0;

ncclResult_t runGroup() {
  auto calls = std::exchange(open, {});
  if (calls.empty())
    return ncclSuccess;
  Connection &mine = of(calls[0].first);
  std::vector<Call> all;
  for (auto &[connection, call] : calls)
    all.push_back(call);
  if (reinterpret_cast<Stream *>(all[0].stream)->capturing && !mine.hasSent)
    Double::get().fault("sends are captured before any was made: they cannot connect then");
  mine.hasSent = true;
  return submit(mine, all[0].stream, [&mine, world = mine.world, all](int captured) {
    std::vector<Call> now = all;
    for (Call &call : now)
      call.captured = captured;
    return world->exchange(mine.rank, now);
  });
}

ncclResult_t point(ncclComm_t connection, const Call &call) {
  open.emplace_back(connection, call);
  return depth > 0 ? ncclSuccess : runGroup();
}

ncclResult_t collective(ncclComm_t connection, const Call &call, size_t inputs, size_t outputs,
                        const Compute &compute) {
  Connection &mine = of(connection);
  return submit(mine, call.stream, [=, &mine, world = mine.world](int captured) {
    Call now = call;
    now.captured = captured;
    return world->collective(mine.rank, now, inputs, outputs, compute);
  });
}

std::atomic<int64_t> ends = 0; // collectives that were begun

} // namespace

CAAT_EXPORT ncclResult_t ncclGetVersion(int *version) {
  *version = static_cast<int>(Double::number("NCCL_VERSION", 22703));
  return ncclSuccess;
}
CAAT_EXPORT const char *ncclGetErrorString(ncclResult_t status) {
  return status == ncclRemoteError ? "remote process exited or there was a network error" : "the double found a fault";
}
CAAT_EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  makeWorldId(id->internal, sizeof id->internal);
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclCommInitRankConfig(ncclComm_t *connection, int size, ncclUniqueId id, int rank,
                                                ncclConfig_t *config) {
  if (config->size != sizeof *config || config->magic != 0xcafebeef || config->blocking != 0)
    return ncclInvalidUsage;
  *connection = reinterpret_cast<ncclComm_t>(new Connection{
      worldOf(id.internal, static_cast<size_t>(size), static_cast<size_t>(rank)), static_cast<size_t>(rank)});
  return ncclInProgress;
}
CAAT_EXPORT ncclResult_t ncclCommAbort(ncclComm_t connection) {
  of(connection).world->abort();
  *of(connection).isOpen = false;
  return ncclSuccess; // and is not freed: a rank may be in a call
}
CAAT_EXPORT ncclResult_t ncclCommDestroy(ncclComm_t connection) {
  if (of(connection).isOpen.use_count() > 1)
    Double::get().fault("a communicator is destroyed before the graphs that use it");
  delete &of(connection);
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t connection, ncclResult_t *status) {
  bool isNew = std::exchange(of(connection).isNew, false);
  int64_t broken = Double::number("NCCL_ERROR", 0); // from this collective on
  *status = isNew ? ncclInProgress : broken > 0 && ends >= broken ? ncclRemoteError : ncclSuccess;
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}
CAAT_EXPORT ncclResult_t ncclGroupEnd() { return --depth > 0 ? ncclSuccess : runGroup(); }

CAAT_EXPORT ncclResult_t ncclAllReduce(const void *in, void *out, size_t count, int type, int, ncclComm_t connection,
                                       CUstream stream) {
  ++ends;
  return collective(connection, {"ncclAllReduce", in, out, count, type, 0, stream}, count, count,
                    [=](const Inputs &inputs, size_t) { return sum(inputs, type, out, 0, count); });
}
CAAT_EXPORT ncclResult_t ncclAllGather(const void *in, void *out, size_t count, int type, ncclComm_t connection,
                                       CUstream stream) {
  return collective(connection, {"ncclAllGather", in, out, count, type, 0, stream}, count,
                    count * of(connection).world->size(), [=](const Inputs &inputs, size_t) {
                      size_t bytes = count * sizeOfType(type);
                      for (size_t r = 0; r < inputs.size(); ++r)
                        std::memcpy(static_cast<char *>(out) + r * bytes, inputs[r], bytes);
                      return true;
                    });
}
CAAT_EXPORT ncclResult_t ncclReduceScatter(const void *in, void *out, size_t count, int type, int,
                                           ncclComm_t connection, CUstream stream) {
  return collective(connection, {"ncclReduceScatter", in, out, count, type, 0, stream},
                    count * of(connection).world->size(), count,
                    [=](const Inputs &inputs, size_t rank) { return sum(inputs, type, out, rank * count, count); });
}
CAAT_EXPORT ncclResult_t ncclBroadcast(const void *in, void *out, size_t count, int type, int root,
                                       ncclComm_t connection, CUstream stream) {
  return collective(connection, {"ncclBroadcast", in, out, count, type, root, stream}, count, count,
                    [=](const Inputs &inputs, size_t) {
                      std::memcpy(out, inputs[static_cast<size_t>(root)], count * sizeOfType(type));
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
