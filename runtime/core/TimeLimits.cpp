// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What no program can be faster than: its products alone, and its weights read once.
#include "Rank.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>

namespace caat::runtime {

/// The least of what `run` takes on the slowest rank, in seconds.
template <typename F> static double leastOf(Engine &engine, int turns, F &&run) {
  std::vector<std::vector<double>> seconds(static_cast<size_t>(engine.size()));
  engine.onRanks([&](Rank &rank) {
    Device &device = rank.device();
    auto work = run(rank);
    work(); // chooses algorithms
    for (int turn = 0; turn < turns; ++turn) {
      device.synchronize();
      char unused = 0;
      std::vector<char> all(static_cast<size_t>(engine.size()));
      rank.communicator().allGatherBytes("limits", &unused, all.data(), 1); // all begin at once
      auto begin = std::chrono::steady_clock::now();
      work();
      device.synchronize();
      seconds[static_cast<size_t>(rank.rank())].push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  });
  double least = std::numeric_limits<double>::infinity();
  for (size_t turn = 0; turn < static_cast<size_t>(turns); ++turn) {
    double slowest = 0;
    for (const auto &rank : seconds)
      slowest = std::max(slowest, rank[turn]);
    least = std::min(least, slowest);
  }
  return least;
}

double timeProducts(Engine &engine, int64_t rows, int turns) {
  const auto &parameters = engine.manifest().parameters;
  std::vector<size_t> products;
  int64_t inputs = 0, outputs = 0;
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].linear) {
      products.push_back(i);
      inputs = std::max(inputs, parameters[i].k() * rows);
      outputs = std::max(outputs, parameters[i].n() * rows);
    }
  if (products.empty())
    failInput("the program has no products with weights");
  // What is rounded for one product serves for the next with as many columns.
  std::sort(products.begin(), products.end(),
            [&](size_t a, size_t b) { return std::pair(parameters[a].k(), a) < std::pair(parameters[b].k(), b); });
  return leastOf(engine, turns, [&](Rank &rank) {
    Device &device = rank.device();
    auto x = device.allocate(static_cast<size_t>(inputs) * sizeof(float), "rows of the products");
    auto y = device.allocate(static_cast<size_t>(outputs) * sizeof(float), "results of the products");
    return [&, x, y] {
      for (size_t product : products)
        device.linear(product, reinterpret_cast<float *>(x.get()), rows, reinterpret_cast<float *>(y.get()), false);
    };
  });
}

double timeReads(Engine &engine, int turns) {
  size_t bytes = engine.isHost() ? size_t{256} << 20 : size_t{2} << 30; // more than any cache holds
  double seconds = leastOf(engine, turns, [&](Rank &rank) {
    auto memory = rank.device().allocate(bytes, "memory to read");
    return [&rank, memory, bytes] { rank.device().read(memory.get(), bytes); };
  });
  return static_cast<double>(bytes) / seconds;
}

} // namespace caat::runtime
