// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What no program can be faster than: its products alone, and its weights read once.
#include "Rank.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <map>
#include <tuple>

namespace caat::runtime {

RepeatedWork::RepeatedWork(Engine &engine, const Maker &make)
    : engine(engine), works(static_cast<size_t>(engine.size())) {
  engine.onRanks([&](Rank &rank) {
    auto &work = works[static_cast<size_t>(rank.rank())];
    work = make(rank);
    work(); // chooses algorithms
    rank.device().synchronize();
  });
}

double RepeatedWork::seconds() {
  double slowest = 0;
  engine.onRanks([&](Rank &rank) {
    std::vector<double> all(works.size());
    double seconds = 0;
    auto meet = [&] { rank.communicator().allGatherBytes("limits", &seconds, all.data(), sizeof seconds); };
    meet(); // all begin at once
    auto begin = std::chrono::steady_clock::now();
    works[static_cast<size_t>(rank.rank())]();
    rank.device().synchronize();
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    meet();
    if (rank.rank() == engine.firstRank())
      slowest = *std::max_element(all.begin(), all.end());
  });
  return slowest;
}

static double leastOf(RepeatedWork work, int turns) {
  double least = std::numeric_limits<double>::infinity();
  for (int turn = 0; turn < turns; ++turn)
    least = std::min(least, work.seconds());
  return least;
}

/// `count` elements that look random, since processors multiply zeros with less power and GPUs therefore faster: the
/// same numbers again and again, so that the host needs no more memory than for those.
static std::shared_ptr<std::byte> madeUpRows(Device &device, DType dtype, int64_t count) {
  ParameterSpec piece;
  piece.dtype = dtype;
  piece.shape = {1, std::min<int64_t>(count, 1 << 20)};
  Tensor numbers = madeUp(piece, 1);
  auto rows = device.allocate(static_cast<size_t>(count) * sizeOf(dtype), "rows of the products");
  for (size_t done = 0, all = static_cast<size_t>(count) * sizeOf(dtype); done < all; done += numbers.bytes())
    device.upload(rows.get() + done, numbers.data.get(), std::min(numbers.bytes(), all - done));
  return rows;
}

/// One product after the other, of so many rows.
static RepeatedWork productsAlone(Engine &engine, const std::vector<size_t> &products, int64_t rows) {
  const auto &parameters = engine.manifest().parameters;
  // On the host, rows are f32 whatever the weights are.
  auto typeOf = [&](size_t product) { return engine.isHost() ? DType::F32 : parameters[product].dtype; };
  std::map<DType, int64_t> inputs; // elements, by what products read
  int64_t outputs = 0;
  for (size_t product : products) {
    int64_t &most = inputs[typeOf(product)];
    most = std::max(most, parameters[product].k() * rows);
    outputs = std::max(outputs, parameters[product].n() * rows);
  }
  return {engine, [&](Rank &rank) -> std::function<void()> {
            Device &device = rank.device();
            std::map<DType, std::shared_ptr<std::byte>> x;
            for (auto [dtype, count] : inputs)
              x[dtype] = madeUpRows(device, dtype, count);
            auto y = device.allocate(static_cast<size_t>(outputs) * sizeof(float), "results of the products");
            std::vector<Linear> calls;
            for (size_t product : products)
              calls.push_back({product, x.at(typeOf(product)).get(), typeOf(product), rows, y.get(), typeOf(product)});
            return [&device, calls, x, y] {
              for (const Linear &call : calls)
                device.linear(call);
            };
          }};
}

/// The products with weights, by k, n and the weight's bytes.
static std::map<std::tuple<int64_t, int64_t, size_t>, std::vector<size_t>> productsOf(const Manifest &manifest) {
  std::map<std::tuple<int64_t, int64_t, size_t>, std::vector<size_t>> products;
  for (size_t i = 0; i < manifest.parameters.size(); ++i)
    if (const ParameterSpec &spec = manifest.parameters[i]; spec.linear)
      products[{spec.k(), spec.n(), spec.storedBytes()}].push_back(i);
  if (products.empty())
    failInput("the program has no products with weights");
  return products;
}

RepeatedWork productsAlone(Engine &engine, int64_t rows) {
  std::vector<size_t> all;
  for (const auto &[shape, products] : productsOf(engine.manifest()))
    all.insert(all.end(), products.begin(), products.end());
  return productsAlone(engine, all, rows);
}

std::vector<ProductTiming> timeProductsByShape(Engine &engine, int64_t rows, int turns) {
  std::vector<ProductTiming> timings;
  for (const auto &[shape, products] : productsOf(engine.manifest())) {
    auto count = static_cast<int64_t>(products.size());
    double seconds = leastOf(productsAlone(engine, products, rows), turns), untimed = 0;
    bool hasChoice = true;
    auto useTimed = [&](bool timed) {
      engine.onRanks([&](Rank &rank) {
        bool has = rank.device().useTimedAlgorithms(timed);
        if (rank.rank() == engine.firstRank())
          hasChoice = has;
      });
    };
    useTimed(false);
    if (hasChoice)
      untimed = leastOf(productsAlone(engine, products, rows), turns);
    useTimed(true);
    auto [k, n, bytes] = shape;
    timings.push_back({k, n, count, seconds / static_cast<double>(count), untimed / static_cast<double>(count), bytes});
  }
  return timings;
}

double timeReads(Engine &engine, int turns) {
  // More than any cache holds, but for programs that are as small themselves.
  size_t most = (engine.isHost() ? size_t{256} : size_t{2048}) << 20, row = 32 << 10;
  size_t bytes = std::clamp(8 * engine.productBytes(), size_t{32} << 20, most) / row * row;
  RepeatedWork reads(engine, [&](Rank &rank) -> std::function<void()> {
    auto memory = rank.device().allocate(bytes, "memory to read");
    // A host gives new memory its pages when it is written; until then all of it is read from one page of zeros.
    std::vector<std::byte> ones(row, std::byte{1});
    for (size_t at = 0; engine.isHost() && at < bytes; at += row)
      rank.device().upload(memory.get() + at, ones.data(), row);
    return [&rank, memory, bytes] { rank.device().read(memory.get(), bytes); };
  });
  return static_cast<double>(bytes) / leastOf(std::move(reads), turns);
}

} // namespace caat::runtime
