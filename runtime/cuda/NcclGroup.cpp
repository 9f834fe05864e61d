// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "NcclGroup.h"
#include "RankCommunicator.h"
#include <algorithm>
#include <utility>

namespace caat::runtime::cuda {

namespace {

int typeOf(DType dtype) {
  switch (dtype) {
  case DType::F32:
    return ncclFloat32;
  case DType::F64:
    return ncclFloat64;
  case DType::BF16:
    return ncclBfloat16;
  case DType::F16:
    return ncclFloat16;
  case DType::I32:
    return ncclInt32;
  case DType::UI32:
    return ncclUint32;
  case DType::I64:
    return ncclInt64;
  case DType::UI64:
    return ncclUint64;
  default:
    failRun("elements of type ", nameOf(dtype), " cannot be summed");
  }
}

/// Where the blocks of an owner lie in a message: one range of each of its three parts (comm/Quantize.h).
struct MessageRange {
  size_t begin, bytes;
};
std::vector<MessageRange> rangesOf(const WireFormat &format, int64_t rows, int owner, int ranks) {
  int64_t perRow = format.blocks(), all = rows * perRow, codeBytes = format.codeBytes();
  auto exacts = static_cast<int64_t>(format.exact.size());
  auto place = [&](int64_t block, int part) {
    int64_t row = block / perRow, channel = block % perRow * format.block;
    if (part == 0)
      return block * WireFormat::scaleBytes;
    if (part == 1)
      return all * WireFormat::scaleBytes + row * codeBytes + channel / 8 * format.bits;
    int64_t before = std::lower_bound(format.exact.begin(), format.exact.end(), channel) - format.exact.begin();
    return all * WireFormat::scaleBytes + rows * codeBytes + (row * exacts + before) * int64_t(sizeof(float));
  };
  std::vector<MessageRange> ranges;
  int64_t first = all * owner / ranks, last = all * (owner + 1) / ranks;
  for (int part = 0; part < 3; ++part)
    if (int64_t begin = place(first, part), end = place(last, part); begin < end)
      ranges.push_back({static_cast<size_t>(begin), static_cast<size_t>(end - begin)});
  return ranges;
}

} // namespace

class NcclGroup::Rank final : public RankCommunicator {
public:
  Rank(NcclGroup &group, Communicator &host, CudaDevice &device) : RankCommunicator(host, device), group(group) {}

  void allReduce(const CollectiveCall &call, void *data) override {
    meet(call);
    check(call, nccl().ncclAllReduce(data, data, static_cast<size_t>(call.count), typeOf(call.dtype), ncclSum,
                                     connection(), device.stream()));
  }

  void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    meet(call);
    size_t row = static_cast<size_t>(inner) * sizeOf(call.dtype), bytes = row * static_cast<size_t>(outer);
    std::byte *to = outer == 1 ? static_cast<std::byte *>(out)
                               : scratch.reserve(device, bytes * static_cast<size_t>(size()), "an all-gather");
    check(call, nccl().ncclAllGather(in, to, bytes, ncclUint8, connection(), device.stream()));
    if (outer == 1)
      return;
    auto r = static_cast<int64_t>(row);
    GatherArguments arguments{{}, out, size(), outer, r, 0, r, r, r * size()};
    for (int rank = 0; rank < size(); ++rank)
      arguments.in.at[rank] = to + static_cast<size_t>(rank) * bytes;
    device.launchOwn("caat_gather_1", CudaDevice::blocksFor(size() * outer * r), arguments);
  }

  void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    meet(call);
    const void *from = in;
    if (outer > 1) { // the parts of each rank together
      auto row = inner * static_cast<int64_t>(sizeOf(call.dtype));
      std::byte *packed = scratch.reserve(device, static_cast<size_t>(row * outer * size()), "a reduce-scatter");
      GatherArguments arguments{{}, packed, size(), outer, row, 0, row * size(), row * outer, row};
      for (int rank = 0; rank < size(); ++rank)
        arguments.in.at[rank] = static_cast<std::byte *>(const_cast<void *>(in)) + rank * row;
      device.launchOwn("caat_gather_1", CudaDevice::blocksFor(size() * outer * row), arguments);
      from = packed;
    }
    check(call, nccl().ncclReduceScatter(from, out, static_cast<size_t>(outer * inner), typeOf(call.dtype), ncclSum,
                                         connection(), device.stream()));
  }

  void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) override {
    meet(call);
    size_t part = static_cast<size_t>(count) * sizeOf(call.dtype);
    exchange(call, [&](int rank) {
      send(call, static_cast<const std::byte *>(in) + static_cast<size_t>(rank) * part, part, rank);
      receive(call, static_cast<std::byte *>(out) + static_cast<size_t>(rank) * part, part, rank);
    });
  }

  void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    meet(call);
    size_t bytes = static_cast<size_t>(count) * sizeOf(call.dtype);
    auto place = [&](int64_t distance) {
      int64_t n = size();
      return static_cast<int>(((rank() + distance % n) % n + n) % n);
    };
    void *to = in == out ? scratch.reserve(device, bytes, "a permutation") : out;
    exchange(call, [&](int rank) {
      if (rank == place(shift))
        send(call, in, bytes, rank);
      if (rank == place(-shift))
        receive(call, to, bytes, rank);
    });
    device.copy(out, to, bytes);
  }

  void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) override {
    checkRoot(call, root);
    meet(call);
    check(call, nccl().ncclBroadcast(data, data, static_cast<size_t>(count) * sizeOf(call.dtype), ncclUint8, root,
                                     connection(), device.stream()));
  }

  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                          int64_t rows) override {
    meet(call);
    if (rows == 0)
      return;
    auto bytes = static_cast<size_t>(rows * format.rowBytes());
    const QuantizedPieces::Table &table = pieces.of(format, rows, size());
    std::byte *messages = scratch.reserve(device, bytes * static_cast<size_t>(size()), "messages");
    std::byte *mine = message.reserve(device, bytes, "a message"), *sum = result.reserve(device, bytes, "a message");
    QuantizedArguments arguments = quantized(format, table, data, error, rows);
    arguments.messages.at[0] = mine;
    device.launchOwn("caat_quantized_encode", table.count, arguments);
    auto place = [&](int rank) { return messages + static_cast<size_t>(rank) * bytes; };
    exchange(call, [&](int rank) {
      for (auto [begin, length] : rangesOf(format, rows, rank, size()))
        send(call, mine + begin, length, rank);
      for (auto [begin, length] : rangesOf(format, rows, this->rank(), size()))
        receive(call, place(rank) + begin, length, rank);
    });
    for (int rank = 0; rank < size(); ++rank)
      arguments.messages.at[rank] = place(rank);
    arguments.result = sum;
    runPieces("caat_quantized_sum", table, rank(), arguments);
    exchange(call, [&](int rank) {
      for (auto [begin, length] : rangesOf(format, rows, this->rank(), size()))
        send(call, sum + begin, length, rank);
      for (auto [begin, length] : rangesOf(format, rows, rank, size()))
        receive(call, place(rank) + begin, length, rank);
    });
    for (int owner = 0; owner < size(); ++owner) {
      if (owner == rank())
        continue;
      arguments.messages.at[0] = place(owner);
      runPieces("caat_quantized_decode", table, owner, arguments);
    }
  }

  void abort(const std::string &reason) override { group.abort(reason); }

private:
  const Nccl &nccl() const { return *group.nccl; }
  ncclComm_t connection() const { return group.connection(rank()); }
  /// NCCL compares nothing and waits for ever: the threads meet first, where calls are compared and timeouts noticed.
  void meet(const CollectiveCall &call) {
    uint64_t mine = 0;
    met.resize(static_cast<size_t>(size()));
    host.allGather(call, &mine, met.data(), 1, static_cast<int64_t>(sizeof mine / sizeOf(call.dtype)));
  }

  void check(const CollectiveCall &call, ncclResult_t status) const {
    if (status != ncclSuccess)
      failRun(nameOf(call.kind), " '", call.name, "' on rank ", rank(), ": ", nccl().ncclGetErrorString(status));
  }
  /// What `run` sends to and receives from each rank goes on at once.
  template <typename F> void exchange(const CollectiveCall &call, F &&run) {
    check(call, nccl().ncclGroupStart());
    for (int rank = 0; rank < size(); ++rank)
      run(rank);
    check(call, nccl().ncclGroupEnd());
  }
  void send(const CollectiveCall &call, const void *from, size_t bytes, int to) {
    check(call, nccl().ncclSend(from, bytes, ncclUint8, to, connection(), device.stream()));
  }
  void receive(const CollectiveCall &call, void *to, size_t bytes, int from) {
    check(call, nccl().ncclRecv(to, bytes, ncclUint8, from, connection(), device.stream()));
  }

  NcclGroup &group;
  DeviceBuffer scratch, message, result;
  std::vector<uint64_t> met;
};

NcclGroup::NcclGroup(std::span<CudaDevice *const> given, const CommunicatorOptions &options)
    : nccl(std::make_shared<Nccl>()), devices(given.begin(), given.end()),
      host(static_cast<int>(given.size()), options) {
  if (devices.size() > maxLocalRanks)
    failRun(devices.size(), " GPUs in one process: at most ", maxLocalRanks);
  connect();
  for (size_t r = 0; r < devices.size(); ++r)
    ranks.push_back(std::make_unique<Rank>(*this, host.at(static_cast<int>(r)), *devices[r]));
}

NcclGroup::~NcclGroup() {
  ranks.clear();
  for (ncclComm_t connection : connections)
    if (connection)
      nccl->ncclCommDestroy(connection);
}

ncclComm_t NcclGroup::connection(int rank) {
  std::lock_guard lock(mutex);
  ncclComm_t connection = connections[static_cast<size_t>(rank)];
  if (!connection)
    failRun("another rank failed");
  return connection;
}

void NcclGroup::connect() {
  auto check = [&](ncclResult_t status) {
    if (status != ncclSuccess)
      failRun("NCCL cannot connect ", devices.size(), " GPUs: ", nccl->ncclGetErrorString(status));
  };
  ncclUniqueId id{};
  check(nccl->ncclGetUniqueId(&id));
  std::vector<ncclComm_t> made(devices.size());
  check(nccl->ncclGroupStart());
  for (size_t r = 0; r < devices.size(); ++r) {
    devices[r]->place().enter();
    check(nccl->ncclCommInitRank(&made[r], static_cast<int>(devices.size()), id, static_cast<int>(r)));
  }
  check(nccl->ncclGroupEnd());
  std::lock_guard lock(mutex);
  connections = std::move(made);
}

void NcclGroup::abort(const std::string &reason) {
  if (host.at(0).aborted())
    return;
  host.abort(reason);
  std::lock_guard lock(mutex);
  for (ncclComm_t &connection : connections)
    if (connection)
      nccl->ncclCommAbort(std::exchange(connection, nullptr));
}

void NcclGroup::reset() {
  host.reset();
  if (std::find(connections.begin(), connections.end(), nullptr) != connections.end())
    connect();
}

Communicator &NcclGroup::at(int rank) { return *ranks.at(static_cast<size_t>(rank)); }

} // namespace caat::runtime::cuda
