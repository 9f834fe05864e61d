// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Quantize.h"
#include "../core/Multiversion.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

// One result on all processors: no fused multiply-adds.
#pragma clang fp contract(off)

namespace caat::runtime {

namespace {

#define CAAT_INLINE __attribute__((always_inline)) inline

constexpr int64_t maxPiece = 1024; // elements: stay in the first-level cache
constexpr uint32_t infinity = 0x7f800000;

/// What travels as a block's scale is its largest absolute value, as a float of three bits of mantissa and no sign:
/// code k in [1, 254] has the bits (k + offset) << shift, from 2.7e-4 to 917,504. 0 stands for a block of zeros, 255
/// for one that is not finite, or beyond. In few bits the nearest code loses least; in 8, one that cuts off nothing.
constexpr int shift = 23 - 3;
constexpr int32_t offset = (127 - 12) << 3;
constexpr int32_t lastCode = 254;
constexpr uint8_t noNumber = 255;

CAAT_INLINE uint8_t encodeLargest(float largest, int64_t bits) {
  auto pattern = std::bit_cast<uint32_t>(largest);
  if (pattern == 0)
    return 0;
  uint32_t up = bits == 8 ? (1u << shift) - 1 : 1u << (shift - 1);
  int32_t code = static_cast<int32_t>((std::min(pattern, infinity) + up) >> shift) - offset;
  return code > lastCode ? noNumber : static_cast<uint8_t>(std::max(code, 1));
}

CAAT_INLINE float decodeLargest(uint8_t code) {
  if (code == noNumber)
    return std::bit_cast<float>(infinity | 1u << 22);
  return code ? std::bit_cast<float>(static_cast<uint32_t>(code + offset) << shift) : 0.0f;
}

CAAT_INLINE int32_t limitOf(int64_t bits) { return (1 << (bits - 1)) - 1; }

/// A piece's parts of a message.
template <typename Byte> struct Parts {
  Byte *scales, *codes, *exact;
};

template <typename Byte>
CAAT_INLINE Parts<Byte> partsOf(const WireFormat &format, int64_t rows, const WirePiece &piece, Byte *message) {
  int64_t scales = piece.row * format.blocks() + piece.block;
  int64_t codes = rows * format.blocks() + piece.row * format.codeBytes() + piece.begin / 8 * format.bits;
  auto exacts = static_cast<int64_t>(format.exact.size());
  int64_t exact = rows * (format.blocks() + format.codeBytes()) +
                  (piece.row * exacts + piece.exactBegin) * static_cast<int64_t>(sizeof(float));
  return {message + scales * WireFormat::scaleBytes, message + codes, message + exact};
}

/// Eight integers take `bits` bytes. Those that share bytes are a whole eighth (half) of the piece apart, so that
/// neighbours are packed by one instruction. `q` is padded with zeros to a multiple of eight.
CAAT_INLINE void pack(const int8_t *q, int64_t length, int64_t bits, std::byte *out) {
  int64_t eighth = (length + 7) / 8;
  auto *to = reinterpret_cast<uint8_t *>(out);
  if (bits == 8) {
    std::memcpy(to, q, static_cast<size_t>(8 * eighth));
  } else if (bits == 4) {
    for (int64_t i = 0; i < 4 * eighth; ++i)
      to[i] = static_cast<uint8_t>((q[i] & 15) | q[i + 4 * eighth] << 4);
  } else {
    for (int64_t i = 0; i < eighth; ++i) {
      uint32_t word = 0;
      for (int64_t k = 0; k < 8; ++k)
        word |= static_cast<uint32_t>(q[i + k * eighth] & 7) << (3 * k);
      to[i] = static_cast<uint8_t>(word);
      to[i + eighth] = static_cast<uint8_t>(word >> 8);
      to[i + 2 * eighth] = static_cast<uint8_t>(word >> 16);
    }
  }
}

CAAT_INLINE void unpack(const std::byte *in, int64_t length, int64_t bits, int8_t *q) {
  int64_t eighth = (length + 7) / 8;
  auto *from = reinterpret_cast<const uint8_t *>(in);
  if (bits == 8) {
    std::memcpy(q, from, static_cast<size_t>(8 * eighth));
  } else if (bits == 4) {
    for (int64_t i = 0; i < 4 * eighth; ++i) {
      q[i] = static_cast<int8_t>(((from[i] & 15) ^ 8) - 8);
      q[i + 4 * eighth] = static_cast<int8_t>(((from[i] >> 4) ^ 8) - 8);
    }
  } else {
    for (int64_t i = 0; i < eighth; ++i) {
      uint32_t word =
          from[i] | static_cast<uint32_t>(from[i + eighth]) << 8 | static_cast<uint32_t>(from[i + 2 * eighth]) << 16;
      for (int64_t k = 0; k < 8; ++k)
        q[i + k * eighth] = static_cast<int8_t>(static_cast<int32_t>((word >> (3 * k) & 7) ^ 4) - 4);
    }
  }
}

/// The largest absolute value, or what is not finite: floats without sign compare as integers.
template <int64_t Block> CAAT_INLINE float largest(const float *x, int64_t block) {
  uint32_t most = 0;
  for (int64_t i = 0, n = Block ? Block : block; i < n; ++i)
    most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return std::bit_cast<float>(most);
}

/// Rounds a block to q times its scale, to nearest, ties to even; `rounded` becomes that product. Returns the scale's
/// code. A block whose size is known (Block > 0) needs no loop's ends.
template <int64_t Block>
CAAT_INLINE uint8_t roundBlock(const float *x, int64_t block, int64_t bits, int8_t *q, float *rounded) {
  uint8_t code = encodeLargest(largest<Block>(x, block), bits);
  bool isNumber = code != 0 && code != noNumber;
  int32_t limit = limitOf(bits);
  float most = decodeLargest(code), scale = most / static_cast<float>(limit);
  float inverse = isNumber ? static_cast<float>(limit) / most : 0.0f;
  constexpr float magic = 12582912.0f; // 1.5 * 2^23: what is added to it loses its fraction
  int32_t most32 = isNumber ? limit : 0;
  for (int64_t i = 0, n = Block ? Block : block; i < n; ++i) {
    float scaled = x[i] * inverse;
    int32_t value = std::bit_cast<int32_t>(scaled + magic) - std::bit_cast<int32_t>(magic);
    value = std::clamp(value, -most32, most32);
    q[i] = static_cast<int8_t>(value);
    rounded[i] = static_cast<float>(value) * scale;
  }
  return code;
}

template <int64_t Block>
CAAT_INLINE void roundBlocks(const float *x, int64_t length, const WireFormat &format, int8_t *q, std::byte *codes,
                             float *rounded) {
  int64_t step = Block ? Block : format.block;
  for (int64_t at = 0; at < length; at += step)
    *codes++ = std::byte(roundBlock<Block>(x + at, step, format.bits, q + at, rounded + at));
}

/// values = q * scale, block by block.
template <int64_t Block>
CAAT_INLINE void scaleBlocks(const int8_t *q, const std::byte *codes, int64_t length, const WireFormat &format,
                             float *values) {
  auto limit = static_cast<float>(limitOf(format.bits));
  int64_t step = Block ? Block : format.block;
  for (int64_t at = 0; at < length; at += step) {
    float scale = decodeLargest(static_cast<uint8_t>(*codes++)) / limit;
    for (int64_t i = at; i < at + step; ++i)
      values[i] = static_cast<float>(q[i]) * scale;
  }
}

/// Rounds a piece, `x` its elements, into the parts of a message. `rounded`, of maxPiece elements, becomes Q(x).
CAAT_INLINE void roundPiece(const WireFormat &format, const WirePiece &piece, const float *x,
                            const Parts<std::byte> &parts, float *rounded) {
  alignas(64) float values[maxPiece];
  alignas(64) int8_t q[maxPiece];
  std::memcpy(values, x, static_cast<size_t>(piece.length) * sizeof(float));
  std::memset(values + piece.length, 0, static_cast<size_t>(maxPiece - piece.length) * sizeof(float));
  for (int64_t i = 0; i < piece.exacts; ++i) {
    int64_t channel = format.exact[static_cast<size_t>(piece.exactBegin + i)] - piece.begin;
    std::memcpy(parts.exact + i * int64_t(sizeof(float)), x + channel, sizeof(float));
    values[channel] = 0;
  }
  if (format.block == 32)
    roundBlocks<32>(values, piece.length, format, q, parts.scales, rounded);
  else
    roundBlocks<0>(values, piece.length, format, q, parts.scales, rounded);
  pack(q, piece.length, format.bits, parts.codes);
  for (int64_t i = 0; i < piece.exacts; ++i) {
    int64_t channel = format.exact[static_cast<size_t>(piece.exactBegin + i)] - piece.begin;
    rounded[channel] = x[channel];
  }
}

CAAT_WIDEST void encodePiece(const WireFormat &format, int64_t rows, const WirePiece &piece, const float *x,
                             std::byte *message, float *error) {
  alignas(64) float rounded[maxPiece];
  roundPiece(format, piece, x, partsOf(format, rows, piece, message), rounded);
  if (error)
    for (int64_t i = 0; i < piece.length; ++i)
      error[i] = x[i] - rounded[i];
}

/// Unpacks a piece into `values`, of maxPiece elements.
CAAT_INLINE void unpackPiece(const WireFormat &format, const WirePiece &piece, const Parts<const std::byte> &parts,
                             float *values) {
  alignas(64) int8_t q[maxPiece];
  int64_t packed = (piece.length + 7) / 8 * 8;
  unpack(parts.codes, packed, format.bits, q);
  std::memset(q + packed, 0, static_cast<size_t>(maxPiece - packed));
  if (format.block == 32)
    scaleBlocks<32>(q, parts.scales, piece.length, format, values);
  else
    scaleBlocks<0>(q, parts.scales, piece.length, format, values);
  for (int64_t i = 0; i < piece.exacts; ++i) {
    int64_t channel = format.exact[static_cast<size_t>(piece.exactBegin + i)] - piece.begin;
    std::memcpy(values + channel, parts.exact + i * int64_t(sizeof(float)), sizeof(float));
  }
}

CAAT_WIDEST void decodePiece(const WireFormat &format, int64_t rows, const WirePiece &piece, const std::byte *message,
                             float *values) {
  alignas(64) float unpacked[maxPiece];
  unpackPiece(format, piece, partsOf(format, rows, piece, message), unpacked);
  std::memcpy(values, unpacked, static_cast<size_t>(piece.length) * sizeof(float));
}

CAAT_WIDEST void sumPiece(const WireFormat &format, int64_t rows, const WirePiece &piece,
                          const std::byte *const *messages, int64_t ranks, std::byte *result, float *data,
                          float *error) {
  alignas(64) float total[maxPiece], next[maxPiece], rounded[maxPiece];
  unpackPiece(format, piece, partsOf(format, rows, piece, messages[0]), total);
  for (int64_t rank = 1; rank < ranks; ++rank) {
    unpackPiece(format, piece, partsOf(format, rows, piece, messages[rank]), next);
    for (int64_t i = 0; i < piece.length; ++i)
      total[i] += next[i];
  }
  roundPiece(format, piece, total, partsOf(format, rows, piece, result), rounded);
  if (error)
    for (int64_t i = 0; i < piece.length; ++i)
      error[i] += total[i] - rounded[i];
  std::memcpy(data, rounded, static_cast<size_t>(piece.length) * sizeof(float));
}

} // namespace

QuantizedRows::QuantizedRows(const WireFormat &format, int64_t rows, int ranks)
    : format(format), rows(rows), ranks(ranks) {}

void QuantizedRows::forEachPiece(int owner, const std::function<void(const WirePiece &)> &run) const {
  int64_t perRow = format.blocks(), all = rows * perRow, most = std::max<int64_t>(maxPiece / format.block, 1);
  int64_t end = all * (owner + 1) / ranks;
  for (int64_t at = all * owner / ranks; at < end;) {
    int64_t row = at / perRow, block = at % perRow;
    int64_t blocks = std::min({most, perRow - block, end - at});
    int64_t begin = block * format.block, stop = std::min((block + blocks) * format.block, format.channels);
    auto first = std::lower_bound(format.exact.begin(), format.exact.end(), begin);
    auto last = std::lower_bound(first, format.exact.end(), stop);
    run({row, block, begin, stop - begin, first - format.exact.begin(), last - first});
    at += blocks;
  }
}

void QuantizedRows::encode(int owner, const float *data, std::byte *message, float *error) const {
  forEachPiece(owner, [&](const WirePiece &piece) {
    int64_t at = piece.row * format.channels + piece.begin;
    encodePiece(format, rows, piece, data + at, message, error ? error + at : nullptr);
  });
}

void QuantizedRows::sum(int owner, std::span<const std::byte *const> messages, std::byte *result, float *data,
                        float *error) const {
  forEachPiece(owner, [&](const WirePiece &piece) {
    int64_t at = piece.row * format.channels + piece.begin;
    sumPiece(format, rows, piece, messages.data(), ranks, result, data + at, error ? error + at : nullptr);
  });
}

void QuantizedRows::decode(int owner, const std::byte *message, float *data) const {
  forEachPiece(owner, [&](const WirePiece &piece) {
    decodePiece(format, rows, piece, message, data + piece.row * format.channels + piece.begin);
  });
}

} // namespace caat::runtime
