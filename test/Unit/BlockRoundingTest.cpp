// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Artifact/BlockRounding.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace caat;

static float half(float x) { return static_cast<float>(static_cast<_Float16>(x)); }

static std::vector<float> normal(int64_t count, float deviation) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> result(count);
  std::generate(result.begin(), result.end(), [&] { return distribution(random); });
  return result;
}

struct Result {
  RoundedBlocks blocks;
  std::vector<float> values;
};

static Result fourBits(const std::vector<float> &x, int64_t size = 32) {
  Result result;
  RoundedBlocks &blocks = result.blocks;
  roundToFourBits(x.data(), static_cast<int64_t>(x.size()) / size, size, blocks);
  for (size_t i = 0; i < x.size() && blocks.isFinite; ++i) {
    EXPECT_LT(blocks.codes[i], 16);
    result.values.push_back(static_cast<float>(blocks.codes[i]) * blocks.scales[i / size] + blocks.minima[i / size]);
  }
  for (float scale : blocks.scales)
    EXPECT_EQ(scale, half(scale));
  for (float minimum : blocks.minima)
    EXPECT_EQ(minimum, half(minimum));
  return result;
}

static Result eightBits(const std::vector<float> &x, int64_t size = 32) {
  Result result;
  RoundedBlocks &blocks = result.blocks;
  roundToEightBits(x.data(), static_cast<int64_t>(x.size()) / size, size, blocks);
  for (size_t i = 0; i < x.size() && blocks.isFinite; ++i)
    result.values.push_back((static_cast<float>(blocks.codes[i]) - 128) * blocks.scales[i / size]);
  for (float scale : blocks.scales)
    EXPECT_EQ(scale, half(scale));
  return result;
}

static double squaredError(const std::vector<float> &x, const std::vector<float> &y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i)
    sum += (x[i] - y[i]) * (x[i] - y[i]);
  return sum;
}

TEST(BlockRounding, CandidatesAreBetterThanTheRange) {
  for (int64_t size : {16, 32}) {
    std::vector<float> x = normal(1600 * size, 0.02f), plain;
    for (size_t first = 0; first < x.size(); first += size) {
      auto [low, high] = std::minmax_element(x.begin() + first, x.begin() + first + size);
      float scale = half((*high - *low) / 15), minimum = half(*low);
      for (int64_t i = 0; i < size; ++i)
        plain.push_back(std::clamp(std::nearbyint((x[first + i] - minimum) / scale), 0.0f, 15.0f) * scale + minimum);
    }
    EXPECT_LT(squaredError(x, fourBits(x, size).values), 0.85 * squaredError(x, plain)) << size;
  }
}

TEST(BlockRounding, GridsOfOtherFormatsAreRecovered) {
  std::mt19937 random(2);
  std::uniform_int_distribution<int> codes(0, 15), few(3, 11);
  std::uniform_real_distribution<float> numbers(0.001f, 0.1f);
  std::vector<float> both, middle, inside, scales;
  for (int block = 0; block < 200; ++block) {
    float scale = half(numbers(random)), minimum = half(-numbers(random) * 8);
    scales.push_back(scale);
    for (int i = 0; i < 32; ++i) {
      int code = i < 2 ? i * 15 : codes(random); // as those who round by the range have it
      both.push_back(static_cast<float>(code) * scale + minimum);
      // Q4_0: the first code is there, or, with a negative scale, the last of the mirrored grid.
      middle.push_back(static_cast<float>((i == 0 ? 0 : codes(random)) - 8) * (block % 2 ? scale : -scale));
      inside.push_back(static_cast<float>(few(random) - 8) * scale);
    }
  }
  for (const std::vector<float> *grid : {&both, &middle, &inside}) {
    const std::vector<float> &x = *grid;
    std::vector<float> y = fourBits(x).values;
    for (size_t i = 0; i < x.size(); ++i) // a minimum of minus seven scales need not be a number of f16
      ASSERT_NEAR(x[i], y[i], grid == &both ? 1e-7f : 0.004f * scales[i / 32]) << i;
  }
}

TEST(BlockRounding, ZerosStay) {
  std::vector<float> x = normal(64 * 32, 0.3f);
  std::fill_n(x.begin(), 64, 0.0f); // whole blocks
  for (size_t i = 0; i < x.size(); i += 32)
    std::fill_n(x.begin() + static_cast<ptrdiff_t>(i) + 20, 12, 0.0f); // the end of each
  for (const std::vector<float> &y : {fourBits(x).values, eightBits(x).values})
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] == 0)
        ASSERT_EQ(y[i], 0) << i;
      ASSERT_NEAR(x[i], y[i], 0.12f) << i;
    }
}

TEST(BlockRounding, ValuesOfOneKind) {
  std::vector<float> x(32, 0.123f), up(32);
  for (int i = 0; i < 32; ++i)
    up[i] = i % 2 ? 1000.0f : 999.0f; // a range far below the numbers
  for (const std::vector<float> &y : {fourBits(x).values, eightBits(x).values})
    for (float value : y)
      EXPECT_NEAR(value, 0.123f, 1e-4f);
  std::vector<float> y = fourBits(up).values;
  for (int i = 0; i < 32; ++i)
    EXPECT_NEAR(y[i], up[i], 0.01f);
}

TEST(BlockRounding, NumbersAtTheEndsOfF16) {
  for (float deviation : {1e-10f, 1e-8f, 1e-7f, 3e-6f, 1e-4f, 10000.0f}) {
    std::vector<float> x = normal(32 * 32, deviation), y4 = fourBits(x).values, y8 = eightBits(x).values;
    for (size_t i = 0; i < x.size(); ++i) {
      // Half a step, or half of the distance between numbers of f16 for each of the codes.
      ASSERT_NEAR(x[i], y4[i], 0.5f * deviation + 16 * 0x1p-25f) << deviation;
      ASSERT_NEAR(x[i], y8[i], 0.02f * deviation + 0x1p-24f) << deviation;
    }
  }
}

TEST(BlockRounding, WhatHasNoForm) {
  std::vector<float> x(64, 1.0f);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    x[40] = bad;
    EXPECT_FALSE(fourBits(x).blocks.isFinite);
    EXPECT_FALSE(eightBits(x).blocks.isFinite);
  }
  x[40] = 70000.0f;
  EXPECT_TRUE(fourBits(x).blocks.isFinite);
  EXPECT_FALSE(fourBits(x).blocks.fits);
  EXPECT_TRUE(eightBits(x).blocks.fits);
  x[40] = -9e6f;
  EXPECT_FALSE(eightBits(x).blocks.fits);
  x[40] = 3.0f;
  EXPECT_TRUE(fourBits(x).blocks.fits);
}
