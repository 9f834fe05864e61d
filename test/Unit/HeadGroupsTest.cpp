// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/HeadGroups.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

using namespace caat::ablate;

namespace {

using Table = std::vector<std::vector<double>>;

Table distancesOf(const std::vector<double> &places) {
  Table table(places.size(), std::vector<double>(places.size()));
  for (size_t a = 0; a < places.size(); ++a)
    for (size_t b = 0; b < places.size(); ++b)
      table[a][b] = std::abs(places[a] - places[b]);
  return table;
}

double sumOf(const Table &weights, const std::vector<size_t> &rows) {
  double sum = 0;
  for (size_t column = 0; column < rows.size(); ++column)
    sum += weights[rows[column]][column];
  return sum;
}

} // namespace

TEST(HeadGroups, MembersOfASetLieFarApart) {
  // Two clusters of four: each set gets two of both.
  std::vector<int64_t> order = scatter(distancesOf({0, 0, 0, 0, 9, 9, 9, 9}), 2);
  for (size_t set = 0; set < 2; ++set)
    EXPECT_EQ((order[4 * set] < 4) + (order[4 * set + 1] < 4) + (order[4 * set + 2] < 4) + (order[4 * set + 3] < 4), 2);
  std::sort(order.begin(), order.end());
  for (int64_t head = 0; head < 8; ++head)
    EXPECT_EQ(order[static_cast<size_t>(head)], head);
}

TEST(HeadGroups, NothingIsExchangedForNothing) {
  EXPECT_EQ(scatter(distancesOf({1, 1, 1, 1}), 2), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(scatter(distancesOf({5, 1, 3}), 3), (std::vector<int64_t>{0, 1, 2}));
}

TEST(HeadGroups, AssignmentOfTheLargestSum) {
  EXPECT_EQ(assign({{1, 5}, {5, 1}}), (std::vector<size_t>{1, 0}));
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(-1, 4);
  for (size_t n : {1, 2, 3, 5, 6})
    for (int trial = 0; trial < 20; ++trial) {
      Table weights(n, std::vector<double>(n));
      for (auto &row : weights)
        for (double &value : row)
          value = uniform(random);
      std::vector<size_t> rows(n);
      std::iota(rows.begin(), rows.end(), size_t{0});
      double best = -INFINITY;
      do
        best = std::max(best, sumOf(weights, rows));
      while (std::next_permutation(rows.begin(), rows.end()));
      EXPECT_NEAR(sumOf(weights, assign(weights)), best, 1e-9);
    }
}
