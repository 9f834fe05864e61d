// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "NcclRank.h"
#include "../comm/processes/ProcessHosts.h"
#include <algorithm>

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

NcclGroup::Rank::Rank(NcclGroup &group, size_t index, Communicator &host)
    : RankCommunicator(host, *group.devices[index]), group(group), index(index), peerSums(device, index) {
  device.setExchanges(this);
  peerSums.use(group.connections->memory.get());
}

void NcclGroup::Rank::allReduce(const CollectiveCall &call, void *data) {
  device.exchange(PeerSums::exchange(call, data, peerSums.kindOf(call, data), typeOf(call.dtype)));
}

bool NcclGroup::Rank::leavesToKernel(const CollectiveCall &call, const void *data) const {
  return peerSums.leavesToKernel(call, data);
}

bool NcclGroup::Rank::sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) {
  return peerSums.sumInKernel(call, data, launch);
}

void NcclGroup::Rank::startSum(const CollectiveCall &call, void *data) {
  transfers.start(call, 0);
  transfers.begin();
  run(PeerSums::exchange(call, data, Exchange::Kind::AllReduce, typeOf(call.dtype)), transfers.stream());
  transfers.end();
}

void NcclGroup::Rank::allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) {
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

void NcclGroup::Rank::reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer,
                                    int64_t inner) {
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

void NcclGroup::Rank::allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) {
  size_t part = static_cast<size_t>(count) * sizeOf(call.dtype);
  Exchange exchange{Exchange::Kind::Points, call};
  for (int rank = 0; rank < size(); ++rank) {
    send(exchange, static_cast<const std::byte *>(in) + static_cast<size_t>(rank) * part, part, rank);
    receive(exchange, static_cast<std::byte *>(out) + static_cast<size_t>(rank) * part, part, rank);
  }
  device.exchange(std::move(exchange));
}

void NcclGroup::Rank::permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) {
  size_t bytes = static_cast<size_t>(count) * sizeOf(call.dtype);
  if (in == out)
    return permuteInPlace(call, out, static_cast<int64_t>(bytes), shift);
  device.exchange(turn(call, in, out, bytes, shift));
}

void NcclGroup::Rank::permuteInPlace(const CollectiveCall &call, void *data, int64_t count, int64_t shift) {
  Pieces pieces(*this, data, count);
  for (size_t piece = 0; piece < pieces.count(); ++piece) {
    device.exchange(turn(call, pieces.from(piece), pieces.place(piece), pieces.bytes(piece), shift));
    pieces.write(piece);
  }
}

void NcclGroup::Rank::startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count,
                                   int64_t shift) {
  transfers.start(call, shift);
  transfers.begin();
  run(turn(call, in, out, static_cast<size_t>(count) * sizeOf(call.dtype), shift), transfers.stream());
  transfers.end();
}

Communicator::Stretch NcclGroup::Rank::finishPermute(const CollectiveCall &call) {
  Transfers::Transfer transfer = transfers.finish(call);
  transfers.awaitOnWork(transfer.done, call);
  return transfer.time;
}

void NcclGroup::Rank::broadcast(const CollectiveCall &call, void *data, int64_t count, int root) {
  checkRoot(call, root);
  device.exchange(
      {Exchange::Kind::Broadcast, call, data, data, static_cast<size_t>(count) * sizeOf(call.dtype), ncclUint8, root});
}

void NcclGroup::Rank::quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data,
                                         float *error, int64_t rows) {
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

void NcclGroup::Rank::checkAborted() const {
  host.checkAborted();
  peerSums.check();
}

void NcclGroup::Rank::forgetGraphs(Exchanges *next) {
  device.place().enter();
  device.setExchanges(next);
}

void NcclGroup::Rank::meet(const CollectiveCall &call) {
  uint64_t mine = 0;
  met.resize(static_cast<size_t>(size()));
  host.allGather(call, &mine, met.data(), 1, static_cast<int64_t>(sizeof mine / sizeOf(call.dtype)));
}

void NcclGroup::Rank::run(const Exchange &exchange, CUstream stream) {
  begin(exchange, stream);
  ask(exchange, stream);
  end(stream);
}

void NcclGroup::Rank::begin(const Exchange &exchange, CUstream stream) {
  checkAborted();
  if (auto *hosts = group.processes())
    hosts->begin(exchange.call);
  else if (!PeerSums::isOne(exchange))
    meet(exchange.call);
  ++group.begun[index];
  if (size() > 1)
    group.watches[index]->begin(exchange.call, stream);
}

void NcclGroup::Rank::end(CUstream stream) {
  if (size() > 1)
    group.watches[index]->end(stream);
}

void NcclGroup::Rank::ask(const Exchange &x, CUstream stream) {
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
    return peerSums.ask(x, stream);
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

void NcclGroup::Rank::beginGraph(const std::vector<const Exchange *> &all, CUstream stream) {
  checkAborted();
  if (auto *hosts = group.processes()) {
    hosts->note(all.size());
    for (const Exchange *exchange : all)
      hosts->begin(exchange->call);
  } else if (!std::all_of(all.begin(), all.end(), [](const Exchange *x) { return PeerSums::isOne(*x); })) {
    meet(wholeOf(all));
  }
  group.begun[index] += all.size();
  if (size() > 1)
    group.watches[index]->begin(all.front()->call, stream, all.size());
}

void NcclGroup::Rank::check(const CollectiveCall &call, ncclResult_t status) const {
  if (status == ncclInProgress)
    status = group.settle(index);
  checkAborted();
  if (status != ncclSuccess)
    failRun(nameOf(call.kind), " '", call.name, "' on rank ", rank(), ": ", nccl().ncclGetErrorString(status));
}

void NcclGroup::Rank::send(Exchange &exchange, const void *from, size_t bytes, int to) {
  exchange.points.push_back({true, const_cast<void *>(from), bytes, to});
}

void NcclGroup::Rank::receive(Exchange &exchange, void *to, size_t bytes, int from) {
  exchange.points.push_back({false, to, bytes, from});
}

Exchange NcclGroup::Rank::turn(const CollectiveCall &call, const void *in, void *out, size_t bytes,
                               int64_t shift) const {
  Exchange exchange{Exchange::Kind::Points, call};
  send(exchange, in, bytes, at(shift));
  receive(exchange, out, bytes, at(-shift));
  return exchange;
}

} // namespace caat::runtime::cuda
