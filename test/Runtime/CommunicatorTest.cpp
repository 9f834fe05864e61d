// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Communicator.h"
#include "Expect.h"
#include "OnRanks.h"
#include "caat/runtime/Bf16.h"
#include <array>
#include <atomic>
#include <cstring>
#include <numeric>
#include <sstream>
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

CollectiveCall call(CollectiveKind kind, int64_t count, DType dtype = DType::F32, int64_t index = 0) {
  return {index, "site", kind, dtype, count, 0};
}

float value(int rank, int64_t i) { return std::sin(static_cast<float>(rank * 1000 + i)) * (rank == 1 ? 1e4f : 1.0f); }

std::vector<float> values(int rank, int64_t count) {
  std::vector<float> data(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    data[static_cast<size_t>(i)] = value(rank, i);
  return data;
}

/// The sum in rank order in fp32, to the bit.
float sum(int size, int64_t i) {
  float total = value(0, i);
  for (int rank = 1; rank < size; ++rank)
    total += value(rank, i);
  return total;
}

class CommunicatorTest : public testing::TestWithParam<int> {
protected:
  int size = GetParam();
  ThreadGroup group{size};
  void expectNoErrors(const std::vector<std::string> &errors) {
    for (const std::string &error : errors)
      EXPECT_EQ(error, "");
  }
};

INSTANTIATE_TEST_SUITE_P(Ranks, CommunicatorTest, testing::Values(1, 2, 3, 4, 7));

TEST_P(CommunicatorTest, AllReduceSumsInRankOrder) {
  // Below and above the size that goes through the staging buffers, and sizes that do not divide.
  for (int64_t count : {0, 1, 5, 576, 4095, 4096, 4097, 65536, 100003}) {
    std::vector<std::vector<float>> data;
    for (int rank = 0; rank < size; ++rank)
      data.push_back(values(rank, count));
    expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
      comm.allReduce(call(CollectiveKind::AllReduce, count), data[static_cast<size_t>(rank)].data());
    }));
    for (int rank = 0; rank < size; ++rank)
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(data[static_cast<size_t>(rank)][static_cast<size_t>(i)], sum(size, i)) << count << ' ' << i;
  }
}

TEST_P(CommunicatorTest, AllReduceOfOtherTypes) {
  for (int64_t count : {3, 20000}) {
    auto n = static_cast<size_t>(count);
    std::vector<std::vector<uint16_t>> bf16(static_cast<size_t>(size), std::vector<uint16_t>(n));
    std::vector<std::vector<int64_t>> i64(static_cast<size_t>(size), std::vector<int64_t>(n));
    std::vector<std::vector<double>> f64(static_cast<size_t>(size), std::vector<double>(n));
    expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
      auto r = static_cast<size_t>(rank);
      for (size_t i = 0; i < n; ++i) {
        bf16[r][i] = floatToBf16(0.001f + static_cast<float>(rank));
        i64[r][i] = rank + static_cast<int64_t>(i);
        f64[r][i] = 0.1 * rank;
      }
      comm.allReduce(call(CollectiveKind::AllReduce, count, DType::BF16), bf16[r].data());
      comm.allReduce(call(CollectiveKind::AllReduce, count, DType::I64), i64[r].data());
      comm.allReduce(call(CollectiveKind::AllReduce, count, DType::F64), f64[r].data());
    }));
    float wanted = 0;
    double wanted64 = 0;
    for (int rank = 0; rank < size; ++rank) {
      wanted += bf16ToFloat(floatToBf16(0.001f + static_cast<float>(rank)));
      wanted64 += 0.1 * rank;
    }
    for (size_t r = 0; r < static_cast<size_t>(size); ++r)
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(bf16[r][i], floatToBf16(wanted)) << "summed in fp32, rounded once";
        ASSERT_EQ(i64[r][i], size * (size - 1) / 2 + size * static_cast<int64_t>(i));
        ASSERT_EQ(f64[r][i], wanted64);
      }
  }
  auto errors = onRanks(group, size, [&](Communicator &comm, int) {
    uint8_t flags[4] = {};
    comm.allReduce(call(CollectiveKind::AllReduce, 4, DType::Bool), flags);
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "elements of type bool cannot be summed");
}

TEST_P(CommunicatorTest, AllGatherPutsRanksInTheMiddle) {
  for (auto [outer, inner] : {std::pair<int64_t, int64_t>{1, 5}, {3, 4}, {7, 3000}}) {
    int64_t count = outer * inner;
    expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
      std::vector<float> in = values(rank, count), out(static_cast<size_t>(count * size));
      comm.allGather(call(CollectiveKind::AllGather, count), in.data(), out.data(), outer, inner);
      for (int64_t o = 0; o < outer; ++o)
        for (int r = 0; r < size; ++r)
          for (int64_t i = 0; i < inner; ++i)
            ASSERT_EQ(out[static_cast<size_t>((o * size + r) * inner + i)], value(r, o * inner + i));
    }));
  }
}

TEST_P(CommunicatorTest, ReduceScatterKeepsTheOwnPart) {
  int64_t outer = 3, inner = 700, count = outer * size * inner;
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
    std::vector<float> in = values(rank, count), out(static_cast<size_t>(outer * inner));
    comm.reduceScatter(call(CollectiveKind::ReduceScatter, count), in.data(), out.data(), outer, inner);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i)
        ASSERT_EQ(out[static_cast<size_t>(o * inner + i)], sum(size, (o * size + rank) * inner + i));
  }));
}

TEST_P(CommunicatorTest, AllToAllPermuteAndBroadcast) {
  int64_t count = 1000;
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
    std::vector<float> in = values(rank, count * size), out(in.size());
    comm.allToAll(call(CollectiveKind::AllToAll, count * size), in.data(), out.data(), count);
    for (int r = 0; r < size; ++r)
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(out[static_cast<size_t>(r * count + i)], value(r, rank * count + i));

    for (int64_t shift : {1, -1, 2, 0, 9, -9}) {
      int from = static_cast<int>(((rank - shift) % size + size) % size);
      std::vector<float> data = values(rank, count), moved(data.size());
      comm.permute(call(CollectiveKind::Permute, count), data.data(), moved.data(), count, shift);
      comm.permute(call(CollectiveKind::Permute, count), data.data(), data.data(), count, shift);
      ASSERT_EQ(moved, values(from, count));
      ASSERT_EQ(data, moved) << "in place";
    }
    for (int root = 0; root < size; ++root) {
      std::vector<float> data = values(rank, count);
      comm.broadcast(call(CollectiveKind::Broadcast, count), data.data(), count, root);
      ASSERT_EQ(data, values(root, count));
    }
  }));
}

TEST_P(CommunicatorTest, ManyCallsInARow) {
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
    for (int64_t i = 0; i < 3000; ++i) {
      int64_t count = i % 5 == 0 ? 5000 : 16; // both ways of the all-reduce
      std::vector<float> data(static_cast<size_t>(count), static_cast<float>(rank + i));
      comm.allReduce(call(CollectiveKind::AllReduce, count, DType::F32, i), data.data());
      ASSERT_EQ(data.back(), static_cast<float>(size * (size - 1) / 2 + size * i));
    }
  }));
}

TEST_P(CommunicatorTest, SchedulesAreCompared) {
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int) { comm.checkSchedule("abc"); }));
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int) { comm.checkSchedule(""); }));
  if (size == 1)
    return;
  std::string longDigest(500, 'x');
  for (const std::string &last : {std::string("abd"), longDigest + "y"}) {
    auto errors = onRanks(group, size, [&](Communicator &comm, int rank) {
      comm.checkSchedule(rank == size - 1 ? last : last.size() > 10 ? longDigest + "z" : "abc");
    });
    for (const std::string &error : errors)
      EXPECT_NE(error.find("rank " + std::to_string(size - 1) + " runs another schedule"), error.npos) << error;
  }
}

TEST_P(CommunicatorTest, DisagreementIsNamed) {
  if (size == 1)
    return;
  auto disagree = [&](CollectiveCall other) {
    auto errors = onRanks(group, size, [&](Communicator &comm, int rank) {
      std::vector<float> data(10000);
      comm.allReduce(rank == 1 ? other : call(CollectiveKind::AllReduce, 100), data.data());
    });
    group.reset();
    return errors;
  };
  CollectiveCall longer = call(CollectiveKind::AllReduce, 10000), next = call(CollectiveKind::AllReduce, 100);
  next.index = 1;
  next.name = "next";
  for (const std::string &error : disagree(longer))
    EXPECT_EQ(error, "the ranks' collectives disagree: rank 0 calls all_reduce 'site' (collective 0) of 100 x f32, "
                     "rank 1 calls all_reduce 'site' (collective 0) of 10000 x f32");
  for (const std::string &error : disagree(next))
    EXPECT_NE(error.find("rank 1 calls all_reduce 'next' (collective 1)"), error.npos) << error;
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int) { comm.checkSchedule("x"); }));
}

/// Tries `attempt` with longer and longer time-outs, in seconds, until it returns no problem: on a busy machine ranks
/// that should meet are late themselves.
template <typename F> std::string withPatience(F &&attempt) {
  std::string problem;
  for (double seconds : {0.1, 1.0, 10.0})
    if (problem = attempt(seconds); problem.empty())
      break;
  return problem;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

/// "timed out after 0.1 s".
std::string timedOut(double seconds) {
  std::ostringstream text;
  text << "timed out after " << seconds << " s";
  return text.str();
}

TEST_P(CommunicatorTest, TimeoutNamesTheLateRanks) {
  if (size == 1)
    return;
  std::string problem = withPatience([&](double seconds) -> std::string {
    ThreadGroup impatient(size, {milliseconds(seconds)});
    auto errors = onRanks(impatient, size, [&](Communicator &comm, int rank) {
      float x = 1;
      comm.allReduce({0, "embed", CollectiveKind::AllReduce, DType::F32, 1, 0}, &x);
      if (rank != 1)
        comm.allReduce({1, "layers.0.attn", CollectiveKind::AllReduce, DType::F32, 1, 0}, &x);
      while (rank == 1 && !comm.aborted())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    if (errors[0].find("all_reduce 'layers.0.attn' (collective 1) " + timedOut(seconds)) == std::string::npos ||
        errors[0].find("waiting for rank 1 (last seen in 'embed')") == std::string::npos)
      return errors[0].empty() ? "no error on rank 0" : errors[0];
    for (int rank = 1; rank < size; ++rank)
      if (errors[static_cast<size_t>(rank)] != (rank == 1 ? "" : errors[0])) // the first reason counts everywhere
        return "rank " + std::to_string(rank) + ": " + errors[static_cast<size_t>(rank)];
    return "";
  });
  EXPECT_EQ(problem, "");
}

TEST_P(CommunicatorTest, AbortReachesEverybodyAndIsForgotten) {
  auto errors = onRanks(group, size, [&](Communicator &comm, int rank) {
    if (rank == size - 1) {
      comm.abort("no more memory");
      comm.abort("a later reason");
    }
    float x = 1;
    comm.allReduce(call(CollectiveKind::AllReduce, 1), &x);
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "no more memory");
  EXPECT_TRUE(group.at(0).aborted());
  group.reset();
  EXPECT_FALSE(group.at(0).aborted());
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int) { comm.checkSchedule("x"); }));
}

/// This rank's bytes for the `round`-th exchange.
std::vector<uint8_t> pattern(int rank, int round, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  for (size_t i = 0; i < bytes; ++i)
    data[i] = static_cast<uint8_t>(static_cast<size_t>(rank) * 31 + static_cast<size_t>(round) * 7 + i % 251);
  return data;
}

TEST_P(CommunicatorTest, ExchangesBesideOtherCollectives) {
  for (int64_t shift : {1, -1}) {
    std::atomic<int> wrong = 0;
    expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
      for (int round = 0; round < 20; ++round) {
        size_t bytes = round % 3 == 0 ? 3 : 400000 + static_cast<size_t>(round);
        std::vector<uint8_t> out = pattern(rank, round, bytes), in(bytes), twin = out;
        CollectiveCall what{-2, "ring", CollectiveKind::Permute, DType::UI8, static_cast<int64_t>(bytes), shift};
        comm.startPermute(what, out.data(), in.data(), what.count, shift);
        float x = 1;
        comm.allReduce(call(CollectiveKind::AllReduce, 1), &x);
        comm.finishPermute(what);
        int from = static_cast<int>(((rank - shift) % size + size) % size);
        comm.permuteInPlace(what, twin.data(), what.count, shift);
        wrong += x != static_cast<float>(size) || in != pattern(from, round, bytes) || twin != in;
      }
    }));
    EXPECT_EQ(wrong, 0);
  }
}

TEST_P(CommunicatorTest, ExchangesWaitForEachOther) {
  // Several under way, of different sizes, finished in order; and one that is finished out of turn.
  auto call = [](int64_t number, size_t bytes) {
    return CollectiveCall{-2 - number, "ring", CollectiveKind::Permute, DType::UI8, static_cast<int64_t>(bytes), 1};
  };
  std::atomic<int> wrong = 0;
  expectNoErrors(onRanks(group, size, [&](Communicator &comm, int rank) {
    for (int round = 0; round < 20; ++round) {
      std::vector<std::vector<uint8_t>> out, in;
      for (int number = 0; number < 3; ++number) {
        size_t bytes = number == round % 3 ? 700000 : 5;
        out.push_back(pattern(rank, round + number, bytes));
        in.emplace_back(bytes);
        comm.startPermute(call(number, bytes), out.back().data(), in.back().data(), static_cast<int64_t>(bytes), 1);
      }
      Moment last;
      for (int number = 0; number < 3; ++number) {
        auto [begin, end] = comm.finishPermute(call(number, in[static_cast<size_t>(number)].size()));
        wrong += end.time < begin.time || (number > 0 && begin.time < last.time);
        wrong += in[static_cast<size_t>(number)] !=
                 pattern((rank + size - 1) % size, round + number, in[static_cast<size_t>(number)].size());
        last = end;
      }
    }
  }));
  EXPECT_EQ(wrong, 0);
  std::vector<std::array<uint8_t, 8>> sent(static_cast<size_t>(size)), received(sent); // outlive what was started
  for (const std::string &error : onRanks(group, size, [&](Communicator &comm, int rank) {
         auto &out = sent[static_cast<size_t>(rank)], &in = received[static_cast<size_t>(rank)];
         comm.startPermute(call(0, 8), out.data(), in.data(), 8, 1);
         comm.finishPermute(call(1, 8));
       }))
    EXPECT_NE(error.find("rotate different weights"), error.npos) << error;
  group.reset();
}

TEST_P(CommunicatorTest, ExchangeNamesTheLateRank) {
  if (size < 2)
    return;
  std::string problem = withPatience([&](double seconds) -> std::string {
    ThreadGroup impatient(size, {milliseconds(seconds)});
    auto errors = onRanks(impatient, size, [&](Communicator &comm, int rank) {
      std::vector<uint8_t> out(1000), in(1000);
      CollectiveCall what{-2, "layers.0.mlp", CollectiveKind::Permute, DType::UI8, 1000, 1};
      if (rank != 1) {
        comm.startPermute(what, out.data(), in.data(), 1000, 1);
        comm.finishPermute(what);
      }
      while (rank == 1 && !comm.aborted())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    for (int rank : {0, 2 % size}) {
      const std::string &error = errors[static_cast<size_t>(rank)];
      if (error.find("permute 'layers.0.mlp' " + timedOut(seconds)) == std::string::npos ||
          error.find("waiting for rank 1") == std::string::npos)
        return "rank " + std::to_string(rank) + ": " + error;
    }
    impatient.reset();
    for (const std::string &error : onRanks(impatient, size, [&](Communicator &comm, int rank) {
           std::vector<uint8_t> out = pattern(rank, 0, 1000), in(1000);
           CollectiveCall what{-2, "again", CollectiveKind::Permute, DType::UI8, 1000, 1};
           comm.startPermute(what, out.data(), in.data(), 1000, 1);
           comm.finishPermute(what);
           EXPECT_EQ(in, pattern((rank + size - 1) % size, 0, 1000));
         }))
      if (!error.empty())
        return "after the reset: " + error;
    return "";
  });
  EXPECT_EQ(problem, "");
}

TEST(Link, TransfersRunBesideWork) {
  // 1 MB at 5 MB/s takes 200 ms, beside 200 ms of something else; in place one comes after the other.
  constexpr int64_t bytes = 1000000;
  ThreadGroup slow(2, {std::chrono::seconds(30), -1, parseLink("5MB/s,10us")});
  auto timed = [&](bool inPlace) {
    auto begin = std::chrono::steady_clock::now();
    for (const std::string &error : onRanks(slow, 2, [&](Communicator &comm, int) {
           std::vector<uint8_t> out(bytes), in(bytes);
           CollectiveCall what{-2, "ring", CollectiveKind::Permute, DType::UI8, bytes, 1};
           if (!inPlace)
             comm.startPermute(what, out.data(), in.data(), bytes, 1);
           std::this_thread::sleep_for(std::chrono::milliseconds(200));
           if (inPlace)
             comm.permuteInPlace(what, out.data(), bytes, 1);
           else
             comm.finishPermute(what);
         }))
      EXPECT_EQ(error, "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  double beside = timed(false), after = timed(true);
  for (int again = 0; again < 10 && beside >= 0.380; ++again) // a busy machine
    beside = timed(false);
  EXPECT_GE(beside, 0.200);
  EXPECT_LT(beside, 0.380);
  EXPECT_GE(after, 0.400);
}

TEST(Link, SlowsCollectivesByTheRingFormula) {
  ThreadGroup slow(3, {std::chrono::seconds(30), -1, parseLink("10MB/s,1ms")});
  auto begin = std::chrono::steady_clock::now();
  for (const std::string &error : onRanks(slow, 3, [&](Communicator &comm, int rank) {
         std::vector<float> data = values(rank, 75000); // 300 kB: 4 messages, 400 kB on the wire
         comm.allReduce(call(CollectiveKind::AllReduce, 75000), data.data());
       }))
    EXPECT_EQ(error, "");
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_GE(seconds, 0.044);
  EXPECT_LT(seconds, 0.2);
}

TEST(Link, RefusesWhatItCannotRead) {
  try {
    parseLink("10GB/s,5");
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "link '10GB/s,5': '5' has the unknown unit '', e.g. 5us");
  }
}

} // namespace
