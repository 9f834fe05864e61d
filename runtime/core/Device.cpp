// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Device.h"
#include <algorithm>
#include <cmath>

namespace caat::runtime {

MadeUp::MadeUp(const ParameterSpec &spec) {
  if (!isConvertible(spec.dtype))
    return;
  if (spec.linear)
    scale = 1.0f / std::sqrt(static_cast<float>(spec.k()));
  else if (spec.shape.size() > 1) // a table
    scale = 1.0f;
  else // factors, of a norm
    offset = 1.0f;
}

Tensor madeUp(const ParameterSpec &spec, uint32_t seed) {
  MadeUp numbers(spec);
  if (spec.blocks) {
    Tensor rows(spec.storedType(), spec.storedShape());
    spec.blocks->makeUp(spec.n(), spec.k(), numbers.scale, seed, rows.data.get());
    return rows;
  }
  if (!isConvertible(spec.dtype))
    return Tensor(spec.dtype, spec.shape);
  Tensor made(DType::F32, spec.shape);
  for (int64_t i = 0, count = made.count(); i < count; ++i) {
    seed = nextRandom(seed);
    made.as<float>()[i] = (static_cast<float>(seed >> 8) / float(1 << 23) - 1.0f) * numbers.scale + numbers.offset;
  }
  return converted(made, spec.dtype);
}

int64_t Device::loadElement(const void *from, DType dtype) {
  int64_t bits = 0; // little-endian
  download(&bits, from, sizeOf(dtype));
  return bits;
}

void Device::storeElement(void *to, DType dtype, int64_t bits) { upload(to, &bits, sizeOf(dtype)); }

/// What grows step by step (a sequence) does so in larger steps.
std::byte *DeviceBuffer::reserve(Device &device, size_t bytes, const std::string &what) {
  if (bytes > size || !memory) {
    constexpr size_t page = 4096;
    size_t room = (std::max(bytes, size + size / 2) + page - 1) / page * page;
    if (memory)
      device.synchronize(); // what was asked for may use it, even if it has not begun
    memory.reset();         // before the next one, so that there is room for it
    size = 0;
    memory = device.allocate(room, what);
    size = room;
  }
  return memory.get();
}

Tensor onHost(Device &device, const Tensor &array) {
  if (device.isHost())
    return array;
  Tensor result(array.dtype, array.shape);
  device.download(result.data.get(), array.data.get(), array.bytes());
  return result;
}

} // namespace caat::runtime
