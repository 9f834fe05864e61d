// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "core/Sampling.h"
#include "Expect.h"
#include "TinyModel.h"
#include "cpu/CpuDevice.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace caat::runtime;
using namespace caat::test;

namespace {

std::vector<Candidate> candidates(std::initializer_list<float> logits) {
  std::vector<Candidate> result;
  for (float logit : logits)
    result.push_back({logit, 0, 100 + static_cast<int64_t>(result.size())});
  return result;
}

/// How often each of the candidates is drawn, of places spread evenly.
std::vector<double> shares(const std::vector<Candidate> &best, const Sampling &sampling) {
  constexpr int count = 12000;
  std::vector<double> result(best.size());
  for (int i = 0; i < count; ++i)
    result[static_cast<size_t>(draw(best, sampling, (i + 0.5) / count) - 100)] += 1.0 / count;
  return result;
}

void expectShares(const std::vector<double> &got, std::vector<double> want) {
  double all = 0;
  for (double share : want)
    all += share;
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i] / all, want[i] == 0 ? 0 : 2e-4) << i;
}

TEST(Sampling, FollowsTheProbabilities) {
  std::vector<Candidate> best = candidates({3, 2, 1, -INFINITY});
  expectShares(shares(best, {}), {std::exp(2.0), std::exp(1.0), 1, 0});
  expectShares(shares(best, {.temperature = 2}), {std::exp(1.0), std::exp(0.5), 1, 0});
  expectShares(shares(best, {.temperature = 1e-300}), {1, 0, 0, 0});
  expectShares(shares(best, {.temperature = 1e300}), {1, 1, 1, 0});
}

TEST(Sampling, KeepsTheMostLikely) {
  std::vector<Candidate> best = candidates({std::log(4.0f), std::log(3.0f), std::log(2.0f), 0});
  expectShares(shares(best, {.topK = 3}), {4, 3, 2, 0});
  expectShares(shares(best, {.topK = 1}), {1, 0, 0, 0});
  expectShares(shares(best, {.topP = 0.39}), {1, 0, 0, 0});
  expectShares(shares(best, {.topP = 0.41}), {4, 3, 0, 0});
  expectShares(shares(best, {.topP = 0.91}), {4, 3, 2, 1});
  expectShares(shares(best, {.topK = 2, .topP = 0.58}), {4, 3, 0, 0}); // of seven, not of ten
}

TEST(Sampling, PlacesAreUniformAndOnesOwn) {
  double mean = 0, square = 0;
  constexpr int count = 20000;
  for (int i = 0; i < count; ++i) {
    double x = uniform(7, i % 100, i / 100);
    ASSERT_TRUE(x >= 0 && x < 1);
    mean += x / count;
    square += x * x / count;
  }
  EXPECT_NEAR(mean, 0.5, 0.01);
  EXPECT_NEAR(square, 1.0 / 3, 0.01);
  EXPECT_EQ(uniform(7, 1, 2), uniform(7, 1, 2));
  EXPECT_NE(uniform(7, 1, 2), uniform(7, 2, 1));
  EXPECT_NE(uniform(7, 1, 2), uniform(8, 1, 2));
}

TEST(Sampling, RefusesWhatIsNoDistribution) {
  for (double temperature : {0.0, -1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    expectError("temperature", [&] { Sampling{.temperature = temperature}.check(); });
  for (int64_t k : {int64_t{0}, int64_t{-1}, Sampling::mostTopK + 1})
    expectError("top-k", [&] { Sampling{.topK = k}.check(); });
  for (double p : {0.0, 1.5, static_cast<double>(NAN)})
    expectError("top-p", [&] { Sampling{.topP = p}.check(); });
  Sampling{}.check();
}

TEST(Sampling, TheBestOfARowAreThoseOfASort) {
  std::string directory = scratchDirectory("sampling");
  writeTinyArtifact(directory, std::string(CAAT_TINY_CODE) + "-1.so", 1);
  Program program(directory);
  CpuDevice device(program, 1);
  constexpr int64_t rows = 4, pitch = 500;
  std::mt19937 random(3);
  std::vector<float> x(rows * pitch);
  for (float &value : x)
    value = static_cast<float>(random() % 60); // many equal ones
  std::fill_n(x.begin() + pitch, pitch, -INFINITY);
  x[2 * pitch + 17] = NAN;
  std::vector<ShardRun> runs = {{5000, 0, 200}, {100, 300, 150}};
  for (int64_t count : {1, 7, 400}) {
    std::vector<Candidate> got = device.askBest(x.data(), rows, pitch, runs, count)();
    ASSERT_EQ(got.size(), static_cast<size_t>(rows * count));
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<Candidate> want;
      for (const ShardRun &run : runs)
        for (int64_t i = 0; i < run.length; ++i)
          if (float value = x[static_cast<size_t>(row * pitch + run.local + i)]; !std::isnan(value))
            want.push_back({value, 0, run.global + i});
      std::sort(want.begin(), want.end(), [](const Candidate &a, const Candidate &b) {
        return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
      });
      want.resize(static_cast<size_t>(count), noCandidate);
      EXPECT_EQ(got[static_cast<size_t>(row * count)].notFinite, row == 2);
      for (int64_t i = 0; i < count; ++i) {
        const Candidate &one = got[static_cast<size_t>(row * count + i)];
        EXPECT_EQ(one.logit, want[static_cast<size_t>(i)].logit);
        EXPECT_EQ(one.token, want[static_cast<size_t>(i)].token);
      }
    }
  }
}

} // namespace
