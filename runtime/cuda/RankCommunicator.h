// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the communicators of GPUs share.
#ifndef CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H
#define CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H

#include "QuantizedPieces.h"
#include "Transfers.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <deque>

namespace caat::runtime::cuda {

class RankCommunicator : public Communicator {
public:
  /// On the stream of the rank's work: nothing is hidden.
  void startAllReduce(const CollectiveCall &call, void *data) override {
    Stretch &time = started.emplace_back(device.now(), Moment{});
    allReduce(call, data);
    time.end = device.now();
  }
  Stretch finishAllReduce(const CollectiveCall &call, void *) override {
    if (started.empty())
      failRun("all_reduce '", call.name, "' is waited for, but was not started");
    Stretch time = started.front();
    started.pop_front();
    return time;
  }
  void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) override {
    host.allGatherBytes(name, in, out, bytes);
  }
  void forgetTransfers() { transfers.reset(); }
  Communicator &ofHost() override { return host; }
  void abort(const std::string &reason) override { host.abort(reason); }
  bool aborted() const override { return host.aborted(); }

protected:
  RankCommunicator(Communicator &host, CudaDevice &device)
      : Communicator(host.rank(), host.size()), host(host), device(device), pieces(device), transfers(device) {}

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
  std::deque<Stretch> started;
};

} // namespace caat::runtime::cuda

#endif
