// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CpuDevice.h"
#include "../core/Memory.h"
#include "caat/runtime/Error.h"
#include <cstring>

namespace caat::runtime {

void CpuDevice::attach() { setThreads(threads); } // a new thread starts with one OpenMP thread per core

std::shared_ptr<std::byte> CpuDevice::allocate(size_t bytes, const std::string &what) {
  auto memory = std::make_shared<LargeBuffer>();
  memory->reserve(bytes);
  return {memory, memory->data()};
}

void CpuDevice::copy(void *to, const void *from, size_t bytes) {
  if (bytes > 0 && to != from)
    std::memmove(to, from, bytes);
}

std::vector<void *> CpuDevice::load(std::span<const HostParameter> parameters) {
  std::vector<void *> places;
  std::vector<size_t> packing; // by weight
  weightOf.resize(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto &[spec, data, bytes, taken, seed] = parameters[i];
    places.push_back(const_cast<std::byte *>(data));
    if (!spec->linear)
      continue;
    weightOf[i] = spec->rotation ? weights.addTravelling(*spec, data) : weights.add(*spec, data);
    packing.push_back(i);
  }
  weights.pack([&](size_t weight) {
    if (const auto &taken = parameters[packing[weight]].taken)
      taken();
  });
  return places;
}

void CpuDevice::launch(size_t kernel, int64_t rows, std::span<void *const> buffers, std::span<const int64_t> dims) {
  runKernel(program.kernels[kernel], rows, buffers.data(), dims.data(), threads);
}

void CpuDevice::linear(size_t parameter, const float *x, int64_t m, float *y, bool accumulate) {
  weights.run(weightOf[parameter], x, m, y, accumulate);
}

std::unique_ptr<Device> CpuBackend::makeDevice(int rank) {
  return std::make_unique<CpuDevice>(program, options.threadsPerRank);
}

std::unique_ptr<RankGroup> CpuBackend::makeGroup(std::span<Device *const> devices) {
  return std::make_unique<ThreadGroup>(static_cast<int>(devices.size()), options.communicator);
}

} // namespace caat::runtime
