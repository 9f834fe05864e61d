// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Allocate.h"
#include "caat/runtime/Wire.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

using namespace caat;
using ablate::allocate;
using ablate::Allocation;
using ablate::ChannelFacts;

namespace {

/// Channels of one size, whose waiting loses as much as they hold.
ChannelFacts plain(size_t channels) {
  return {3, std::vector<double>(channels, 1), std::vector<double>(channels, 2), std::vector<double>(channels, 1)};
}

double bitsOf(const Allocation &parts, size_t channels) {
  runtime::WireFormat wire{static_cast<int64_t>(parts.shared.size()), parts.bits, parts.block, {}};
  return 8 * static_cast<double>(wire.rowBytes() + 2 * parts.exact) / static_cast<double>(channels);
}

} // namespace

TEST(Allocate, KeepsToTheRateAndUsesIt) {
  for (double rate : {1.0, 2.0, 3.0, 3.25, 4.0, 5.5, 8.25}) {
    Allocation parts = allocate(plain(576), rate);
    EXPECT_LE(bitsOf(parts, 576), rate);
    // Nothing waits where all fit; else hardly a block is left over.
    EXPECT_TRUE(parts.shared.size() == 576 || bitsOf(parts, 576) > rate - 0.5) << rate;
  }
}

TEST(Allocate, ARateThatGrowsLosesLess) {
  double before = INFINITY;
  for (double rate : {1.0, 2.0, 3.0, 4.0, 6.0, 8.25, 12.0}) {
    double distortion = allocate(plain(576), rate).distortion;
    EXPECT_LE(distortion, before) << rate;
    before = distortion;
  }
}

TEST(Allocate, HugeChannelsTravelWhole) {
  ChannelFacts facts = plain(576);
  facts.magnitude[507] = facts.magnitude[11] = 1e6;
  Allocation parts = allocate(facts, 5);
  ASSERT_GE(parts.exact, 2);
  EXPECT_EQ((std::vector<int64_t>{parts.shared[0], parts.shared[1]}), (std::vector<int64_t>{11, 507}));
}

TEST(Allocate, WhatNobodyMissesWaits) {
  ChannelFacts facts = plain(576);
  for (size_t channel = 0; channel < 576; channel += 2)
    facts.waiting[channel] = 1e-6;
  Allocation parts = allocate(facts, 4.2);
  EXPECT_EQ(parts.bits, 8);
  EXPECT_GT(parts.shared.size(), 280u);
  for (int64_t channel : parts.shared)
    EXPECT_EQ(channel % 2, 1) << channel;
  // And what no reader looks at.
  facts = plain(576);
  std::fill(facts.weight.begin(), facts.weight.begin() + 288, 0);
  for (int64_t channel : allocate(facts, 4.2).shared)
    EXPECT_GE(channel, 288);
}
