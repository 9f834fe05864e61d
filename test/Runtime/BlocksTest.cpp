// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Blocks.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace caat::runtime;

namespace {

template <typename T> void append(std::vector<std::byte> &bytes, std::initializer_list<T> values) {
  for (T value : values) {
    bytes.resize(bytes.size() + sizeof(T));
    std::memcpy(bytes.data() + bytes.size() - sizeof(T), &value, sizeof(T));
  }
}

/// Codes 0, 1, .. 15, 0, 1, ..
std::vector<std::byte> countingNibbles(int64_t k) {
  std::vector<std::byte> bytes;
  for (int64_t i = 0; i < k; i += 2)
    bytes.push_back(static_cast<std::byte>(i % 16 | (i + 1) % 16 << 4));
  return bytes;
}

TEST(Blocks, AroundTheMiddle) {
  BlockFormat format{4, 16, DType::F32, BlockOffset::Middle};
  std::vector<std::byte> row = countingNibbles(32);
  append<float>(row, {0.5f, 2.0f});
  ASSERT_EQ(format.rowBytes(32), static_cast<int64_t>(row.size()));
  std::vector<float> values(32);
  format.dequantize(row.data(), 1, 32, values.data());
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(values[i], static_cast<float>(i % 16 - 8) * (i < 16 ? 0.5f : 2.0f)) << i;
}

TEST(Blocks, WithZeroPoints) {
  BlockFormat format{4, 16, DType::F16, BlockOffset::Zeros};
  std::vector<std::byte> row = countingNibbles(32);
  append<_Float16>(row, {_Float16(0.5), _Float16(2)});
  append<uint8_t>(row, {3, 15});
  std::vector<std::byte> rows = row;
  rows.insert(rows.end(), row.begin(), row.end());
  std::vector<float> values(64);
  format.dequantize(rows.data(), 2, 32, values.data());
  for (int i = 0; i < 64; ++i) {
    float want = i % 32 < 16 ? static_cast<float>(i % 16 - 3) * 0.5f : static_cast<float>(i % 16 - 15) * 2;
    EXPECT_EQ(values[i], want) << i;
  }
}

TEST(Blocks, FromAMinimum) {
  BlockFormat format{8, 16, DType::F16, BlockOffset::Minimum};
  std::vector<std::byte> row;
  for (int i = 0; i < 16; ++i)
    append<uint8_t>(row, {static_cast<uint8_t>(i * 17)});
  append<_Float16>(row, {_Float16(0.25)});
  append<_Float16>(row, {_Float16(-7)});
  ASSERT_EQ(format.rowBytes(16), static_cast<int64_t>(row.size()));
  std::vector<float> values(16);
  format.dequantize(row.data(), 1, 16, values.data());
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(values[i], static_cast<float>(i * 17) * 0.25f - 7) << i;
}

TEST(Blocks, WrittenRowsAreRead) {
  constexpr int64_t k = 64;
  for (int bits : {4, 8})
    for (DType scales : {DType::F16, DType::F32})
      for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum}) {
        BlockFormat format{bits, 32, scales, offset};
        uint8_t codes[k], zeros[] = {3, 14};
        for (int i = 0; i < k; ++i)
          codes[i] = static_cast<uint8_t>(i * 37 % (1 << bits));
        float factors[] = {0.5f, -2}, minima[] = {-7, 1.25f};
        std::vector<std::byte> row(static_cast<size_t>(format.rowBytes(k)) + 1, std::byte(0xa5));
        format.writeRow({codes, factors, zeros, minima}, k, row.data());
        EXPECT_EQ(row.back(), std::byte(0xa5));
        float values[k], middle = static_cast<float>(1 << (bits - 1));
        format.dequantize(row.data(), 1, k, values);
        for (int i = 0; i < k; ++i) {
          int block = i / 32;
          float zero = offset == BlockOffset::Middle ? middle : zeros[block];
          float shift = offset == BlockOffset::Minimum ? minima[block] : -zero * factors[block];
          EXPECT_EQ(values[i], codes[i] * factors[block] + shift) << i;
        }
      }
}

TEST(Blocks, OffsetsHaveNames) {
  for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum})
    EXPECT_EQ(blockOffsetFromName(nameOf(offset)), offset);
  EXPECT_EQ(blockOffsetFromName("maximum"), std::nullopt);
}

TEST(Blocks, MadeUpOnesAreSmall) {
  for (int bits : {4, 8})
    for (DType scales : {DType::F16, DType::F32})
      for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum}) {
        BlockFormat format{bits, 32, scales, offset};
        std::vector<std::byte> rows(static_cast<size_t>(3 * format.rowBytes(64)));
        format.makeUp(3, 64, 0.125f, 1, rows.data());
        std::vector<float> values(3 * 64);
        format.dequantize(rows.data(), 3, 64, values.data());
        float largest = 0;
        for (float value : values)
          largest = std::max(largest, std::abs(value));
        EXPECT_GT(largest, 0.09f);
        EXPECT_LE(largest, 0.126f);
      }
}

} // namespace
