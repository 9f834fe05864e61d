// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PeerSums.h"
#include "caat/runtime/Error.h"
#include <array>

namespace caat::runtime::cuda {

PeerSums::PeerSums(CudaDevice &device, size_t number) : device(device), number(number) {}

Exchange::Kind PeerSums::kindOf(const CollectiveCall &call, const void *data) const {
  size_t bytes = static_cast<size_t>(call.count) * sizeOf(call.dtype);
  if (!memory || (wanted >= 0 && !memory->takes(call.dtype, bytes, data)))
    return Exchange::Kind::AllReduce;
  switch (wanted < 0 ? memory->wayFor(call.dtype, bytes, data) : static_cast<PeerMemory::Way>(wanted)) {
  case PeerMemory::Way::OneShot:
    return Exchange::Kind::PeersOneShot;
  case PeerMemory::Way::TwoShots:
    return Exchange::Kind::PeersTwoShots;
  case PeerMemory::Way::Library:
    break;
  }
  return Exchange::Kind::AllReduce;
}

Exchange PeerSums::exchange(const CollectiveCall &call, void *data, Exchange::Kind kind, int type) {
  return {.kind = kind, .call = call, .in = data, .out = data, .count = static_cast<size_t>(call.count), .type = type};
}

void PeerSums::ask(const Exchange &exchange, CUstream stream) const {
  memory->sum(exchange, number, exchange.kind == Exchange::Kind::PeersOneShot, stream);
}

bool PeerSums::leavesToKernel(const CollectiveCall &call, const void *data) const {
  return leavesSums && kindOf(call, data) == Exchange::Kind::PeersOneShot;
}

bool PeerSums::sumInKernel(const CollectiveCall &call, void *data, const KernelLaunch &launch) {
  const std::optional<RowSum> &sum = device.sumOf(launch.kernel);
  if (!leavesToKernel(call, data) || !sum || static_cast<size_t>(sum->buffer) >= launch.buffers.size() ||
      launch.buffers[static_cast<size_t>(sum->buffer)] != data || call.count != launch.rows * sum->elements)
    return false;
  int64_t rows = std::min(launch.rows, device.specOf(launch.kernel).rowsPerBlock);
  if (!memory->takesRows(device.blocksOf(launch), rows * sum->elements * static_cast<int64_t>(sizeOf(call.dtype))))
    return false;
  auto [what, mine] = memory->rowsArguments(call, number);
  CollectiveCall whole = call;
  whole.extra = 1; // who sums it otherwise does something else
  device.launchSumming(launch, exchange(whole, data, Exchange::Kind::InKernel), std::array{what, mine});
  return true;
}

void PeerSums::check() const {
  if (memory && memory->differs())
    failRun("the ranks' collectives disagree: they have summed different things");
}

std::vector<std::string> PeerSums::ways(const char *library, int64_t bytes) const {
  std::vector<std::string> ways{library};
  if (memory && bytes <= peerBytes)
    ways.insert(ways.end(), {"one shot", "two shots"});
  return ways;
}

} // namespace caat::runtime::cuda
