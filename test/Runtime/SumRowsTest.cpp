// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums at the beginning of a GPU's kernels, compiled for the host: a thread for each rank runs the blocks of its
// kernels in turn, in memory that is laid out as PeerMemory does it.
#include "../Cuda/HostBlocks.h"
#pragma clang fp contract(off)
#include "cuda/SumRows.cu"
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace {

class Ranks {
public:
  explicit Ranks(int size) : flags(static_cast<size_t>(size)) {
    for (int rank = 0; rank < size; ++rank) {
      constexpr size_t bytes = sizeof(PeerRows) + size_t{2} * rowBlocks * rowBytes;
      memory.emplace_back(static_cast<PeerRows *>(std::aligned_alloc(alignof(PeerRows), bytes)), std::free);
      std::memset(static_cast<void *>(memory.back().get()), 0, bytes);
    }
    for (int rank = 0; rank < size; ++rank) {
      PeerRows &mine = *memory[static_cast<size_t>(rank)];
      mine.rank = rank;
      mine.ranks = size;
      mine.stop = &flags[static_cast<size_t>(rank)].stop;
      mine.differs = &flags[static_cast<size_t>(rank)].differs;
      for (int other = 0; other < size; ++other)
        mine.members[other] = memory[static_cast<size_t>(other)].get();
    }
  }

  int size() const { return static_cast<int>(memory.size()); }

  /// Block `block` of a kernel of `rank` sums data[count].
  void sum(int rank, int block, unsigned call, std::vector<float> &data) {
    caat::runtime::cuda::hostBlock = block;
    caat_sum_rows_f32(call, address(rank), reinterpret_cast<long long>(data.data()),
                      static_cast<long long>(data.size()));
  }
  void sum(int rank, int block, unsigned call, std::vector<unsigned short> &data) {
    caat::runtime::cuda::hostBlock = block;
    caat_sum_rows_bf16(call, address(rank), reinterpret_cast<long long>(data.data()),
                       static_cast<long long>(data.size()));
  }

  void stop(int rank) { __atomic_store_n(&flags[static_cast<size_t>(rank)].stop, 1u, __ATOMIC_RELAXED); }
  bool differs(int rank) const { return flags[static_cast<size_t>(rank)].differs != 0; }

  template <typename F> void run(F &&work) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size(); ++rank)
      threads.emplace_back([&, rank] { work(rank); });
    for (std::thread &thread : threads)
      thread.join();
  }

private:
  struct Flags {
    unsigned stop = 0, differs = 0;
  };
  long long address(int rank) const { return reinterpret_cast<long long>(memory[static_cast<size_t>(rank)].get()); }

  std::vector<std::unique_ptr<PeerRows, decltype(&std::free)>> memory;
  std::vector<Flags> flags;
};

template <typename Type> std::vector<typename Type::Stored> rows(int rank, int kernel, int block) {
  std::minstd_rand random(static_cast<unsigned>(1 + rank + 10 * kernel + 1000 * block));
  std::uniform_real_distribution<float> real(-1, 1);
  std::vector<typename Type::Stored> values(static_cast<size_t>(8 * (1 + (kernel * 7 + block) % 40)));
  for (auto &value : values)
    value = Type::store(real(random));
  return values;
}

template <typename Type> std::vector<typename Type::Stored> sumOfRanks(int ranks, int kernel, int block) {
  std::vector<typename Type::Stored> result = rows<Type>(0, kernel, block);
  for (size_t i = 0; i < result.size(); ++i) {
    typename Type::Sum total = Type::load(result[i]);
    for (int rank = 1; rank < ranks; ++rank)
      total += Type::load(rows<Type>(rank, kernel, block)[i]);
    result[i] = Type::store(total);
  }
  return result;
}

/// Kernels of ever other numbers of blocks, which go on as soon as their own sums are made.
template <typename Type> void expectSums(int size) {
  Ranks ranks(size);
  ranks.run([&](int rank) {
    for (int kernel = 0; kernel < 12; ++kernel)
      for (int block = 0; block < 1 + kernel * 5 % 4; ++block) {
        auto data = rows<Type>(rank, kernel, block);
        ranks.sum(rank, block, static_cast<unsigned>(100 + kernel), data);
        EXPECT_EQ(data, sumOfRanks<Type>(size, kernel, block)) << "rank " << rank << ", kernel " << kernel;
      }
  });
  for (int rank = 0; rank < size; ++rank)
    EXPECT_FALSE(ranks.differs(rank));
}

} // namespace

TEST(SumRows, AreThoseOfTheRanksInOrder) {
  for (int size : {1, 2, 3, 5}) {
    expectSums<Native<float>>(size);
    expectSums<BFloat16>(size);
  }
}

TEST(SumRows, OtherCallsAreNoticed) {
  Ranks ranks(2);
  ranks.run([&](int rank) {
    std::vector<float> data(8, 1);
    ranks.sum(rank, 0, static_cast<unsigned>(1 + rank), data);
  });
  EXPECT_TRUE(ranks.differs(0) && ranks.differs(1));
}

TEST(SumRows, TheHostEndsAWait) {
  Ranks ranks(3);
  std::vector<float> before(16, 2);
  ranks.run([&](int rank) {
    if (rank == 1) { // does not come
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ranks.stop(0);
      ranks.stop(2);
      return;
    }
    std::vector<float> data = before;
    ranks.sum(rank, 0, 1, data);
    EXPECT_EQ(data, before);
  });
}
