// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a quantised all-reduce puts on the wire, for compiler and runtime.
#ifndef CAAT_RUNTIME_WIRE_H
#define CAAT_RUNTIME_WIRE_H

#include <cstdint>
#include <vector>

namespace caat::runtime {

/// Rows of `channels` f32 elements, rounded in blocks of `block` consecutive channels to integers of `bits` bits times
/// a scale a block. Channels in `exact` (ascending) travel as they are.
struct WireFormat {
  int64_t channels = 0;
  int64_t bits = 8;
  int64_t block = 32;
  std::vector<int64_t> exact = {};

  static constexpr int64_t scaleBytes = 1;

  /// Blocks of a row; the last one may be shorter.
  int64_t blocks() const { return (channels + block - 1) / block; }
  /// Bytes of a row's integers: eight of them take `bits` bytes.
  int64_t codeBytes() const { return (channels + 7) / 8 * bits; }
  /// Bytes of a row: scales, integers, exact elements.
  int64_t rowBytes() const {
    return blocks() * scaleBytes + codeBytes() + static_cast<int64_t>(exact.size()) * int64_t(sizeof(float));
  }
};

} // namespace caat::runtime

#endif
