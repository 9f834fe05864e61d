// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "core/Rings.h"
#include "Expect.h"
#include "TinyModel.h"
#include "cpu/CpuDevice.h"
#include <atomic>
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

constexpr int64_t inner = 24, outer = 40, entries = 1000;

/// One rank with three groups: a product's weight and an array in the first, an array in each of the others. Slice r
/// holds r + 1. The first and the last share their spare buffer.
struct RingRank {
  CpuDevice device;
  Rings rings;
  std::vector<ParameterSpec> specs;
  std::vector<std::vector<float>> slices; // the product's weight, the array in its group, those of the others
  void *tableAt = nullptr, *otherAt = nullptr, *lastAt = nullptr;

  RingRank(const Program &program, const Manifest &manifest, Communicator &comm)
      : device(program, 1), rings(manifest, device, comm) {
    auto value = static_cast<float>(comm.rank() + 1);
    std::vector<HostParameter> given;
    for (int64_t count : {inner * outer, entries, int64_t{3}, int64_t{3}}) {
      ParameterSpec &spec = specs.emplace_back();
      spec.shape = {count};
      slices.emplace_back(count, value);
    }
    specs[0].shape = {inner, outer};
    specs[0].linear = true;
    size_t groups[] = {0, 0, 1, 2};
    for (size_t i = 0; i < specs.size(); ++i) {
      specs[i].rotation = groups[i];
      given.push_back({&specs[i], reinterpret_cast<const std::byte *>(slices[i].data()), slices[i].size() * 4, {}});
    }
    device.load(given);
    void **pointers[] = {nullptr, &tableAt, &otherAt, &lastAt};
    for (size_t i = 0; i < specs.size(); ++i)
      rings.add(groups[i], i, pointers[i]);
    rings.allocate();
  }

  CollectiveCall call(size_t group) const {
    return {-2 - static_cast<int64_t>(group),         "ring", CollectiveKind::Permute, DType::UI8,
            static_cast<int64_t>(rings.bytes(group)), 1};
  }

  /// Whether everything of `group` is virtual rank `shard`'s, while it may be travelling.
  bool holds(size_t group, int64_t shard) {
    auto value = static_cast<float>(shard + 1);
    if (group > 0) {
      const auto *array = static_cast<float *>(group == 1 ? otherAt : lastAt);
      return array[0] == value && array[2] == value;
    }
    std::vector<float> x(inner, 1.0f), y(outer);
    device.linear({0, x.data(), DType::F32, 1, y.data(), DType::F32});
    const auto *at = static_cast<float *>(tableAt);
    return std::abs(y[0] - value * inner) < 1e-3f && std::abs(y[outer - 1] - value * inner) < 1e-3f && at[0] == value &&
           at[entries - 1] == value;
  }
};

class RingsTest : public testing::TestWithParam<std::tuple<int, bool>> {};

INSTANTIATE_TEST_SUITE_P(Ranks, RingsTest, testing::Combine(testing::Values(1, 2, 3, 4), testing::Bool()));

TEST_P(RingsTest, SlicesAreWhereTheRunExpectsThem) {
  auto [size, inPlace] = GetParam();
  Manifest manifest;
  manifest.tp = size;
  auto spare = [&](size_t number) { return inPlace ? std::nullopt : std::optional(number); };
  manifest.rotations = {{"a", spare(1)}, {"b", spare(0)}, {"c", spare(1)}};
  std::string directory = scratchDirectory("rings"); // of any program: its parameters are the test's
  writeTinyArtifact(directory, CAAT_TINY_CODE "-1.so", 1);
  Program program(directory);
  ThreadGroup group(size);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank, size = size, inPlace = inPlace] {
      RingRank mine(program, manifest, group.at(rank));
      auto run = [&] {
        // Two transfers under way at once, then one.
        for (const std::vector<size_t> &together : {std::vector<size_t>{0, 1}, {2}})
          for (int64_t step = 0; step < size; ++step) {
            bool travels = step + 1 < size;
            for (size_t which : together)
              if (travels && !inPlace)
                mine.rings.start(which, mine.call(which));
            for (size_t which : together)
              wrong += !mine.holds(which, mine.rings.shardAt(step));
            for (size_t which : together)
              if (travels && inPlace)
                mine.rings.rotateInPlace(which, mine.call(which));
              else if (travels)
                mine.rings.finish(which, mine.call(which));
          }
      };
      wrong += mine.rings.shardAt(0) != rank;
      for (int i = 0; i < 5; ++i) {
        run();
        mine.rings.finishRun();
      }
      // As after a run that failed: own slices, wherever they were.
      mine.rings.invalidate();
      wrong += mine.rings.isValid();
      group.at(rank).checkSchedule("meet");
      mine.rings.refill();
      wrong += !mine.rings.isValid() || mine.rings.shardAt(0) != rank;
      group.at(rank).checkSchedule("meet");
      run();
      wrong += inPlace != (mine.rings.spareBytes() == 0);
      group.at(rank).checkSchedule("before the memory goes");
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
}

} // namespace
