// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Blocks.h"
#include <cstring>

namespace caat::runtime {

static constexpr std::string_view offsetNames[numBlockOffsets] = {"middle", "zeros", "minimum"};

std::string_view nameOf(BlockOffset offset) { return offsetNames[static_cast<int>(offset)]; }

std::optional<BlockOffset> blockOffsetFromName(std::string_view name) {
  for (int i = 0; i < numBlockOffsets; ++i)
    if (offsetNames[i] == name)
      return static_cast<BlockOffset>(i);
  return std::nullopt;
}

static float readNumber(const std::byte *numbers, int64_t at, DType type) {
  float number;
  _Float16 half;
  if (type == DType::F32) {
    std::memcpy(&number, numbers + at * static_cast<int64_t>(sizeof(number)), sizeof(number));
    return number;
  }
  std::memcpy(&half, numbers + at * static_cast<int64_t>(sizeof(half)), sizeof(half));
  return static_cast<float>(half);
}

static void writeNumber(std::byte *numbers, int64_t at, DType type, float number) {
  auto half = static_cast<_Float16>(number);
  if (type == DType::F32)
    std::memcpy(numbers + at * static_cast<int64_t>(sizeof(number)), &number, sizeof(number));
  else
    std::memcpy(numbers + at * static_cast<int64_t>(sizeof(half)), &half, sizeof(half));
}

BlockFormat::Affine BlockFormat::affine(const std::byte *row, int64_t k, int64_t block) const {
  const std::byte *numbers = row + scalesAt(k), *offsets = row + offsetsAt(k);
  float scale = readNumber(numbers, block, scales);
  switch (offset) {
  case BlockOffset::Middle:
    return {scale, -scale * static_cast<float>(1 << (bits - 1))};
  case BlockOffset::Zeros:
    return {scale, -scale * static_cast<float>(offsets[block])};
  case BlockOffset::Minimum:
    return {scale, readNumber(offsets, block, scales)};
  }
  return {};
}

int BlockFormat::code(const std::byte *row, int64_t at) const {
  if (bits == 8)
    return static_cast<int>(row[at]);
  return static_cast<int>(row[at / 2]) >> (at % 2 * 4) & 15;
}

void BlockFormat::dequantize(const std::byte *rows, int64_t count, int64_t k, float *to) const {
  for (const std::byte *row = rows, *end = rows + count * rowBytes(k); row != end; row += rowBytes(k))
    for (int64_t block = 0; block < k / size; ++block) {
      auto [scale, shift] = affine(row, k, block);
      for (int64_t at = block * size; at < (block + 1) * size; ++at)
        *to++ = static_cast<float>(code(row, at)) * scale + shift;
    }
}

void BlockFormat::writeRow(const Row &row, int64_t k, std::byte *to) const {
  if (bits == 8)
    std::memcpy(to, row.codes, static_cast<size_t>(k));
  else
    for (int64_t i = 0; i < k / 2; ++i)
      to[i] = static_cast<std::byte>(row.codes[2 * i] | row.codes[2 * i + 1] << 4);
  std::byte *numbers = to + scalesAt(k), *offsets = to + offsetsAt(k);
  for (int64_t block = 0; block < k / size; ++block) {
    writeNumber(numbers, block, scales, row.scales[block]);
    if (offset == BlockOffset::Zeros)
      offsets[block] = static_cast<std::byte>(row.zeros[block]);
    else if (offset == BlockOffset::Minimum)
      writeNumber(offsets, block, scales, row.minima[block]);
  }
}

void BlockFormat::makeUp(int64_t rows, int64_t k, float scale, uint32_t seed, std::byte *to) const {
  float middle = static_cast<float>(1 << (bits - 1)), step = scale / middle;
  for (int64_t r = 0; r < rows; ++r, to += rowBytes(k)) {
    for (int64_t i = 0; i < scalesAt(k); ++i) {
      seed = nextRandom(seed);
      to[i] = static_cast<std::byte>(seed >> 24);
    }
    std::byte *numbers = to + scalesAt(k), *offsets = to + offsetsAt(k);
    for (int64_t block = 0; block < k / size; ++block) {
      writeNumber(numbers, block, scales, step);
      if (offset == BlockOffset::Zeros)
        offsets[block] = static_cast<std::byte>(middle);
      else if (offset == BlockOffset::Minimum)
        writeNumber(offsets, block, scales, -scale);
    }
  }
}

} // namespace caat::runtime
