// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All-reduces that are started and waited for later: the bits of those that are not, beside other work.
#include "Expect.h"
#include "OnRanks.h"
#include "caat/runtime/Communicator.h"
#include <array>
#include <atomic>
#include <cmath>
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

using Beside = CommunicatorOptions::Beside;

std::vector<float> values(int rank, int round, int64_t count) {
  std::vector<float> data(static_cast<size_t>(count));
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = std::sin(static_cast<float>(i) + static_cast<float>(rank * 1000 + round)) * (rank == 1 ? 1e4f : 1.0f);
  return data;
}

std::vector<float> sums(int size, int round, int64_t count) {
  std::vector<float> total = values(0, round, count);
  for (int rank = 1; rank < size; ++rank) {
    std::vector<float> data = values(rank, round, count);
    for (size_t i = 0; i < total.size(); ++i)
      total[i] += data[i];
  }
  return total;
}

CollectiveCall call(int64_t index, int64_t count) {
  return {index, "site", CollectiveKind::AllReduce, DType::F32, count, 0};
}

class StartedSumsTest : public testing::TestWithParam<std::tuple<int, Beside>> {
protected:
  int size = std::get<0>(GetParam());
  CommunicatorOptions options(std::chrono::milliseconds timeout = std::chrono::seconds(30)) {
    return {timeout, -1, {}, std::get<1>(GetParam())};
  }
};

INSTANTIATE_TEST_SUITE_P(Ranks, StartedSumsTest,
                         testing::Combine(testing::Values(1, 2, 3, 4), testing::Values(Beside::Always, Beside::Auto)));

TEST_P(StartedSumsTest, HaveTheBitsOfOthersBesideThem) {
  ThreadGroup group(size, options());
  std::atomic<int> wrong = 0;
  for (const std::string &error : onRanks(group, size, [&](Communicator &comm, int rank) {
         for (int round = 0; round < 20; ++round) {
           // Three under way, the parts of one collective among them; meanwhile a collective and a transfer.
           int64_t large = 30000 + round * 17, small = round % 3;
           std::vector<float> a = values(rank, round, large), b = values(rank, round + 1, small);
           float *second = a.data() + 10001;
           comm.startAllReduce(call(0, 10001), a.data());
           comm.startAllReduce(call(0, large - 10001), second);
           comm.startAllReduce(call(1, small), b.data());
           float x = 1;
           comm.allReduce(call(2, 1), &x);
           std::vector<uint8_t> out(500, static_cast<uint8_t>(rank)), in(500);
           CollectiveCall ring{-2, "ring", CollectiveKind::Permute, DType::UI8, 500, 1};
           comm.permute(ring, out.data(), in.data(), 500, 1);
           comm.finishAllReduce(call(0, 10001), a.data());
           auto [begin, end] = comm.finishAllReduce(call(0, large - 10001), second);
           comm.finishAllReduce(call(1, small), b.data());
           wrong += x != static_cast<float>(size) || in[499] != (rank + size - 1) % size || end.time < begin.time;
           wrong += a != sums(size, round, large) || b != sums(size, round + 1, small);
         }
       }))
    EXPECT_EQ(error, "");
  EXPECT_EQ(wrong, 0);
}

TEST_P(StartedSumsTest, OnlyTheOldestIsWaitedFor) {
  std::vector<std::array<float, 5>> first(static_cast<size_t>(size)), second(first); // outlive what was started
  ThreadGroup group(size, options());
  for (const std::string &error : onRanks(group, size, [&](Communicator &comm, int rank) {
         auto &a = first[static_cast<size_t>(rank)], &b = second[static_cast<size_t>(rank)];
         comm.startAllReduce(call(0, 5), a.data());
         comm.startAllReduce(call(1, 5), b.data());
         comm.finishAllReduce(call(1, 5), b.data());
       }))
    EXPECT_EQ(error, "all_reduce 'site' (collective 1) is waited for, but is not the oldest sum that was started");
  group.reset();
  for (const std::string &error : onRanks(group, size, [&](Communicator &comm, int rank) {
         std::vector<float> a = values(rank, 0, 9);
         comm.startAllReduce(call(3, 9), a.data());
         comm.finishAllReduce(call(3, 9), a.data());
         EXPECT_EQ(a, sums(size, 0, 9));
       }))
    EXPECT_EQ(error, "") << "after the reset";
}

TEST_P(StartedSumsTest, DisagreementAndLateRanksAreNamed) {
  if (size == 1)
    return;
  std::vector<std::array<float, 9>> data(static_cast<size_t>(size));
  ThreadGroup group(size, options());
  for (const std::string &error : onRanks(group, size, [&](Communicator &comm, int rank) {
         auto &a = data[static_cast<size_t>(rank)];
         comm.startAllReduce(call(0, 5 + rank), a.data());
         comm.finishAllReduce(call(0, 5 + rank), a.data());
       }))
    EXPECT_NE(error.find(std::get<1>(GetParam()) == Beside::Always ? "sum different data" : "disagree"), error.npos)
        << error;

  using namespace std::chrono_literals;
  std::vector<std::array<float, 1000>> late(static_cast<size_t>(size));
  ThreadGroup impatient(size, options(200ms));
  auto errors = onRanks(impatient, size, [&](Communicator &comm, int rank) {
    auto &a = late[static_cast<size_t>(rank)];
    if (rank != 1) {
      comm.startAllReduce(call(0, 1000), a.data());
      comm.finishAllReduce(call(0, 1000), a.data());
    }
    while (rank == 1 && !comm.aborted())
      std::this_thread::sleep_for(1ms);
  });
  EXPECT_NE(errors[0].find("all_reduce 'site' (collective 0) timed out after 0.2 s"), errors[0].npos) << errors[0];
  EXPECT_NE(errors[0].find("waiting for rank 1"), errors[0].npos) << errors[0];
}

TEST(StartedSums, GoOnBesideWorkOverASlowLink) {
  // 1 MB at 5 MB/s takes 200 ms, beside 200 ms of something else.
  constexpr int64_t count = 250000;
  ThreadGroup slow(2, {std::chrono::seconds(30), -1, parseLink("5MB/s,10us")});
  auto timed = [&](bool beside) {
    auto begin = std::chrono::steady_clock::now();
    for (const std::string &error : onRanks(slow, 2, [&](Communicator &comm, int rank) {
           std::vector<float> data = values(rank, 0, count);
           if (beside)
             comm.startAllReduce(call(0, count), data.data());
           std::this_thread::sleep_for(std::chrono::milliseconds(200));
           if (beside)
             comm.finishAllReduce(call(0, count), data.data());
           else
             comm.allReduce(call(0, count), data.data());
         }))
      EXPECT_EQ(error, "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  double beside = timed(true);
  for (int again = 0; again < 10 && beside >= 0.380; ++again) // a busy machine
    beside = timed(true);
  EXPECT_GE(beside, 0.200);
  EXPECT_LT(beside, 0.380);
  EXPECT_GE(timed(false), 0.400);
}

} // namespace
