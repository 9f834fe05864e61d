// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the communicators of GPUs share.
#ifndef CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H
#define CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H

#include "QuantizedPieces.h"
#include "Transfers.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <deque>
#include <optional>

namespace caat::runtime::cuda {

class RankCommunicator : public Communicator {
public:
  /// Large sums go on beside the rank's work, on the stream of transfers; small ones come before it, since two streams
  /// that wait for each other take longer than they do.
  void startAllReduce(const CollectiveCall &call, void *data) override {
    size_t bytes = static_cast<size_t>(call.count) * sizeOf(call.dtype);
    if (size() > 1 && (isAlwaysBeside || bytes >= leastBeside)) {
      startSum(call, data);
      sums.emplace_back();
      return;
    }
    Stretch time{device.now(), {}};
    allReduce(call, data);
    time.end = device.now();
    sums.emplace_back(time);
  }
  Stretch finishAllReduce(const CollectiveCall &call, void *) override {
    if (sums.empty())
      failRun("all_reduce '", call.name, "' is waited for, but was not started");
    std::optional<Stretch> time = sums.front();
    sums.pop_front();
    return time ? *time : finishSum(call);
  }
  void setAlwaysBeside(bool always) override { isAlwaysBeside = always; }
  void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) override {
    host.allGatherBytes(name, in, out, bytes);
  }
  /// Waits for the device, whatever has become of its work.
  void settle() { device.settle(); }
  void forgetTransfers() {
    transfers.reset();
    sums.clear();
  }
  Communicator &ofHost() override { return host; }
  void abort(const std::string &reason) override { host.abort(reason); }
  bool aborted() const override { return host.aborted(); }

protected:
  RankCommunicator(Communicator &host, CudaDevice &device)
      : Communicator(host.rank(), host.size()), host(host), device(device), pieces(device), transfers(device) {}

  /// An all-reduce as a transfer.
  virtual void startSum(const CollectiveCall &call, void *data) = 0;
  virtual Stretch finishSum(const CollectiveCall &call) = 0;

  /// Whether all ranks have found the same good.
  bool agreeOnHost(bool good) {
    char mine = good;
    std::vector<char> all(static_cast<size_t>(size()));
    host.allGatherBytes("a graph", &mine, all.data(), 1);
    return std::find(all.begin(), all.end(), 0) == all.end();
  }
  void checkRoot(const CollectiveCall &call, int root) const {
    if (root < 0 || root >= size())
      failRun("broadcast '", call.name, "': root ", root, " is not one of ", size(), " ranks");
  }
  /// What kernels of a quantised sum are given; the messages and the result are left out.
  QuantizedArguments quantized(const WireFormat &format, const QuantizedPieces::Table &table, float *data, float *error,
                               int64_t rows) const {
    return {{},   nullptr,         data,        error,        table.pieces, table.exact, size(),
            rows, format.channels, format.bits, format.block, table.exacts};
  }
  /// A kernel over an owner's pieces.
  void runPieces(const char *kernel, const QuantizedPieces::Table &table, int owner, QuantizedArguments arguments) {
    auto [first, count] = table.owned[static_cast<size_t>(owner)];
    arguments.pieces += first;
    device.launchOwn(kernel, count, arguments);
  }

  Communicator &host;
  CudaDevice &device;
  QuantizedPieces pieces;
  Transfers transfers;

  /// The rank at some distance in the ring.
  int at(int64_t distance) const {
    int64_t n = size();
    return static_cast<int>(((rank() + distance % n) % n + n) % n);
  }
  /// What goes round in place does so in pieces, of which two have a place to come to: one is written where it belongs
  /// when the rank behind has read what was there.
  class Pieces {
  public:
    Pieces(RankCommunicator &rank, void *data, int64_t count)
        : rank(rank), data(static_cast<std::byte *>(data)), size(static_cast<size_t>(count)) {}
    size_t count() const { return (size + pieceBytes - 1) / pieceBytes; }
    size_t begin(size_t piece) const { return piece * pieceBytes; }
    size_t bytes(size_t piece) const { return std::min(pieceBytes, size - begin(piece)); }
    std::byte *from(size_t piece) const { return data + begin(piece); }
    std::byte *place(size_t piece) const {
      return rank.came[piece % 2].reserve(rank.device, std::min(size, pieceBytes), "a piece of a rotation");
    }
    void write(size_t piece) const { rank.device.copy(from(piece), place(piece), bytes(piece)); }

  private:
    static constexpr size_t pieceBytes = 4 << 20;
    RankCommunicator &rank;
    std::byte *data;
    size_t size;
  };

private:
  DeviceBuffer came[2];
  /// Bytes of a sum.
  size_t leastBeside = static_cast<size_t>(environment::number("CAAT_CUDA_BESIDE", 256 << 10));
  bool isAlwaysBeside = false;
  std::deque<std::optional<Stretch>> sums; // not waited for; with their time where they were no transfers
};

} // namespace caat::runtime::cuda

#endif
