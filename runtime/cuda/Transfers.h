// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What travels beside a rank's work: on a stream of its own, in the order in which it is started. Events say when the
// work has left the memory to a transfer, and when the transfer is done with it.
#ifndef CAAT_RUNTIME_CUDA_TRANSFERS_H
#define CAAT_RUNTIME_CUDA_TRANSFERS_H

#include "CudaDevice.h"
#include <deque>

namespace caat::runtime::cuda {

class Transfers {
public:
  explicit Transfers(CudaDevice &device) : device(device) {}
  ~Transfers();

  struct Transfer {
    CollectiveCall call;
    int64_t shift;
    CUevent ready, done;
    Communicator::Stretch time = {};
  };
  CUstream stream();
  /// The rank's work so far comes before it: `ready` is recorded there, and the stream waits for it.
  Transfer &start(const CollectiveCall &call, int64_t shift);
  /// Around what is asked of the stream for the transfer that was started last.
  void begin();
  void end();
  /// The oldest one, which has to be the call's. Throws Error (Run).
  Transfer finish(const CollectiveCall &call);
  /// The rank's work goes on when `event`, of any rank's transfer, is done.
  void awaitOnWork(CUevent event, const CollectiveCall &call);

  /// Forgets what was started; all ranks are idle.
  void reset();

private:
  const Driver &driver() const { return device.driver(); }
  CUevent newEvent() const;

  CudaDevice &device;
  CUstream stream_ = nullptr;
  std::deque<Transfer> open;
  std::deque<std::pair<CUevent, CUevent>> unused; // ready and done, the longest unused ones first
};

} // namespace caat::runtime::cuda

#endif
