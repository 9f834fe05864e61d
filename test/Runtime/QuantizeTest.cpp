// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Quantised all-reduces: what they sum, what they leave out, and what they send.
#include "Expect.h"
#include "caat/runtime/Communicator.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

using namespace caat::runtime;

namespace {

using Values = std::vector<float>;

struct Ranks {
  std::vector<Values> data, errors;
};

class QuantizeTest : public testing::TestWithParam<int> {
protected:
  int size = GetParam();
  ThreadGroup group{size};

  /// Values of very different size in neighbouring blocks, equal in every run.
  std::vector<Values> makeInputs(const WireFormat &format, int64_t rows) {
    std::vector<Values> inputs;
    for (int rank = 0; rank < size; ++rank) {
      std::mt19937 random(static_cast<unsigned>(rank + 1));
      std::normal_distribution<float> normal;
      Values &values = inputs.emplace_back(static_cast<size_t>(rows * format.channels));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = normal(random) * std::exp2(static_cast<float>(i / 40 % 13) - 6);
    }
    return inputs;
  }

  Ranks reduce(const WireFormat &format, std::vector<Values> inputs, bool wantErrors = true) {
    Ranks result{std::move(inputs), {}};
    auto count = static_cast<int64_t>(result.data[0].size());
    for (int rank = 0; rank < size; ++rank)
      result.errors.emplace_back(wantErrors ? static_cast<size_t>(count) : 0, NAN);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank)
      threads.emplace_back([&, rank] {
        CollectiveCall call{0, "site", CollectiveKind::QuantizedAllReduce, DType::F32, count, format.bits};
        auto r = static_cast<size_t>(rank);
        group.at(rank).quantizedAllReduce(call, format, result.data[r].data(),
                                          wantErrors ? result.errors[r].data() : nullptr, count / format.channels);
      });
    for (std::thread &thread : threads)
      thread.join();
    return result;
  }
};

INSTANTIATE_TEST_SUITE_P(Ranks, QuantizeTest, testing::Values(1, 2, 3, 4, 8));

/// Small messages, which take one barrier, and large ones; rows of 1, rows and blocks that do not divide.
const std::vector<std::pair<WireFormat, int64_t>> formats = {
    {{1, 8, 8}, 1},
    {{1, 3, 32}, 7},
    {{32, 4, 32}, 3},
    {{40, 4, 16, {0, 39}}, 5},
    {{100, 3, 32, {3, 31, 32, 99}}, 11},
    {{576, 4, 32, {7, 507}}, 1},
    {{576, 3, 32}, 100},
    {{577, 8, 64, {576}}, 33},
    {{2500, 4, 1024}, 20},
    {{1031, 3, 24}, 61},
    {{8, 4, 32}, 0},
};

TEST_P(QuantizeTest, SumAndErrorsAddUpToTheSumOfTheInputs) {
  for (const auto &[format, rows] : formats) {
    std::vector<Values> inputs = makeInputs(format, rows);
    Ranks got = reduce(format, inputs);
    for (size_t i = 0; i < inputs[0].size(); ++i) {
      double want = 0, sum = got.data[0][i], scale = 1e-30;
      for (int rank = 0; rank < size; ++rank) {
        want += inputs[static_cast<size_t>(rank)][i];
        sum += got.errors[static_cast<size_t>(rank)][i];
        scale += std::abs(inputs[static_cast<size_t>(rank)][i]) + std::abs(got.errors[static_cast<size_t>(rank)][i]);
      }
      ASSERT_NEAR(sum, want, 4e-7 * scale) << format.channels << " channels, " << format.bits << " bits, element " << i;
    }
  }
}

TEST_P(QuantizeTest, SumIsTheSameOnAllRanksWithAndWithoutErrors) {
  for (const auto &[format, rows] : formats) {
    std::vector<Values> inputs = makeInputs(format, rows);
    Ranks got = reduce(format, inputs), plain = reduce(format, inputs, /*wantErrors=*/false);
    size_t bytes = inputs[0].size() * sizeof(float);
    for (int rank = 0; rank < size && bytes; ++rank) {
      EXPECT_EQ(std::memcmp(got.data[static_cast<size_t>(rank)].data(), got.data[0].data(), bytes), 0);
      EXPECT_EQ(std::memcmp(plain.data[static_cast<size_t>(rank)].data(), got.data[0].data(), bytes), 0);
    }
  }
}

/// What a block's largest value travels as: at least 15/16 of it, and not below it in 8 bits.
double largestAsSent(const Values &values, size_t begin, size_t end, int64_t bits) {
  double largest = 0;
  for (size_t i = begin; i < end; ++i)
    largest = std::max(largest, std::abs(double(values[i])));
  if (largest == 0)
    return 0;
  int exponent;
  double steps = std::frexp(largest, &exponent) * 16;
  double sent = std::ldexp((bits == 8 ? std::ceil(steps) : std::floor(steps + 0.5)) / 16, exponent);
  return std::max(sent, std::ldexp(1.125, -12));
}

TEST_P(QuantizeTest, RoundsToTheNearestStep) {
  for (const auto &[format, rows] : formats) {
    std::vector<Values> inputs = makeInputs(format, rows);
    Ranks got = reduce(format, inputs);
    double limit = double((1 << (format.bits - 1)) - 1);
    auto width = static_cast<size_t>(format.channels);
    for (int rank = 0; rank < size; ++rank) {
      Values x = inputs[static_cast<size_t>(rank)];
      for (size_t i = 0; i < x.size(); ++i)
        if (std::binary_search(format.exact.begin(), format.exact.end(), static_cast<int64_t>(i % width)))
          x[i] = 0;
      for (size_t begin = 0; begin < x.size();) {
        size_t end = std::min(begin + static_cast<size_t>(format.block), begin / width * width + width);
        double step = largestAsSent(x, begin, end, format.bits) / limit, others = 0;
        for (const Values &input : inputs)
          others += largestAsSent(input, begin, end, 8);
        for (size_t i = begin; i < end; ++i) {
          double rounded = step > 0 ? std::clamp(std::nearbyint(x[i] / step), -limit, limit) * step : 0;
          double first = x[i] - rounded;
          // The second rounding's error is the owner's: beside it stands less than a step of the sum.
          double second = got.errors[static_cast<size_t>(rank)][i] - first;
          ASSERT_LE(std::abs(second), 0.85 * others / limit + 1e-5 * std::abs(x[i]))
              << format.channels << " channels, " << format.bits << " bits, element " << i;
        }
        begin = end;
      }
    }
  }
}

TEST_P(QuantizeTest, OneRankOwnsABlocksSecondError) {
  WireFormat format{96, 4, 32};
  std::vector<Values> inputs = makeInputs(format, 10);
  Ranks got = reduce(format, inputs);
  // Where all ranks have the same values, those that own nothing of a block have the same error.
  for (Values &values : inputs)
    values = inputs[0];
  got = reduce(format, inputs);
  for (size_t block = 0; block < 30; ++block) {
    int owner = 0;
    while (static_cast<int>(block) >= 30 * (owner + 1) / size)
      ++owner;
    for (int rank = 1; rank < size; ++rank)
      for (size_t i = block * 32; i < block * 32 + 32; ++i)
        if (rank != owner && owner != 0) {
          EXPECT_EQ(got.errors[static_cast<size_t>(rank)][i], got.errors[0][i]) << block;
        }
  }
}

TEST_P(QuantizeTest, ExactChannelsAreSummedAsTheyAre) {
  WireFormat format{64, 3, 32, {0, 17, 63}};
  for (int64_t rows : {2, 400}) {
    std::vector<Values> inputs = makeInputs(format, rows);
    Ranks got = reduce(format, inputs);
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row)
      for (int64_t channel : format.exact) {
        size_t i = row * 64 + static_cast<size_t>(channel);
        float sum = inputs[0][i];
        for (int rank = 1; rank < size; ++rank)
          sum += inputs[static_cast<size_t>(rank)][i];
        ASSERT_EQ(got.data[0][i], sum);
        for (const Values &errors : got.errors)
          ASSERT_EQ(errors[i], 0.0f);
      }
  }
}

TEST_P(QuantizeTest, WhatIsNotFiniteArrivesAsNaN) {
  for (float bad : {NAN, INFINITY, -INFINITY, 1e30f}) {
    WireFormat format{64, 4, 32, {1}};
    std::vector<Values> inputs = makeInputs(format, 2);
    inputs.back()[5] = bad;
    inputs.back()[65] = bad; // an exact channel: only it is affected
    Ranks got = reduce(format, inputs);
    for (size_t i = 0; i < 128; ++i)
      if (i == 65)
        EXPECT_EQ(std::isfinite(got.data[0][i]), std::isfinite(bad));
      else
        EXPECT_EQ(std::isnan(got.data[0][i]), i < 32 && i != 1) << bad << ' ' << i;
  }
}

TEST_P(QuantizeTest, ZerosAndTinyValuesStayOrBecomeErrors) {
  WireFormat format{64, 4, 32};
  std::vector<Values> inputs(static_cast<size_t>(size), Values(64, 0.0f));
  for (Values &values : inputs)
    for (size_t i = 32; i < 64; ++i)
      values[i] = 1e-12f;
  Ranks got = reduce(format, inputs);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(got.data[0][i], 0.0f);
    for (const Values &errors : got.errors)
      EXPECT_EQ(errors[i], i < 32 ? 0.0f : 1e-12f);
  }
}

TEST(WireFormat, CountsTheBytesOfARow) {
  EXPECT_EQ((WireFormat{576, 8, 32}).rowBytes(), 18 + 576);
  EXPECT_EQ((WireFormat{576, 4, 32}).rowBytes(), 18 + 288);
  EXPECT_EQ((WireFormat{576, 3, 32, {1, 2}}).rowBytes(), 18 + 216 + 8);
  EXPECT_EQ((WireFormat{9, 3, 8}).rowBytes(), 2 + 6);
}

TEST(QuantizedAllReduce, TakesTheLinksTimeForWhatItSends) {
  CommunicatorOptions options;
  options.link.bandwidth = 1e6;
  ThreadGroup group(2, options);
  WireFormat format{512, 4, 32};
  int64_t rows = 400; // 108,800 bytes a rank, of which half is sent twice: 0.1088 s
  double bytes = double(rows * format.rowBytes());
  std::vector<Values> data(2, Values(static_cast<size_t>(rows * 512), 1.0f));
  auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      CollectiveCall call{0, "site", CollectiveKind::QuantizedAllReduce, DType::F32, rows * 512, 4};
      group.at(rank).quantizedAllReduce(call, format, data[static_cast<size_t>(rank)].data(), nullptr, rows);
    });
  for (std::thread &thread : threads)
    thread.join();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_GE(seconds, 0.98 * bytes / 1e6);
  EXPECT_LE(seconds, 3 * bytes / 1e6);
}

} // namespace
