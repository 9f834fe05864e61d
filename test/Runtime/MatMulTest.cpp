// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Expect.h"
#include "caat/runtime/Bf16.h"
#include "cpu/Bf16Products.h"
#include <array>
#include <cmath>
#include <functional>
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

/// Numbers that bf16 has.
std::vector<float> shortNumbers(int64_t count, float seed) {
  std::vector<float> values = numbers(count, seed);
  for (float &x : values)
    x = bf16ToFloat(floatToBf16(x));
  return values;
}

std::vector<uint16_t> asBf16(const std::vector<float> &values) {
  std::vector<uint16_t> result;
  for (float x : values)
    result.push_back(floatToBf16(x));
  return result;
}

/// Strides of a [batch, rows, cols] operand.
struct Layout {
  const char *name;
  int64_t batch, row, col;
};

/// Compares c with plain loops, where a and b are of `dtype`.
void checkLayouts(DType dtype, const std::function<void(const MatMul &)> &run) {
  int64_t batch = 3;
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{5, 7, 4}, {1, 8, 16}, {6, 1, 3}, {4, 4, 1}, {1, 1, 1}, {2, 3, 0}, {17, 33, 19}}) {
    std::vector<Layout> as = {{"rows", m * k, k, 1},
                              {"columns", m * k, 1, m},
                              {"padded", m * (k + 3), k + 3, 1},
                              {"spread", 4 * m * k + 4, 2 * k + 1, 2},
                              {"broadcast", 0, k, 1},
                              {"interleaved", k, batch * k, 1},
                              {"equal rows", k, 0, 1}};
    std::vector<Layout> bs = {{"rows", k * n, n, 1},
                              {"columns", k * n, 1, k},
                              {"spread", 4 * k * n + 4, 2 * n + 1, 2},
                              {"broadcast", 0, 1, k}};
    for (const Layout &la : as)
      for (const Layout &lb : bs)
        for (float beta : {0.0f, 0.5f}) {
          std::vector<float> a = shortNumbers(8000, 1), b = shortNumbers(8000, 2);
          std::vector<uint16_t> narrowA = asBf16(a), narrowB = asBf16(b);
          bool isNarrow = dtype == DType::BF16;
          const void *dataA = isNarrow ? static_cast<const void *>(narrowA.data()) : a.data();
          const void *dataB = isNarrow ? static_cast<const void *>(narrowB.data()) : b.data();
          int64_t cRow = n + 2, cBatch = m * cRow + 1;
          std::vector<float> c = shortNumbers(batch * cBatch, 3), before = c;
          if (beta == 0.0f)
            std::fill(c.begin(), c.end(), NAN); // beta 0 does not read c
          run({dtype, batch, m, n, k, dataA, la.batch, la.row, la.col, dataB, lb.batch, lb.row, lb.col, c.data(),
               cBatch, cRow, 0.25f, beta});
          for (int64_t i = 0; i < batch; ++i)
            for (int64_t r = 0; r < m; ++r)
              for (int64_t s = 0; s < n; ++s) {
                size_t at = static_cast<size_t>(i * cBatch + r * cRow + s);
                double want = beta == 0.0f ? 0.0 : beta * before[at];
                for (int64_t t = 0; t < k; ++t)
                  want += 0.25 * a[static_cast<size_t>(i * la.batch + r * la.row + t * la.col)] *
                          b[static_cast<size_t>(i * lb.batch + t * lb.row + s * lb.col)];
                ASSERT_NEAR(c[at], want, 1e-5) << la.name << ' ' << lb.name << ' ' << m << ' ' << n << ' ' << k;
              }
        }
  }
}

TEST(MatMulTest, AllLayoutsEqualPlainLoops) { checkLayouts(DType::F32, runMatMul); }

TEST(MatMulTest, Bf16HasSumsOfF32) { checkLayouts(DType::BF16, runMatMul); }

/// As where the processor has no products of bf16.
TEST(MatMulTest, WidenedBf16HasSumsOfF32) { checkLayouts(DType::BF16, runWidened); }

/// Rows of c that lie apart keep what is between them.
TEST(MatMulTest, Bf16WritesNothingElse) {
  std::vector<uint16_t> a = asBf16(shortNumbers(40, 1)), b = asBf16(shortNumbers(40, 2));
  std::vector<float> c(5 * 9, NAN);
  runMatMul({DType::BF16, 1, 5, 7, 4, a.data(), 0, 4, 1, b.data(), 0, 1, 4, c.data(), 0, 9, 1.0f, 0.0f});
  for (size_t i = 0; i < c.size(); ++i)
    EXPECT_EQ(std::isnan(c[i]), i % 9 >= 7) << i;
  runMatMul({DType::BF16, 1, 0, 7, 4, nullptr, 0, 4, 1, b.data(), 0, 1, 4, nullptr, 0, 9, 1.0f, 0.0f});
  runMatMul({DType::BF16, 0, 5, 7, 4, nullptr, 0, 4, 1, nullptr, 0, 1, 4, nullptr, 0, 9, 1.0f, 0.0f});
}

/// Ranks are threads: each multiplies numbers of its own.
TEST(MatMulTest, Bf16FromThreads) {
  constexpr int64_t m = 24, n = 40, k = 16;
  auto product = [](float seed) {
    std::vector<uint16_t> a = asBf16(shortNumbers(m * k, seed)), b = asBf16(shortNumbers(k * n, seed + 1));
    std::vector<float> c(m * n);
    for (int round = 0; round < 20; ++round)
      runMatMul({DType::BF16, 1, m, n, k, a.data(), 0, k, 1, b.data(), 0, 1, k, c.data(), 0, n, 0.5f, 0.0f});
    return c;
  };
  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i)
    threads.emplace_back([&, i] { results[i] = product(static_cast<float>(i)); });
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 0; i < results.size(); ++i)
    EXPECT_EQ(results[i], product(static_cast<float>(i))) << i;
}

TEST(MatMulTest, OtherTypesAndErrors) {
  int64_t a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, c[4];
  runMatMul({DType::I64, 1, 2, 2, 2, a, 0, 2, 1, b, 0, 2, 1, c, 0, 2, 1.0f, 0.0f});
  EXPECT_EQ(std::vector<int64_t>(c, c + 4), (std::vector<int64_t>{19, 22, 43, 50}));
  double x[] = {0.5}, y[] = {4.0}, z[1];
  runMatMul({DType::F64, 1, 1, 1, 1, x, 0, 1, 1, y, 0, 1, 1, z, 0, 1, 1.0f, 0.0f});
  EXPECT_EQ(z[0], 2.0);
  expectError("negative size",
              [&] { runMatMul({DType::F32, 1, -1, 1, 1, x, 0, 1, 1, y, 0, 1, 1, z, 0, 1, 1.0f, 0.0f}); });
  expectError("products of bool",
              [&] { runMatMul({DType::Bool, 1, 1, 1, 1, x, 0, 1, 1, y, 0, 1, 1, z, 0, 1, 1.0f, 0.0f}); });
}

} // namespace
