// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights of few bits in blocks that share a scale, as MatMulNBits of ONNX Runtime and GGUF's Q4_0, Q4_1 and Q8_0 have
// them: value = code * scale + offset.
#ifndef CAAT_RUNTIME_BLOCKS_H
#define CAAT_RUNTIME_BLOCKS_H

#include "caat/runtime/Tensor.h"

namespace caat::runtime {

/// The next number of a row that looks random.
constexpr uint32_t nextRandom(uint32_t number) { return number * 1664525 + 1013904223; }

/// The value of a block's code 0.
enum class BlockOffset {
  Middle,  // -2^(bits - 1) * scale
  Zeros,   // -zero * scale; a byte for each block
  Minimum, // a number for each block, of the scales' type
};
inline constexpr int numBlockOffsets = 3;
/// The manifest's name: "middle", "zeros", "minimum".
std::string_view nameOf(BlockOffset offset);
std::optional<BlockOffset> blockOffsetFromName(std::string_view name);

/// How a matrix [N, K] is stored that x [M, K] is multiplied by, transposed: K is divided into blocks. A row is K codes
/// (unsigned; of 4 bits two in a byte, the lower ones first), the blocks' scales, the blocks' offsets.
struct BlockFormat {
  int bits = 4;              // 4 or 8
  int64_t size = 32;         // codes in a block: a power of two from 16 to 256 that divides K
  DType scales = DType::F16; // or F32
  BlockOffset offset = BlockOffset::Middle;

  bool operator==(const BlockFormat &) const = default;

  /// Bytes of a block's scale, and of its offset.
  constexpr int64_t scaleSize() const { return scales == DType::F32 ? 4 : 2; }
  constexpr int64_t offsetSize() const {
    return offset == BlockOffset::Middle ? 0 : offset == BlockOffset::Zeros ? 1 : scaleSize();
  }
  // Where a row of `k` codes has its scales and its offsets, and where it ends.
  constexpr int64_t scalesAt(int64_t k) const { return k * bits / 8; }
  constexpr int64_t offsetsAt(int64_t k) const { return scalesAt(k) + k / size * scaleSize(); }
  constexpr int64_t rowBytes(int64_t k) const { return offsetsAt(k) + k / size * offsetSize(); }

  /// Scale and offset of a block of a row.
  struct Affine {
    float scale, offset;
  };
  Affine affine(const std::byte *row, int64_t k, int64_t block) const;
  int code(const std::byte *row, int64_t at) const;
  /// What a row is made of: `k` codes, one to a byte, and numbers of each of its blocks.
  struct Row {
    const uint8_t *codes;
    const float *scales;
    const uint8_t *zeros = nullptr; // where the offset is one
    const float *minima = nullptr;  // where it is one
  };
  /// Writes rowBytes(k) bytes.
  void writeRow(const Row &row, int64_t k, std::byte *to) const;
  /// The K values of each of `count` rows.
  void dequantize(const std::byte *rows, int64_t count, int64_t k, float *to) const;
  /// Rows of codes that look random, whose values lie in about [-scale, scale].
  void makeUp(int64_t rows, int64_t k, float scale, uint32_t seed, std::byte *to) const;
};

} // namespace caat::runtime

#endif
