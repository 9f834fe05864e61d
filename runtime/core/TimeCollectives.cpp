// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Rank.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>

namespace caat::runtime {

namespace {

/// Small whole numbers: every order of a sum gives the same.
float valueOf(int rank, int64_t i) { return static_cast<float>((i + rank) % 8); }

/// Seconds of a call, and the elements that are not the sum, on one rank.
CollectiveTiming timeOnRank(Rank &rank, int64_t count, int turns) {
  Device &device = rank.device();
  Communicator &ranks = rank.communicator();
  size_t bytes = static_cast<size_t>(count) * sizeof(float);
  Tensor mine(DType::F32, {count}), sum = mine;
  sum.data = Tensor(DType::F32, {count}).data;
  for (int64_t i = 0; i < count; ++i) {
    mine.as<float>()[i] = valueOf(ranks.rank(), i);
    for (int r = 0; r < ranks.size(); ++r)
      sum.as<float>()[i] += valueOf(r, i);
  }
  std::shared_ptr<std::byte> data = device.allocate(bytes, "an all-reduce");
  CollectiveCall call{-1, "bench", CollectiveKind::AllReduce, DType::F32, count, 0};
  device.upload(data.get(), mine.data.get(), bytes);
  ranks.allReduce(call, data.get());
  Tensor got = onHost(device, Tensor::view(DType::F32, {count}, data.get()));
  CollectiveTiming result{static_cast<int64_t>(bytes), 0, 0, -1};
  for (int64_t i = 0; i < count; ++i)
    result.wrong += got.as<float>()[i] != sum.as<float>()[i];
  Tensor zeros(DType::F32, {count}); // sums of zeros do not grow
  device.upload(data.get(), zeros.data.get(), bytes);
  ranks.allReduce(call, data.get());
  device.synchronize();
  auto begin = std::chrono::steady_clock::now();
  for (int turn = 0; turn < turns; ++turn)
    ranks.allReduce(call, data.get());
  device.synchronize();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / turns;
  return result;
}

} // namespace

std::vector<CollectiveTiming> timeAllReduce(Engine &engine, std::span<const int64_t> sizes, int turns,
                                            std::vector<std::string> &ways) {
  std::vector<CollectiveTiming> results;
  for (int64_t bytes : sizes) {
    int count = 0; // the same on all ranks
    engine.onRanks([&](Rank &rank) {
      std::vector<std::string> mine = rank.communicator().sumWays(bytes);
      if (rank.rank() != engine.firstRank())
        return;
      count = mine.size() > 1 ? static_cast<int>(mine.size()) : 0;
      if (mine.size() > ways.size())
        ways = std::move(mine);
    });
    for (int way = -1; way < count; ++way) {
      std::vector<CollectiveTiming> ranks(static_cast<size_t>(engine.size()));
      engine.onRanks([&](Rank &rank) {
        rank.communicator().setSumWay(way);
        CollectiveTiming mine = timeOnRank(rank, bytes / int64_t(sizeof(float)), turns);
        rank.communicator().setSumWay(-1);
        std::vector<CollectiveTiming> all(ranks.size());
        rank.communicator().allGatherBytes("timings", &mine, all.data(), sizeof mine);
        if (rank.rank() == engine.firstRank())
          ranks = std::move(all);
      });
      CollectiveTiming &result = results.emplace_back(ranks[0]);
      result.way = way;
      for (size_t r = 1; r < ranks.size(); ++r) {
        result.seconds = std::max(result.seconds, ranks[r].seconds);
        result.wrong += ranks[r].wrong;
      }
    }
  }
  return results;
}

} // namespace caat::runtime
