// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CpuDevice.h"
#include "../core/Memory.h"
#include "Epilogues.h"
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
  products.resize(parameters.size());
  travelling.resize(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto &[spec, data, bytes, taken, seed] = parameters[i];
    places.push_back(spec->rotation ? nullptr : const_cast<std::byte *>(data));
    if (spec->rotation)
      travelling[i] = parameters[i];
    if (!spec->linear)
      continue;
    products[i] = {spec->rotation ? weights.addTravelling(*spec, data) : weights.add(*spec, data), spec->k(),
                   spec->n()};
    packing.push_back(i);
  }
  weights.pack([&](size_t weight) {
    if (const auto &taken = parameters[packing[weight]].taken)
      taken();
  });
  return places;
}

size_t CpuDevice::travellingBytes(size_t parameter) const {
  const HostParameter &given = travelling[parameter];
  return given.spec->linear ? weights.bytes(products[parameter].weight) : given.bytes;
}

void CpuDevice::fillTravelling(size_t parameter, std::byte *to) {
  const HostParameter &given = travelling[parameter];
  if (given.spec->linear)
    weights.packTo(products[parameter].weight, to);
  else
    std::memcpy(to, given.data, given.bytes);
}

void CpuDevice::moveTravelling(size_t parameter, const std::byte *to) {
  if (travelling[parameter].spec->linear)
    weights.moveTo(products[parameter].weight, to);
}

void CpuDevice::launch(const KernelLaunch &launch) {
  runKernel(program.kernels[launch.kernel], launch.rows, launch.buffers.data(), launch.dims.data(), threads);
}

/// A row is 32 KiB.
static void readRows(int64_t begin, int64_t end, void *const *buffers, const int64_t *) {
  constexpr int64_t row = (32 << 10) / sizeof(uint64_t);
  const auto *words = static_cast<const uint64_t *>(buffers[0]);
  uint64_t all = 0;
  for (int64_t i = begin * row; i < end * row; ++i)
    all ^= words[i];
  asm volatile("" ::"r"(all)); // so that it is computed
}

void CpuDevice::read(const void *from, size_t bytes) {
  void *buffers[] = {const_cast<void *>(from)};
  runKernel(readRows, static_cast<int64_t>(bytes >> 15), buffers, nullptr, threads);
}

/// By way of the plain product.
void CpuDevice::linearGated(const Linear &l) {
  int64_t n = products[l.parameter].n;
  Tensor halves(DType::F32, {l.m, n}), y(DType::F32, {l.m, n / 2});
  Epilogue bias{l.epilogue.bias, l.epilogue.biasType};
  linear({l.parameter, l.x, l.xType, l.m, halves.data.get(), DType::F32, false, bias});
  applyGate(l.epilogue, l.gate, halves.as<float>(), y.as<float>(), l.m, n / 2);
  Tensor result = converted(y, l.yType);
  copy(l.y, result.data.get(), result.bytes());
}

/// Rows of other types are converted on the way, which only programs for other devices have, and gates too.
void CpuDevice::linear(const Linear &l) {
  if (l.gate != CAAT_UNGATED)
    return linearGated(l);
  const Product &product = products[l.parameter];
  Tensor in = converted(Tensor::view(l.xType, {l.m, product.k}, const_cast<void *>(l.x)), DType::F32);
  Tensor out = Tensor::view(l.yType, {l.m, product.n}, l.y), sum = out, bias;
  if (l.yType != DType::F32)
    sum = l.accumulate ? converted(out, DType::F32) : Tensor(DType::F32, out.shape);
  Epilogue epilogue = l.epilogue;
  if (epilogue.bias) {
    bias = converted(Tensor::view(epilogue.biasType, {product.n}, const_cast<void *>(epilogue.bias)), DType::F32);
    epilogue.bias = bias.data.get();
    epilogue.biasType = DType::F32;
  }
  weights.run(product.weight, in.as<float>(), l.m, sum.as<float>(), l.accumulate, epilogue);
  if (l.yType != DType::F32)
    copy(l.y, converted(sum, l.yType).data.get(), out.bytes());
}

std::unique_ptr<Device> CpuBackend::makeDevice(int rank) {
  return std::make_unique<CpuDevice>(program, options.threadsPerRank);
}

std::unique_ptr<RankGroup> CpuBackend::makeGroup(std::span<Device *const> devices) {
  return std::make_unique<ThreadGroup>(static_cast<int>(devices.size()), options.communicator);
}

} // namespace caat::runtime
