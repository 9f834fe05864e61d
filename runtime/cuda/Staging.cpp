// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Staging.h"
#include <algorithm>
#include <cstring>

namespace caat::runtime::cuda {

Staging::~Staging() {
  if (!pinned)
    return;
  const Driver &driver = context.driver();
  for (Slot &slot : slots)
    driver.cuEventDestroy_v2(slot.read);
}

void Staging::allocate() {
  if (pinned)
    return;
  const Driver &driver = context.driver();
  pinned = context.allocatePinned(numSlots * slotBytes);
  for (size_t i = 0; i < numSlots; ++i) {
    slots[i].data = pinned.get() + i * slotBytes;
    driver.check(driver.cuEventCreate(&slots[i].read, CU_EVENT_DISABLE_TIMING), "an event");
  }
}

/// A slot with room for so much, which has been read where it was full.
Staging::Slot &Staging::slotFor(size_t bytes) {
  allocate();
  if (slots[current].used + bytes > slotBytes) {
    current = (current + 1) % numSlots;
    const Driver &driver = context.driver();
    driver.check(driver.cuEventSynchronize(slots[current].read), "an upload");
    slots[current].used = 0;
  }
  return slots[current];
}

void Staging::upload(void *to, const void *from, size_t bytes, CUstream stream) {
  const Driver &driver = context.driver();
  constexpr size_t line = 256; // each part begins at one
  for (size_t at = 0; at < bytes;) {
    size_t piece = std::min(bytes - at, slotBytes);
    Slot &slot = slotFor(piece);
    std::byte *place = slot.data + slot.used;
    std::memcpy(place, static_cast<const std::byte *>(from) + at, piece);
    driver.check(driver.cuMemcpyHtoDAsync_v2(addressOf(to) + at, place, piece, stream), "upload of ", bytes, " bytes");
    driver.check(driver.cuEventRecord(slot.read, stream), "an event");
    slot.used = std::min((slot.used + piece + line - 1) / line * line, slotBytes);
    at += piece;
  }
}

void Staging::download(void *to, const void *from, size_t bytes, CUstream stream) {
  const Driver &driver = context.driver();
  for (size_t at = 0; at < bytes;) {
    size_t piece = std::min(bytes - at, slotBytes);
    Slot &slot = slotFor(piece);
    std::byte *place = slot.data + slot.used; // free again after the call
    driver.check(driver.cuMemcpyDtoHAsync_v2(place, addressOf(from) + at, piece, stream), "download of ", bytes,
                 " bytes");
    driver.check(driver.cuStreamSynchronize(stream), "download of ", bytes, " bytes");
    std::memcpy(static_cast<std::byte *>(to) + at, place, piece);
    at += piece;
  }
}

} // namespace caat::runtime::cuda
