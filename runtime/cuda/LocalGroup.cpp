// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "LocalGroup.h"
#include "PeerSums.h"
#include "RankCommunicator.h"
#include <map>

namespace caat::runtime::cuda {

namespace {

/// Messages up to here are copied, so that the ranks meet once, not twice.
constexpr size_t stagingBytes = 256 << 10;

const char *sumKernel(DType dtype) {
  switch (dtype) {
  case DType::F32:
    return "caat_sum_f32";
  case DType::F64:
    return "caat_sum_f64";
  case DType::BF16:
    return "caat_sum_bf16";
  case DType::F16:
    return "caat_sum_f16";
  case DType::I32:
  case DType::UI32:
    return "caat_sum_i32";
  case DType::I64:
  case DType::UI64:
    return "caat_sum_i64";
  default:
    failRun("elements of type ", nameOf(dtype), " cannot be summed");
  }
}

} // namespace

/// The host's communicator carries what the ranks offer each other; its calls are compared as they are on the CPU.
class LocalGroup::Rank final : public RankCommunicator, private Exchanges {
public:
  Rank(LocalGroup &group, size_t index, CudaDevice &device)
      : RankCommunicator(group.host.at(static_cast<int>(index)), device), group(group), peerSums(device, index) {
    peerSums.use(group.memory.get());
    device.setExchanges(this);
    for (CUevent &event : ready)
      driver().check(driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "an event");
  }
  ~Rank() override {
    device.place().enter();
    device.setExchanges(nullptr);
    for (CUevent event : ready)
      driver().cuEventDestroy_v2(event);
  }

  void allReduce(const CollectiveCall &call, void *data) override {
    const char *kernel = sumKernel(call.dtype);
    if (size() == 1 && !aborted())
      return;
    if (Exchange::Kind kind = peerSums.kindOf(call, data); kind != Exchange::Kind::AllReduce)
      return device.exchange(PeerSums::exchange(call, data, kind));
    size_t bytes = static_cast<size_t>(call.count) * sizeOf(call.dtype);
    SumArguments arguments{{}, {}, size(), 1, 1, 0, call.count, 0, 0, 0};
    if (bytes <= stagingBytes) {
      offerCopy(call, data, bytes, arguments.in);
      arguments.out.at[0] = data;
      device.launchOwn(kernel, CudaDevice::blocksFor(call.count), arguments);
      return;
    }
    // Each sums a part for all.
    offer(call, data, nullptr);
    arguments = partForAll(call);
    device.launchOwn(kernel, CudaDevice::blocksFor(arguments.end - arguments.begin), arguments);
    leave(call);
  }

  bool leavesToKernel(const CollectiveCall &call, const void *data) const override {
    return peerSums.leavesToKernel(call, data);
  }
  bool sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) override {
    return peerSums.sumInKernel(call, data, launch);
  }
  std::vector<std::string> sumWays(int64_t bytes) const override { return peerSums.ways("events", bytes); }
  void setSumWay(int way) override { peerSums.setWay(way); }
  void abort(const std::string &reason) override { group.abort(reason); }
  void checkAborted() const override {
    host.checkAborted();
    peerSums.check();
  }

  /// Each sums a part for all, when the work of all has left the data.
  void startSum(const CollectiveCall &call, void *data) override {
    const char *kernel = sumKernel(call.dtype);
    Transfers::Transfer &transfer = transfers.start(call, 0);
    meet(call, {data, nullptr, transfer.ready, nullptr});
    for (int r = 0; r < size(); ++r)
      if (r != rank())
        driver().check(driver().cuStreamWaitEvent(transfers.stream(), offers[static_cast<size_t>(r)].ready, 0), "'",
                       call.name, "'");
    SumArguments arguments = partForAll(call);
    transfers.begin();
    device.launchOwnOn(transfers.stream(), kernel, CudaDevice::blocksFor(arguments.end - arguments.begin), arguments);
    transfers.end();
  }

  /// The rank's work goes on when all ranks have summed their parts.
  Stretch finishSum(const CollectiveCall &call) override {
    Transfers::Transfer transfer = transfers.finish(call);
    meet(call, {nullptr, nullptr, transfer.done, nullptr});
    for (const Offer &offer : offers)
      transfers.awaitOnWork(offer.ready, call);
    return transfer.time;
  }

  void quantizedAllReduce(const CollectiveCall &call, const WireFormat &format, float *data, float *error,
                          int64_t rows) override {
    if (rows == 0) {
      offer(call, nullptr, nullptr);
      return;
    }
    auto bytes = static_cast<size_t>(rows * format.rowBytes());
    const QuantizedPieces::Table &table = pieces.of(format, rows, size());
    QuantizedArguments arguments = quantized(format, table, data, error, rows);
    if (bytes <= stagingBytes) {
      // Everybody does every owner's work: the same bits, and one meeting.
      std::byte *message = ownPlace(call, bytes);
      arguments.messages.at[0] = message;
      device.launchOwn("caat_quantized_encode", table.count, arguments);
      offer(call, message, nullptr);
      for (int r = 0; r < size(); ++r)
        arguments.messages.at[r] = offers[static_cast<size_t>(r)].in;
      arguments.result = sum.reserve(device, bytes, "a message");
      for (int owner = 0; owner < size(); ++owner) {
        arguments.error = owner == rank() ? error : nullptr;
        runPieces("caat_quantized_sum", table, owner, arguments);
      }
      return;
    }
    std::byte *message = large.reserve(device, bytes, "a message"), *result = sum.reserve(device, bytes, "a message");
    arguments.messages.at[0] = message;
    device.launchOwn("caat_quantized_encode", table.count, arguments);
    offer(call, message, result);
    for (int r = 0; r < size(); ++r)
      arguments.messages.at[r] = offers[static_cast<size_t>(r)].in;
    arguments.result = result;
    std::vector<Offer> sums = offers; // of the others
    runPieces("caat_quantized_sum", table, rank(), arguments);
    leave(call); // all sums are there
    for (int owner = 0; owner < size(); ++owner) {
      if (owner == rank())
        continue;
      arguments.messages.at[0] = sums[static_cast<size_t>(owner)].out;
      runPieces("caat_quantized_decode", table, owner, arguments);
    }
    leave(call); // and read
  }

  void allGather(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    size_t row = static_cast<size_t>(inner) * sizeOf(call.dtype);
    if (size() == 1)
      return device.copy(out, in, row * static_cast<size_t>(outer));
    Pointers sources = offerIn(call, in, row * static_cast<size_t>(outer));
    gather({sources, out, size(), outer, bytesOf(row), 0, bytesOf(row), bytesOf(row), bytesOf(row) * size()});
    leaveWhereNeeded(call);
  }

  void reduceScatter(const CollectiveCall &call, const void *in, void *out, int64_t outer, int64_t inner) override {
    const char *kernel = sumKernel(call.dtype);
    offer(call, in, nullptr);
    SumArguments arguments{{}, {}, size(), 1, outer, 0, inner, rank() * inner, size() * inner, inner};
    for (int r = 0; r < size(); ++r)
      arguments.in.at[r] = offers[static_cast<size_t>(r)].in;
    arguments.out.at[0] = out;
    device.launchOwn(kernel, CudaDevice::blocksFor(outer * inner), arguments);
    leave(call);
  }

  void allToAll(const CollectiveCall &call, const void *in, void *out, int64_t count) override {
    auto part = count * static_cast<int64_t>(sizeOf(call.dtype));
    Pointers sources = offerIn(call, in, static_cast<size_t>(part * size()));
    gather({sources, out, size(), 1, part, rank() * part, 0, part, 0});
    leaveWhereNeeded(call);
  }

  void permute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    size_t bytes = static_cast<size_t>(count) * sizeOf(call.dtype);
    auto before = static_cast<size_t>(at(-shift));
    if (in == out)
      return permuteInPlace(call, out, bytesOf(bytes), shift);
    offer(call, in, nullptr);
    device.copy(out, offers[before].in, bytes);
    leave(call);
  }

  void permuteInPlace(const CollectiveCall &call, void *data, int64_t count, int64_t shift) override {
    Pieces pieces(*this, data, count);
    auto before = static_cast<size_t>(at(-shift));
    // Each meeting says of a piece that it may be read, and of the one before that everybody has read it.
    for (size_t piece = 0; piece <= pieces.count(); ++piece) {
      offer(call, data, nullptr);
      if (piece > 0)
        pieces.write(piece - 1);
      if (piece < pieces.count())
        device.copy(pieces.place(piece), static_cast<std::byte *>(offers[before].in) + pieces.begin(piece),
                    pieces.bytes(piece));
    }
  }

  void startPermute(const CollectiveCall &call, const void *in, void *out, int64_t count, int64_t shift) override {
    Transfers::Transfer &transfer = transfers.start(call, shift);
    meet(call, {const_cast<void *>(in), nullptr, transfer.ready, nullptr});
    const Offer &source = offers[static_cast<size_t>(at(-shift))];
    driver().check(driver().cuStreamWaitEvent(transfers.stream(), source.ready, 0), "'", call.name, "'");
    transfers.begin();
    driver().check(driver().cuMemcpyDtoDAsync_v2(addressOf(out), addressOf(source.in),
                                                 static_cast<size_t>(count) * sizeOf(call.dtype), transfers.stream()),
                   "'", call.name, "'");
    transfers.end();
  }

  /// The rank's work goes on when its shards have come, and when the rank behind has read those that it had.
  Stretch finishPermute(const CollectiveCall &call) override {
    Transfers::Transfer transfer = transfers.finish(call);
    meet(call, {nullptr, nullptr, transfer.done, nullptr});
    transfers.awaitOnWork(transfer.done, call);
    transfers.awaitOnWork(offers[static_cast<size_t>(at(transfer.shift))].ready, call);
    return transfer.time;
  }

  void broadcast(const CollectiveCall &call, void *data, int64_t count, int root) override {
    checkRoot(call, root);
    offer(call, data, nullptr);
    if (rank() != root)
      device.copy(data, offers[static_cast<size_t>(root)].in, static_cast<size_t>(count) * sizeOf(call.dtype));
    leave(call);
  }

private:
  /// Memory that others may read after `ready`. Its size is a multiple of every element's, so that it travels as
  /// elements of the call.
  struct Offer {
    void *in, *out;
    CUevent ready;
    void *unused;
  };
  static_assert(sizeof(Offer) % 8 == 0);

  // Sums over shared memory. Nobody's kernel waits before all ranks are about to start theirs: what a rank does until
  // then may need the device to be idle.
  void begin(const Exchange &exchange, CUstream) override { meet(exchange.call, {}); }
  void end(CUstream) override {}
  void ask(const Exchange &exchange, CUstream stream) override { peerSums.ask(exchange, stream); }
  bool agree(bool good) override { return agreeOnHost(good); }
  void beginGraph(const std::vector<const Exchange *> &all, CUstream) override { meet(wholeOf(all), {}); }
  void endGraph(CUstream) override {}

  const Driver &driver() const { return device.driver(); }
  static int64_t bytesOf(size_t bytes) { return static_cast<int64_t>(bytes); }

  /// Hands the others an offer and learns of theirs.
  void meet(const CollectiveCall &call, Offer mine) {
    offers.resize(static_cast<size_t>(size()));
    host.allGather(call, &mine, offers.data(), 1, static_cast<int64_t>(sizeof mine / sizeOf(call.dtype)));
  }

  /// Offers memory, learns of the others' and makes what follows on this rank's stream wait until it is ready. An event
  /// is recorded anew only after the next meeting, when everybody has begun to wait for it.
  void offer(const CollectiveCall &call, const void *in, void *out) {
    CUevent event = ready[parity];
    parity = !parity;
    driver().check(driver().cuEventRecord(event, device.stream()), nameOf(call.kind), " '", call.name, "'");
    meet(call, {const_cast<void *>(in), out, event, nullptr});
    for (int r = 0; r < size(); ++r)
      if (r != rank())
        driver().check(driver().cuStreamWaitEvent(device.stream(), offers[static_cast<size_t>(r)].ready, 0),
                       nameOf(call.kind), " '", call.name, "'");
  }

  /// A sum in which this rank takes its part of what all have offered, and writes it into all.
  SumArguments partForAll(const CollectiveCall &call) const {
    SumArguments arguments{{}, {}, size(), size(), 1, 0, call.count, 0, 0, 0};
    for (int r = 0; r < size(); ++r)
      arguments.in.at[r] = arguments.out.at[r] = offers[static_cast<size_t>(r)].in;
    constexpr int64_t line = 64;
    int64_t lines = (call.count + line - 1) / line;
    arguments.begin = std::min(call.count, lines * rank() / size() * line);
    arguments.end = std::min(call.count, lines * (rank() + 1) / size() * line);
    return arguments;
  }

  /// Nothing that follows runs before all ranks have come here.
  void leave(const CollectiveCall &call) { offer(call, nullptr, nullptr); }

  /// Memory that the others read. What they read in the last meeting may still be read, so each collective has its own,
  /// and one that follows itself has two: the same places in every run, which graphs need.
  std::byte *ownPlace(const CollectiveCall &call, size_t bytes) {
    Place &place = places[call.index];
    place.turn = place.turn != (call.index == lastIndex);
    lastIndex = call.index;
    return place.buffers[place.turn].reserve(device, bytes, "a message");
  }

  /// Offers a copy.
  void offerCopy(const CollectiveCall &call, const void *data, size_t bytes, Pointers &sources) {
    std::byte *copy = ownPlace(call, bytes);
    device.copy(copy, data, bytes);
    offer(call, copy, nullptr);
    for (int r = 0; r < size(); ++r)
      sources.at[r] = offers[static_cast<size_t>(r)].in;
  }

  /// A copy of what is small, else the memory itself, which leaveWhereNeeded() waits for.
  Pointers offerIn(const CollectiveCall &call, const void *in, size_t bytes) {
    Pointers sources{};
    isCopy = bytes <= stagingBytes;
    if (isCopy) {
      offerCopy(call, in, bytes, sources);
      return sources;
    }
    offer(call, in, nullptr);
    for (int r = 0; r < size(); ++r)
      sources.at[r] = offers[static_cast<size_t>(r)].in;
    return sources;
  }
  void leaveWhereNeeded(const CollectiveCall &call) {
    if (!isCopy)
      leave(call);
  }

  /// All numbers in bytes.
  void gather(GatherArguments a) {
    auto odd = static_cast<uint64_t>(a.row | a.inOffset | a.inPitch | a.outStep | a.outPitch) | addressOf(a.out);
    for (int r = 0; r < size(); ++r)
      odd |= addressOf(a.in.at[r]);
    int64_t unit = odd % 4 == 0 ? 4 : 1;
    for (long long *number : {&a.row, &a.inOffset, &a.inPitch, &a.outStep, &a.outPitch})
      *number /= unit;
    device.launchOwn(unit == 4 ? "caat_gather_4" : "caat_gather_1", CudaDevice::blocksFor(a.sources * a.outer * a.row),
                     a);
  }

  LocalGroup &group;
  PeerSums peerSums;
  CUevent ready[2] = {};
  bool parity = false, isCopy = false;
  std::vector<Offer> offers;
  struct Place {
    DeviceBuffer buffers[2];
    bool turn = false;
  };
  std::map<int64_t, Place> places; // by the collective's number
  int64_t lastIndex = -1;
  DeviceBuffer large, sum;
};

LocalGroup::LocalGroup(std::span<CudaDevice *const> devices, const CommunicatorOptions &options)
    : host(static_cast<int>(devices.size()), options) {
  if (devices.size() > maxLocalRanks)
    failRun(devices.size(), " ranks cannot share a device: at most ", maxLocalRanks, " do");
  std::vector<const Context *> places;
  for (CudaDevice *device : devices)
    places.push_back(&device->place());
  if (joinsLocalRanks())
    memory = PeerMemory::make(places, nullptr);
  for (size_t r = 0; r < devices.size(); ++r)
    ranks.push_back(std::make_unique<Rank>(*this, r, *devices[r]));
}

LocalGroup::~LocalGroup() = default;

void LocalGroup::abort(const std::string &reason) {
  host.abort(reason);
  if (memory)
    memory->stop();
}

void LocalGroup::reset() {
  host.reset();
  for (auto &rank : ranks)
    rank->settle(); // what a failed run has left may still tell the host something, or others
  if (memory)
    memory->reset();
  for (auto &rank : ranks)
    rank->forgetTransfers();
}

Communicator &LocalGroup::at(int rank) { return *ranks.at(static_cast<size_t>(rank)); }

} // namespace caat::runtime::cuda
