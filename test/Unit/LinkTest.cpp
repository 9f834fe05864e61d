// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Cost/Link.h"
#include <gtest/gtest.h>

using namespace caat::cost;

namespace {

Link parsed(std::string_view text) {
  std::string error;
  std::optional<Link> link = Link::parse(text, error);
  EXPECT_TRUE(link) << text << ": " << error;
  return link.value_or(Link());
}

TEST(Link, ParsesUnits) {
  EXPECT_DOUBLE_EQ(parsed("10GB/s").bandwidth, 10e9);
  EXPECT_EQ(parsed("10GB/s").latency, 0);
  EXPECT_DOUBLE_EQ(parsed("400Gb/s,1.5us").bandwidth, 50e9);
  EXPECT_DOUBLE_EQ(parsed("400Gb/s,1.5us").latency, 1.5e-6);
  EXPECT_DOUBLE_EQ(parsed("0.5TB/s,700ns").bandwidth, 0.5e12);
  EXPECT_DOUBLE_EQ(parsed("0.5TB/s,700ns").latency, 7e-7);
  EXPECT_DOUBLE_EQ(parsed("8Kb/s,1s").bandwidth, 1000);
  EXPECT_DOUBLE_EQ(parsed("1e3B/s,2ms").bandwidth, 1000);
  EXPECT_EQ(parsed("1GB/s,0us").latency, 0);
}

TEST(Link, SaysWhatItCannotRead) {
  auto error = [](std::string_view text) {
    std::string error;
    EXPECT_FALSE(Link::parse(text, error)) << text;
    return error;
  };
  EXPECT_EQ(error("fast"), "'fast' is no bandwidth: expected a number with a unit, e.g. 10GB/s");
  EXPECT_EQ(error("10"), "'10' has the unknown unit '', e.g. 10GB/s");
  EXPECT_EQ(error("10GB"), "'10GB' has the unknown unit 'GB', e.g. 10GB/s");
  EXPECT_EQ(error("0GB/s"), "'0GB/s': the bandwidth must be at least 1 B/s");
  EXPECT_EQ(error("1e-300GB/s"), "'1e-300GB/s': the bandwidth must be at least 1 B/s");
  EXPECT_EQ(error("1GB/s,1e300s"), "'1e300s': the latency must be at most 60 s");
  EXPECT_EQ(error("10GB/s,5us,"), "'5us,' has the unknown unit 'us,', e.g. 5us");
  EXPECT_EQ(error("10GB/s,"), "'' is no latency: expected a number with a unit, e.g. 5us");
  for (const char *text : {"", "GB/s", "-1GB/s", "nanGB/s", "infGB/s", "1e999GB/s", "10GB/s,-5us", ",5us", " 1GB/s"})
    EXPECT_NE(error(text), "");
}

TEST(Traffic, OfCollectives) {
  auto expect = [](Traffic traffic, double messages, double bytes) {
    EXPECT_DOUBLE_EQ(traffic.messages, messages);
    EXPECT_DOUBLE_EQ(traffic.bytes, bytes);
  };
  expect(allReduce(AllReduce::Ring, 4, 1000), 6, 1500);
  expect(allReduce(AllReduce::Tree, 4, 1000), 4, 2000);
  expect(allReduce(AllReduce::Tree, 5, 1000), 6, 2000);
  expect(allReduce(AllReduce::Tree, 2, 1000), 2, 2000);
  expect(allReduce(AllReduce::OneShot, 4, 1000), 1, 3000);
  expect(allGather(4, 1000), 3, 750);
  expect(reduceScatter(4, 1000), 3, 750);
  expect(allToAll(4, 1000), 3, 750);
  expect(broadcast(4, 1000), 3, 1000);
  expect(permute(4, 1000), 1, 1000);
  // A ring all-reduce is a reduce-scatter and an all-gather.
  Traffic both = reduceScatter(7, 4e6);
  both += allGather(7, 4e6);
  expect(allReduce(AllReduce::Ring, 7, 4e6), both.messages, both.bytes);
}

TEST(Traffic, OneRankSendsNothing) {
  for (const char *name : {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "permute"}) {
    std::optional<Traffic> traffic = trafficOf(name, 1, 1000);
    ASSERT_TRUE(traffic) << name;
    EXPECT_EQ(traffic->messages, 0) << name;
    EXPECT_EQ(traffic->bytes, 0) << name;
  }
  for (AllReduce way : {AllReduce::Tree, AllReduce::OneShot})
    EXPECT_EQ(allReduce(way, 1, 1000).bytes, 0);
  EXPECT_FALSE(trafficOf("rank", 2, 1000));
}

TEST(Traffic, Seconds) {
  Traffic traffic{2, 8e8};
  EXPECT_DOUBLE_EQ(traffic.seconds(parsed("800MB/s,0.1ms")), 1.0002);
  EXPECT_DOUBLE_EQ(traffic.seconds({0, 8e8}), 1);
  EXPECT_DOUBLE_EQ(traffic.seconds({1e-3, 0}), 2e-3); // no limit of bandwidth
  EXPECT_FALSE(Link().isSlow());
  EXPECT_TRUE(parsed("1TB/s").isSlow());
}

TEST(Traffic, FastestWayDependsOnSizeAndRanks) {
  Link link{5e-6, 10e9};
  EXPECT_EQ(fastestAllReduce(8, 1e3, link), AllReduce::OneShot); // latency is what counts
  EXPECT_EQ(fastestAllReduce(64, 1e4, link), AllReduce::Tree);
  EXPECT_EQ(fastestAllReduce(8, 1e8, link), AllReduce::Ring);    // bytes are
  EXPECT_EQ(fastestAllReduce(2, 1e8, link), AllReduce::OneShot); // the same bytes in one message
  EXPECT_EQ(fastestAllReduce(1, 1e8, link), AllReduce::Ring);
  for (double bytes = 1; bytes < 1e10; bytes *= 10)
    for (int64_t ranks : {2, 3, 5, 16}) {
      double best = allReduce(fastestAllReduce(ranks, bytes, link), ranks, bytes).seconds(link);
      for (AllReduce way : {AllReduce::Ring, AllReduce::Tree, AllReduce::OneShot})
        EXPECT_LE(best, allReduce(way, ranks, bytes).seconds(link));
    }
  EXPECT_EQ(nameOf(AllReduce::OneShot), "one-shot");
}

} // namespace
