// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The arithmetic of a quantised all-reduce, whatever carries its messages: rounding, packing, sums.
//
// A message holds all rows of one rank: a scale a block, then the packed integers row by row, then the exact elements.
// Each block of each row has an owner; the blocks of owner r are [n r / N, n (r + 1) / N) of all n, so what one owner
// is sent is one range of each part. The owner adds up the ranks' messages, rounds the sum into a message of the same
// form, and everybody unpacks those.
#ifndef CAAT_RUNTIME_COMM_QUANTIZE_H
#define CAAT_RUNTIME_COMM_QUANTIZE_H

#include "caat/runtime/Wire.h"
#include <cstddef>
#include <functional>
#include <span>

namespace caat::runtime {

/// Consecutive blocks of one row that are handled at once.
struct WirePiece {
  int64_t row, block;         // the first block
  int64_t begin, length;      // channels
  int64_t exactBegin, exacts; // entries of the format's list
};

class QuantizedRows {
public:
  QuantizedRows(const WireFormat &format, int64_t rows, int ranks);

  size_t messageBytes() const { return static_cast<size_t>(rows * format.rowBytes()); }

  /// Rounds an owner's blocks of `data` [rows, channels] into a message. `error`, where not null, becomes data -
  /// Q(data).
  void encode(int owner, const float *data, std::byte *message, float *error) const;
  /// Sums an owner's blocks of all messages, in their order, and rounds the sum into `result`, a message too. `data`
  /// becomes the rounded sum; what rounding it has left out is added to `error`, where that is not null.
  void sum(int owner, std::span<const std::byte *const> messages, std::byte *result, float *data, float *error) const;
  /// Unpacks an owner's blocks.
  void decode(int owner, const std::byte *message, float *data) const;

  /// An owner's blocks.
  void forEachPiece(int owner, const std::function<void(const WirePiece &)> &run) const;

private:
  const WireFormat &format;
  int64_t rows, ranks;
};

} // namespace caat::runtime

#endif
