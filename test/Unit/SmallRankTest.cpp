// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/SmallRank.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace caat;
using namespace caat::ablate;
using Feature = runtime::SiteEstimate::Feature;

namespace {

/// A site at which T is a function of rank one of the input and of what is pending, in a stream of many sizes.
runtime::Snapshot factors(int64_t rows, unsigned seed) {
  constexpr int64_t channels = 6;
  runtime::Snapshot there;
  there.rows = rows, there.channels = there.inputs = channels;
  there.ranks.resize(2);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < rows; ++r) {
    float x[channels], t[channels], size = r % 50 ? 1.0f : 100.0f;
    for (int64_t c = 0; c < channels; ++c)
      x[c] = normal(random), t[c] = normal(random);
    float hidden = 2 * x[0] - x[3] + 0.5f * t[1];
    for (int64_t c = 0; c < channels; ++c) {
      float missing = hidden * (static_cast<float>(c) - 2) + 3;
      for (auto &rank : there.ranks)
        rank.input.push_back(x[c]);
      there.ranks[0].base.push_back(size);
      there.ranks[1].base.push_back(size);
      there.ranks[0].partial.push_back(t[c]);
      there.ranks[1].partial.push_back(missing);
    }
  }
  return there;
}

/// What is left of T after a guess, as a mean square over tokens and channels.
double left(const runtime::SiteEstimate &guess, const runtime::Snapshot &there) {
  int64_t channels = there.channels, features = guess.getFeatures(channels);
  double sum = 0;
  for (int64_t r = 0; r < there.rows; ++r) {
    std::vector<double> f;
    auto append = [&](const std::vector<float> &from) {
      f.insert(f.end(), from.begin() + r * channels, from.begin() + (r + 1) * channels);
    };
    if (guess.feature != Feature::Input)
      append(there.ranks[0].partial);
    if (guess.feature != Feature::Pending)
      append(there.ranks[0].input);
    for (int64_t c = 0; c < channels; ++c) {
      auto at = static_cast<size_t>(r * channels + c);
      double t = there.ranks[0].partial[at], total = t + there.ranks[1].partial[at];
      double guessed = guess.a[static_cast<size_t>(c)] * t + guess.b[static_cast<size_t>(c)];
      for (int64_t k = 0; k < guess.inner; ++k)
        for (int64_t i = 0; i < features; ++i)
          guessed += guess.u[static_cast<size_t>(c * guess.inner + k)] *
                     guess.v[static_cast<size_t>(k * features + i)] * f[static_cast<size_t>(i)];
      sum += (total - guessed) * (total - guessed);
    }
  }
  return sum / static_cast<double>(there.rows * channels);
}

TEST(SmallRank, FactorsAreFound) {
  RankMoments moments(0, 6, 6);
  moments.add(factors(400, 1));
  moments.add(factors(400, 2));
  runtime::Snapshot other = factors(200, 3);
  auto leftBy = [&](Feature feature, int64_t rank) { return left(moments.fit({feature, rank, {}, {}}), other); };
  double variance = left(moments.fit({Feature::Pending, 1, {}, {}}), other);
  EXPECT_GT(variance, 1);
  EXPECT_LT(leftBy(Feature::Both, 1), 3e-3 * variance); // what is left is the ridge's
  EXPECT_LT(leftBy(Feature::Input, 1), 0.3 * variance); // without t[1]
  EXPECT_GT(leftBy(Feature::Input, 1), 0.01 * variance);
  EXPECT_LT(leftBy(Feature::Both, 40), 3e-3 * variance); // of more than all channels: padded with zeros
}

TEST(SmallRank, SharedChannelsAreNeitherReadNorGuessed) {
  RankMoments moments(0, 6, 6);
  moments.add(factors(400, 1));
  runtime::SiteEstimate guess = moments.fit({Feature::Both, 2, {1, 4}, {}});
  for (size_t c : {1, 4}) {
    EXPECT_EQ(guess.a[c], 1);
    EXPECT_EQ(guess.b[c], 0);
    for (size_t k = 0; k < 2; ++k) {
      EXPECT_EQ(guess.u[c * 2 + k], 0);
      EXPECT_EQ(guess.v[k * 12 + c], 0);
    }
  }
  EXPECT_NE(guess.u[0], 0);
}

TEST(SmallRank, GainsDecideWhatCounts) {
  // Two factors of one size, of channels 0 to 2 and 3 to 5: what the reader sees is guessed.
  runtime::Snapshot there = factors(400, 1);
  for (int64_t r = 0; r < there.rows; ++r)
    for (int64_t c = 0; c < 6; ++c) {
      auto row = static_cast<size_t>(r * 6);
      there.ranks[1].partial[row + static_cast<size_t>(c)] = there.ranks[0].input[row + (c < 3 ? 0 : 1)];
      there.ranks[0].partial[row + static_cast<size_t>(c)] = 0;
    }
  RankMoments moments(0, 6, 6);
  moments.add(there);
  runtime::SiteEstimate guess = moments.fit({Feature::Input, 1, {}, {1, 1, 1, 0.1, 0.1, 0.1}});
  EXPECT_GT(std::abs(guess.u[0] * guess.v[0]), 0.9);
  EXPECT_LT(std::abs(guess.u[3] * guess.v[1]), 0.1);
}

TEST(SmallRank, GainsOfAReader) {
  auto there = std::make_shared<runtime::Snapshot>(factors(300, 5));
  runtime::RankSnapshot &rank = there->ranks[0];
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < there->rows; ++r) {
    double squares = 0;
    for (int64_t c = 0; c < 6; ++c) {
      float &s = rank.base[static_cast<size_t>(r * 6 + c)];
      s = normal(random) * static_cast<float>(1 + r % 7);
      squares += s * s / 6;
    }
    for (int64_t c = 0; c < 6; ++c) // RMS norm with weight c, and a bias
      rank.input[static_cast<size_t>(r * 6 + c)] = static_cast<float>(
          static_cast<double>(c) * rank.base[static_cast<size_t>(r * 6 + c)] / std::sqrt(squares) + 1);
  }
  std::vector<double> gains = readerGains({there});
  for (int64_t c = 0; c < 6; ++c)
    EXPECT_NEAR(gains[static_cast<size_t>(c)], static_cast<double>(c), 1e-3);
  rank.input.clear();
  EXPECT_EQ(readerGains({there}), std::vector<double>(6, 1.0));
}

} // namespace
