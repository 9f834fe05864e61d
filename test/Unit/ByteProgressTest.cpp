// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/ByteProgress.h"
#include <gtest/gtest.h>

using caat::ByteProgress;

namespace {

constexpr int64_t mib = 1 << 20;

TEST(ByteProgress, SaysRateAndTimeLeft) {
  EXPECT_EQ(ByteProgress::describe("weights", 120 * mib, 640 * mib, 2), "weights: 120 of 640 MiB, 60 MiB/s, 9 s left");
  EXPECT_EQ(ByteProgress::describe("weights", 100 * mib, 18600 * mib, 1),
            "weights: 100 of 18600 MiB, 100 MiB/s, 3 min 05 s left");
  EXPECT_EQ(ByteProgress::describe("weights", 100 * mib, 372100 * mib, 1),
            "weights: 100 of 372100 MiB, 100 MiB/s, 1 h 02 min left");
}

TEST(ByteProgress, SaysNoRateTooEarly) {
  EXPECT_EQ(ByteProgress::describe("weights", 120 * mib, 640 * mib, 0.1), "weights: 120 of 640 MiB");
  EXPECT_EQ(ByteProgress::describe("weights", 0, 640 * mib, 9), "weights: 0 of 640 MiB");
}

TEST(ByteProgress, EndsWithTheRate) {
  EXPECT_EQ(ByteProgress::describe("weights", 640 * mib, 640 * mib, 4), "weights: 640 of 640 MiB, 160 MiB/s");
  EXPECT_EQ(ByteProgress::describe("weights", 0, 0, 4), "weights: 0 of 0 MiB");
}

} // namespace
