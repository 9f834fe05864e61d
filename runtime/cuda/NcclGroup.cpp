// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "NcclGroup.h"
#include "../comm/processes/ProcessHosts.h"
#include "RankCommunicator.h"
#include <algorithm>
#include <array>
#include <cstdlib>
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

class NcclGroup::Rank final : public RankCommunicator, private Exchanges {
public:
  Rank(NcclGroup &group, size_t index, Communicator &host)
      : RankCommunicator(host, *group.devices[index]), group(group), index(index) {
    device.setExchanges(this);
    if (const char *fuse = std::getenv("CAAT_CUDA_FUSE_SUMS"))
      leavesSums = std::string_view(fuse) != "0";
  }
  ~Rank() override { forgetGraphs(nullptr); }

  /// Small messages over memory that the ranks share, where they do.
  void allReduce(const CollectiveCall &call, void *data) override {
    PeerMemory::Way way = wayOf(call, data);
    device.exchange(sumOf(call, data,
                          way == PeerMemory::Way::OneShot    ? Exchange::Kind::PeersOneShot
                          : way == PeerMemory::Way::TwoShots ? Exchange::Kind::PeersTwoShots
                                                             : Exchange::Kind::AllReduce));
  }

  bool leavesToKernel(const CollectiveCall &call, const void *data) const override {
    return leavesSums && wayOf(call, data) == PeerMemory::Way::OneShot;
  }

  bool sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) override {
    const std::optional<RowSum> &sum = device.sumOf(launch.kernel);
    if (!leavesToKernel(call, data) || !sum || static_cast<size_t>(sum->buffer) >= launch.buffers.size() ||
        launch.buffers[static_cast<size_t>(sum->buffer)] != data || call.count != launch.rows * sum->elements)
      return false;
    const PeerMemory &memory = *group.connections->memory;
    int64_t rows = std::min(launch.rows, device.specOf(launch.kernel).rowsPerBlock);
    if (!memory.takesRows(device.blocksOf(launch), rows * sum->elements * static_cast<int64_t>(sizeOf(call.dtype))))
      return false;
    auto [number, mine] = memory.rowsArguments(call, index);
    CollectiveCall whole = call;
    whole.extra = 1; // who sums it otherwise does something else
    device.launchSumming(launch, sumOf(whole, data, Exchange::Kind::InKernel), std::array{number, mine});
    return true;
  }

  void startSum(const CollectiveCall &call, void *data) override {
    transfers.start(call, 0);
    transfers.begin();
    run(sumOf(call, data, Exchange::Kind::AllReduce), transfers.stream());
    transfers.end();
  }
  Stretch finishSum(const CollectiveCall &call) override { return finishPermute(call); }

  void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    size_t row = static_cast<size_t>(inner) * sizeOf(call.dtype), bytes = row * static_cast<size_t>(outer);
    std::byte *to = outer == 1 ? static_cast<std::byte *>(out)
                               : scratch.reserve(device, bytes * static_cast<size_t>(size()), "an all-gather");
    device.exchange({Exchange::Kind::AllGather, call, in, to, bytes, ncclUint8});
    if (outer == 1)
      return;
    auto r = static_cast<int64_t>(row);
    GatherArguments arguments{{}, out, size(), outer, r, 0, r, r, r * size()};
    for (int rank = 0; rank < size(); ++rank)
      arguments.in.at[rank] = to + static_cast<size_t>(rank) * bytes;
    device.launchOwn("caat_gather_1", CudaDevice::blocksFor(size() * outer * r), arguments);
  }

  void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
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
    device.exchange(
        {Exchange::Kind::ReduceScatter, call, from, out, static_cast<size_t>(outer * inner), typeOf(call.dtype)});
  }

  void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) override {
    size_t part = static_cast<size_t>(count) * sizeOf(call.dtype);
    Exchange exchange{Exchange::Kind::Points, call};
    for (int rank = 0; rank < size(); ++rank) {
      send(exchange, static_cast<const std::byte *>(in) + static_cast<size_t>(rank) * part, part, rank);
      receive(exchange, static_cast<std::byte *>(out) + static_cast<size_t>(rank) * part, part, rank);
    }
    device.exchange(std::move(exchange));
  }

  void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    size_t bytes = static_cast<size_t>(count) * sizeOf(call.dtype);
    if (in == out)
      return permuteInPlace(call, out, static_cast<int64_t>(bytes), shift);
    device.exchange(turn(call, in, out, bytes, shift));
  }

  void permuteInPlace(const CollectiveCall &call, void *data, int64_t count, int64_t shift) override {
    Pieces pieces(*this, data, count);
    for (size_t piece = 0; piece < pieces.count(); ++piece) {
      device.exchange(turn(call, pieces.from(piece), pieces.place(piece), pieces.bytes(piece), shift));
      pieces.write(piece);
    }
  }

  void startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    transfers.start(call, shift);
    transfers.begin();
    run(turn(call, in, out, static_cast<size_t>(count) * sizeOf(call.dtype), shift), transfers.stream());
    transfers.end();
  }

  Stretch finishPermute(const CollectiveCall &call) override {
    Transfers::Transfer transfer = transfers.finish(call);
    transfers.awaitOnWork(transfer.done, call);
    return transfer.time;
  }

  void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) override {
    checkRoot(call, root);
    device.exchange({Exchange::Kind::Broadcast, call, data, data, static_cast<size_t>(count) * sizeOf(call.dtype),
                     ncclUint8, root});
  }

  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                          int64_t rows) override {
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
    Exchange parts{Exchange::Kind::Points, call}, sums = parts;
    for (int rank = 0; rank < size(); ++rank) {
      for (auto [begin, length] : rangesOf(format, rows, rank, size()))
        send(parts, mine + begin, length, rank);
      for (auto [begin, length] : rangesOf(format, rows, this->rank(), size()))
        receive(parts, place(rank) + begin, length, rank);
    }
    device.exchange(std::move(parts));
    for (int rank = 0; rank < size(); ++rank)
      arguments.messages.at[rank] = place(rank);
    arguments.result = sum;
    runPieces("caat_quantized_sum", table, rank(), arguments);
    for (int rank = 0; rank < size(); ++rank) {
      for (auto [begin, length] : rangesOf(format, rows, this->rank(), size()))
        send(sums, sum + begin, length, rank);
      for (auto [begin, length] : rangesOf(format, rows, rank, size()))
        receive(sums, place(rank) + begin, length, rank);
    }
    device.exchange(std::move(sums));
    for (int owner = 0; owner < size(); ++owner) {
      if (owner == rank())
        continue;
      arguments.messages.at[0] = place(owner);
      runPieces("caat_quantized_decode", table, owner, arguments);
    }
  }

  void abort(const std::string &reason) override { group.abort(reason); }
  void checkAborted() const override {
    host.checkAborted();
    if (const PeerMemory *memory = group.connections->memory.get(); memory && memory->differs())
      failRun("the ranks' collectives disagree: they have summed different things");
  }
  std::vector<std::string> sumWays(int64_t bytes) const override {
    std::vector<std::string> ways{"NCCL"};
    if (group.connections->memory && bytes <= peerBytes)
      ways.insert(ways.end(), {"one shot", "two shots"});
    return ways;
  }
  void setSumWay(int way) override { wanted = way; }

  /// A graph must be gone before the connection that it uses; `next` carries out what comes.
  void forgetGraphs(Exchanges *next) {
    device.place().enter();
    device.setExchanges(next);
  }
  void reconnected() { forgetGraphs(this); }

private:
  static Exchange sumOf(const CollectiveCall &call, void *data, Exchange::Kind kind) {
    return {.kind = kind,
            .call = call,
            .in = data,
            .out = data,
            .count = static_cast<size_t>(call.count),
            .type = typeOf(call.dtype)};
  }
  PeerMemory::Way wayOf(const CollectiveCall &call, const void *data) const {
    const PeerMemory *memory = group.connections->memory.get();
    size_t bytes = static_cast<size_t>(call.count) * sizeOf(call.dtype);
    if (!memory || (wanted >= 0 && !memory->takes(call.dtype, bytes, data)))
      return PeerMemory::Way::Library;
    return wanted < 0 ? memory->wayFor(call.dtype, bytes, data) : static_cast<PeerMemory::Way>(wanted);
  }
  const Nccl &nccl() const { return *group.nccl; }
  ncclComm_t connection() const { return group.connection(index); }

  /// NCCL compares nothing and waits for ever. Threads meet first, where calls are compared and timeouts noticed;
  /// processes compare theirs with the next small message, and watches notice who is late. Sums over shared memory are
  /// compared by the kernels.
  void meet(const CollectiveCall &call) {
    uint64_t mine = 0;
    met.resize(static_cast<size_t>(size()));
    host.allGather(call, &mine, met.data(), 1, static_cast<int64_t>(sizeof mine / sizeOf(call.dtype)));
  }

  static bool isOfPeers(const Exchange &exchange) {
    return exchange.kind == Exchange::Kind::PeersOneShot || exchange.kind == Exchange::Kind::PeersTwoShots ||
           exchange.kind == Exchange::Kind::InKernel;
  }

  /// At once, on a stream that is not the queue's.
  void run(const Exchange &exchange, CUstream stream) {
    begin(exchange, stream);
    ask(exchange, stream);
    end(stream);
  }

  void begin(const Exchange &exchange, CUstream stream) override {
    checkAborted();
    if (auto *hosts = group.processes())
      hosts->begin(exchange.call);
    else if (!isOfPeers(exchange))
      meet(exchange.call);
    ++group.begun[index];
    if (size() > 1)
      group.watches[index]->begin(exchange.call, stream);
  }
  void end(CUstream stream) override {
    if (size() > 1)
      group.watches[index]->end(stream);
  }

  void ask(const Exchange &x, CUstream stream) override {
    switch (x.kind) {
    case Exchange::Kind::AllReduce:
      return check(x.call, nccl().ncclAllReduce(x.in, x.out, x.count, x.type, ncclSum, connection(), stream));
    case Exchange::Kind::AllGather:
      return check(x.call, nccl().ncclAllGather(x.in, x.out, x.count, x.type, connection(), stream));
    case Exchange::Kind::ReduceScatter:
      return check(x.call, nccl().ncclReduceScatter(x.in, x.out, x.count, x.type, ncclSum, connection(), stream));
    case Exchange::Kind::Broadcast:
      return check(x.call, nccl().ncclBroadcast(x.in, x.out, x.count, x.type, x.root, connection(), stream));
    case Exchange::Kind::PeersOneShot:
    case Exchange::Kind::PeersTwoShots:
      return group.connections->memory->sum(x, index, x.kind == Exchange::Kind::PeersOneShot, stream);
    case Exchange::Kind::Points:
      break;
    case Exchange::Kind::InKernel:
      failRun("a sum in a kernel is no exchange of its own");
    }
    check(x.call, nccl().ncclGroupStart());
    for (const Exchange::Point &point : x.points)
      if (point.sends)
        check(x.call, nccl().ncclSend(point.data, point.bytes, ncclUint8, point.peer, connection(), stream));
      else
        check(x.call, nccl().ncclRecv(point.data, point.bytes, ncclUint8, point.peer, connection(), stream));
    check(x.call, nccl().ncclGroupEnd());
  }

  bool agree(bool good) override {
    char mine = good;
    std::vector<char> all(static_cast<size_t>(size()));
    host.allGatherBytes("a graph", &mine, all.data(), 1);
    return std::find(all.begin(), all.end(), 0) == all.end();
  }

  /// Threads meet once for all. Processes count the collectives of a graph when it is started.
  void beginGraph(const std::vector<const Exchange *> &all, CUstream stream) override {
    checkAborted();
    CollectiveCall whole = all.front()->call;
    if (auto *hosts = group.processes()) {
      hosts->note(all.size());
      for (const Exchange *exchange : all)
        hosts->begin(exchange->call);
    } else if (!std::all_of(all.begin(), all.end(), [](const Exchange *x) { return isOfPeers(*x); })) {
      whole.count = 0;
      for (const Exchange *exchange : all)
        whole.count = static_cast<int64_t>(
            (static_cast<uint64_t>(whole.count) ^ static_cast<uint64_t>(exchange->call.index)) * 0x100000001b3 >> 8);
      whole.extra = static_cast<int64_t>(all.size());
      meet(whole);
    }
    group.begun[index] += all.size();
    if (size() > 1)
      group.watches[index]->begin(all.front()->call, stream, all.size());
  }
  void endGraph(CUstream stream) override { end(stream); }

  void check(const CollectiveCall &call, ncclResult_t status) const {
    if (status == ncclInProgress)
      status = group.settle(index);
    checkAborted();
    if (status != ncclSuccess)
      failRun(nameOf(call.kind), " '", call.name, "' on rank ", rank(), ": ", nccl().ncclGetErrorString(status));
  }

  static void send(Exchange &exchange, const void *from, size_t bytes, int to) {
    exchange.points.push_back({true, const_cast<void *>(from), bytes, to});
  }
  static void receive(Exchange &exchange, void *to, size_t bytes, int from) {
    exchange.points.push_back({false, to, bytes, from});
  }
  /// To rank + shift, from rank - shift.
  Exchange turn(const CollectiveCall &call, const void *in, void *out, size_t bytes, int64_t shift) const {
    Exchange exchange{Exchange::Kind::Points, call};
    send(exchange, in, bytes, at(shift));
    receive(exchange, out, bytes, at(-shift));
    return exchange;
  }

  NcclGroup &group;
  size_t index;    // among the ranks of this process
  int wanted = -1; // the way of sums; below 0: by size
  bool leavesSums = true;
  DeviceBuffer scratch, message, result;
  std::vector<uint64_t> met;
};

NcclGroup::NcclGroup(std::span<CudaDevice *const> given, const CommunicatorOptions &options,
                     std::shared_ptr<Peers> others)
    : nccl(std::make_shared<Nccl>()), devices(given.begin(), given.end()), peers(std::move(others)),
      timeout(options.timeout), connections(std::make_shared<Connections>()) {
  if (devices.size() > maxLocalRanks || size() > maxLocalRanks)
    failRun(size(), " ranks on GPUs: at most ", maxLocalRanks);
  connections->nccl = nccl;
  if (peers) {
    host = std::make_unique<ProcessHosts>(peers);
    peers->onAbort([connections = connections] { connections->abort(); });
  } else {
    host = std::make_unique<ThreadGroup>(static_cast<int>(devices.size()), options);
  }
  connect();
  begun = std::vector<std::atomic<uint64_t>>(devices.size());
  std::vector<const Context *> places;
  for (CudaDevice *device : devices)
    places.push_back(&device->place());
  connections->memory = PeerMemory::make(places, peers.get());
  for (size_t r = 0; r < devices.size(); ++r) {
    watches.push_back(std::make_unique<Watch>(devices[r]->place()));
    ranks.push_back(std::make_unique<Rank>(*this, r, host->at(static_cast<int>(r))));
  }
  if (size() > 1)
    watcher = std::thread([this] { watch(); });
}

NcclGroup::~NcclGroup() {
  stopping = true;
  if (watcher.joinable())
    watcher.join();
  if (peers)
    peers->onAbort({});
  ranks.clear();
  std::lock_guard lock(connections->mutex);
  for (ncclComm_t &connection : connections->all)
    if (connection)
      nccl->ncclCommDestroy(std::exchange(connection, nullptr));
}

void NcclGroup::Connections::abort() {
  std::lock_guard lock(mutex);
  if (memory)
    memory->stop();
  for (ncclComm_t &connection : all)
    if (connection)
      nccl->ncclCommAbort(std::exchange(connection, nullptr));
}

ProcessHosts *NcclGroup::processes() const { return peers ? static_cast<ProcessHosts *>(host.get()) : nullptr; }

ncclComm_t NcclGroup::connection(size_t index) {
  {
    std::lock_guard lock(connections->mutex);
    if (ncclComm_t connection = connections->all[index])
      return connection;
  }
  host->at(0).checkAborted();
  failRun("another rank failed");
}

ncclResult_t NcclGroup::settle(size_t index) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < end) {
    {
      std::lock_guard lock(connections->mutex);
      ncclResult_t status = ncclSuccess;
      ncclComm_t connection = connections->all[index];
      if (!connection || nccl->ncclCommGetAsyncError(connection, &status) != ncclSuccess)
        return ncclSystemError;
      if (status != ncclInProgress)
        return status;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return ncclInProgress;
}

/// Rank 0's, which all get.
ncclUniqueId NcclGroup::makeId() {
  ncclUniqueId id{};
  if (!peers || peers->rank() == 0)
    if (ncclResult_t status = nccl->ncclGetUniqueId(&id); status != ncclSuccess)
      failRun("NCCL cannot begin: ", nccl->ncclGetErrorString(status));
  if (!peers)
    return id;
  std::vector<ncclUniqueId> all(static_cast<size_t>(size()));
  peers->allGather("NCCL's id", &id, all.data(), sizeof id);
  return all[0];
}

/// Without blocking, so that a rank that does not come is noticed.
void NcclGroup::connect() {
  auto check = [&](ncclResult_t status) {
    if (peers && peers->aborted())
      failRun(peers->reason());
    if (status == ncclInProgress)
      failRun("NCCL does not connect ", size(), " GPUs within ", static_cast<double>(timeout.count()) / 1000,
              " s (NCCL_DEBUG=INFO says more)");
    if (status != ncclSuccess)
      failRun("NCCL cannot connect ", size(), " GPUs: ", nccl->ncclGetErrorString(status),
              " (NCCL_DEBUG=INFO says more)");
  };
  ncclUniqueId id = makeId();
  ncclConfig_t config{};
  config.blocking = 0;
  std::vector<ncclComm_t> made(devices.size());
  auto pending = [](ncclResult_t status) { return status == ncclInProgress ? ncclSuccess : status; };
  check(nccl->ncclGroupStart());
  for (size_t r = 0; r < devices.size(); ++r) {
    devices[r]->place().enter();
    int rank = peers ? peers->rank() : static_cast<int>(r);
    check(pending(nccl->ncclCommInitRankConfig(&made[r], size(), id, rank, &config)));
  }
  check(pending(nccl->ncclGroupEnd()));
  {
    std::lock_guard lock(connections->mutex);
    connections->all = std::move(made);
  }
  for (size_t r = 0; r < devices.size(); ++r)
    check(settle(r));
}

/// The watching thread: errors of the connections, and collectives that do not end.
void NcclGroup::watch() {
  auto pause = std::clamp(timeout / 10, std::chrono::milliseconds(5), std::chrono::milliseconds(200));
  try {
    while (!stopping) {
      std::this_thread::sleep_for(pause);
      for (size_t r = 0; r < devices.size() && !host->at(0).aborted(); ++r) {
        devices[r]->place().enter();
        int rank = peers ? peers->rank() : static_cast<int>(r);
        ncclResult_t status = ncclSuccess;
        {
          std::lock_guard lock(connections->mutex);
          if (connections->all[r])
            nccl->ncclCommGetAsyncError(connections->all[r], &status);
        }
        std::optional<Watch::Late> late = watches[r]->late(timeout);
        if (status != ncclSuccess && status != ncclInProgress)
          abort(detail::concat("NCCL on rank ", rank, ": ", nccl->ncclGetErrorString(status)));
        else if (late)
          reportLate(*late, rank);
      }
    }
  } catch (const std::exception &e) {
    abort(e.what());
  }
}

void NcclGroup::reportLate(const Watch::Late &late, int rank) {
  std::string waiting;
  std::vector<uint64_t> progress = peers ? peers->progress() : std::vector<uint64_t>(begun.begin(), begun.end());
  for (size_t other = 0; other < progress.size(); ++other)
    if (progress[other] < late.number)
      waiting += (waiting.empty() ? ": waiting for rank " : ", ") + std::to_string(other);
  // A graph takes longer than a collective.
  if (waiting.empty() && late.time < timeout * static_cast<int64_t>(late.count))
    return;
  std::string number = late.call.index < 0 ? "" : detail::concat(" (collective ", late.call.index, ")");
  std::string others =
      late.count == 1 ? "" : detail::concat(", or one of the ", late.count - 1, " behind it in a graph,");
  if (waiting.empty())
    waiting = detail::concat(others, " though all ranks have begun ", others.empty() ? "it" : "them",
                             ": the connection between the GPUs is stuck",
                             others.empty() ? "" : " (CAAT_CUDA_GRAPHS=0 finds where)");
  abort(
      detail::concat(nameOf(late.call.kind), " '", late.call.name, "'", number, " timed out after ",
                     std::chrono::duration<double>(late.count == 1 || waiting[0] == ':' ? timeout : late.time).count(),
                     " s on rank ", rank, waiting));
}

void NcclGroup::abort(const std::string &reason) {
  if (host->at(0).aborted())
    return;
  host->abort(reason);
  connections->abort();
}

void NcclGroup::reset() {
  host->reset();
  for (auto &watch : watches)
    watch->clear();
  for (CudaDevice *device : devices)
    device->settle();
  for (auto &count : begun)
    count = 0;
  if (!peers && connections->memory)
    connections->memory->reset();
  for (auto &rank : ranks) {
    rank->forgetTransfers();
    rank->reconnected();
  }
  if (!peers && std::find(connections->all.begin(), connections->all.end(), nullptr) != connections->all.end())
    connect();
}

Communicator &NcclGroup::at(int rank) { return *ranks.at(static_cast<size_t>(rank)); }

} // namespace caat::runtime::cuda
