// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the communicators of GPUs share: the ranks are threads of one process, which meet on the host.
#ifndef CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H
#define CAAT_RUNTIME_CUDA_RANKCOMMUNICATOR_H

#include "CudaDevice.h"
#include "QuantizedPieces.h"
#include "caat/runtime/Error.h"

namespace caat::runtime::cuda {

class RankCommunicator : public Communicator {
public:
  void startPermute(const CollectiveCall &call, const void *, void *, int64_t, int64_t) override { cannotRotate(call); }
  Interval finishPermute(const CollectiveCall &call) override { cannotRotate(call); }
  void permuteInPlace(const CollectiveCall &call, void *data, int64_t bytes, int64_t shift) override {
    permute(call, data, data, bytes, shift);
  }
  void allGatherBytes(const char *name, const void *in, void *out, size_t bytes) override {
    host.allGatherBytes(name, in, out, bytes);
  }
  Communicator &ofHost() override { return host; }
  void abort(const std::string &reason) override { host.abort(reason); }
  bool aborted() const override { return host.aborted(); }

protected:
  RankCommunicator(Communicator &host, CudaDevice &device)
      : Communicator(host.rank(), host.size()), host(host), device(device), pieces(device) {}

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

private:
  [[noreturn]] static void cannotRotate(const CollectiveCall &call) {
    failRun("'", call.name, "': weights do not rotate on this device");
  }
};

} // namespace caat::runtime::cuda

#endif
