// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "cpu/Linear.h"
#include "Expect.h"
#include "caat/runtime/Bf16.h"
#include "cpu/Epilogues.h"
#include <thread>

using namespace caat::runtime;
using namespace caat::test;

namespace {

float rounded(float x) { return bf16ToFloat(floatToBf16(x)); }

struct LinearCase {
  int64_t k, n;
  bool transposed;
  DType dtype;
};

std::string nameOf(const LinearCase &c) {
  return std::to_string(c.k) + "x" + std::to_string(c.n) + (c.transposed ? "transposed" : "") +
         std::string(nameOf(c.dtype));
}

double applied(const Epilogue &epilogue, double x) {
  switch (epilogue.activation) {
  case CAAT_UNCHANGED:
    return x;
  case CAAT_RELU:
    return std::max(x, 0.0);
  case CAAT_GELU:
    return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  case CAAT_GELU_TANH:
    return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case CAAT_SWISH:
    return x / (1 + std::exp(-static_cast<double>(epilogue.alpha) * x));
  }
  return NAN;
}

class LinearTest : public testing::TestWithParam<LinearCase> {
protected:
  LinearCase c = GetParam();
  std::vector<float> w = numbers(c.k * c.n, 3); // [k, n]
  std::vector<std::byte> stored;

  void SetUp() override {
    stored.resize(w.size() * sizeOf(c.dtype));
    for (int64_t k = 0; k < c.k; ++k)
      for (int64_t n = 0; n < c.n; ++n) {
        size_t at = static_cast<size_t>(c.transposed ? n * c.k + k : k * c.n + n);
        float &value = w[static_cast<size_t>(k * c.n + n)];
        if (c.dtype == DType::BF16) {
          reinterpret_cast<uint16_t *>(stored.data())[at] = floatToBf16(value);
          value = rounded(value);
        } else if (c.dtype == DType::F16) {
          auto half = static_cast<_Float16>(value);
          reinterpret_cast<_Float16 *>(stored.data())[at] = half;
          value = static_cast<float>(half);
        } else {
          reinterpret_cast<float *>(stored.data())[at] = value;
        }
      }
  }
  ParameterSpec spec() const {
    Shape shape = c.transposed ? Shape{c.n, c.k} : Shape{c.k, c.n};
    return {"w", c.dtype, shape, true, c.transposed};
  }
  void expectProduct(Linears &linears, size_t weight, int64_t m, const Epilogue &epilogue = {}) {
    std::vector<float> x = numbers(m * c.k, 1), y = numbers(m * c.n, 2), before = y;
    for (bool accumulate : {false, true}) {
      y = before;
      linears.run(weight, x.data(), m, y.data(), accumulate, epilogue);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t n = 0; n < c.n; ++n) {
          double want = accumulate ? before[static_cast<size_t>(i * c.n + n)] : 0.0, scale = 1;
          for (int64_t k = 0; k < c.k; ++k) {
            float value = x[static_cast<size_t>(i * c.k + k)];
            double term = static_cast<double>(c.dtype == DType::BF16 ? rounded(value) : value) *
                          w[static_cast<size_t>(k * c.n + n)];
            want += term;
            scale += std::abs(term);
          }
          want += epilogue.bias ? static_cast<const float *>(epilogue.bias)[n] : 0;
          ASSERT_NEAR(y[static_cast<size_t>(i * c.n + n)], applied(epilogue, want), 1e-6 * scale)
              << m << ' ' << i << ' ' << n << ' ' << epilogue.activation;
        }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         testing::Values(LinearCase{1, 1, false, DType::F32}, LinearCase{12, 7, false, DType::F32},
                                         LinearCase{12, 7, true, DType::F32}, LinearCase{192, 576, false, DType::F32},
                                         LinearCase{576, 640, false, DType::F32},
                                         LinearCase{576, 640, true, DType::F32}, LinearCase{13, 257, true, DType::F32},
                                         LinearCase{12, 7, false, DType::BF16}, LinearCase{13, 9, true, DType::BF16},
                                         LinearCase{576, 192, false, DType::BF16},
                                         LinearCase{192, 576, true, DType::BF16}, LinearCase{12, 7, false, DType::F16},
                                         LinearCase{13, 257, true, DType::F16}),
                         [](const auto &info) { return nameOf(info.param); });

TEST_P(LinearTest, EqualsPlainLoops) {
  Linears linears;
  size_t weight = linears.add(spec(), stored.data());
  int packed = 0;
  linears.pack([&](size_t i) {
    EXPECT_EQ(i, weight);
    ++packed;
  });
  if (packed) // nothing may look at the stored bytes any more
    std::fill(stored.begin(), stored.end(), std::byte(0xff));
  for (int64_t m : {1, 2, 3, 5, 8, 33})
    expectProduct(linears, weight, m);
  EXPECT_EQ(linears.implementation(weight, 1).find("ref"), std::string::npos);
  EXPECT_EQ(linears.implementation(weight, 512).find("ref"), std::string::npos);
  linears.run(weight, nullptr, 0, nullptr, false);
}

TEST_P(LinearTest, AddsABiasAndAppliesAnActivation) {
  Linears linears;
  size_t weight = linears.add(spec(), stored.data());
  linears.pack([](size_t) {});
  std::vector<float> bias = numbers(c.n, 4);
  for (int activation = CAAT_UNCHANGED; activation <= CAAT_SWISH; ++activation)
    for (const float *added : std::initializer_list<const float *>{nullptr, bias.data()})
      for (int64_t m : {1, 3, 33}) {
        Epilogue epilogue{added, DType::F32, static_cast<caat_activation>(activation),
                          activation == CAAT_SWISH ? 1.702f : 1.0f};
        expectProduct(linears, weight, m, epilogue);
        EXPECT_EQ(linears.implementation(weight, m, epilogue).find("ref"), std::string::npos);
      }
}

TEST_P(LinearTest, RanksDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank)
    threads.emplace_back([&] {
      Linears linears;
      size_t first = linears.add(spec(), stored.data()), second = linears.add(spec(), stored.data());
      linears.pack([](size_t) {});
      for (int i = 0; i < 3; ++i) {
        expectProduct(linears, first, 5);
        expectProduct(linears, second, 4);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Linear, PlainAndTransposedWeightsOfOneShape) {
  std::vector<float> a = numbers(6 * 6, 1), x = numbers(6, 2), y(6), yt(6);
  auto bytes = reinterpret_cast<const std::byte *>(a.data());
  Linears linears;
  size_t plain = linears.add({"a", DType::F32, {6, 6}, true, false}, bytes);
  size_t transposed = linears.add({"b", DType::F32, {6, 6}, true, true}, bytes);
  linears.pack([](size_t) {});
  linears.run(plain, x.data(), 1, y.data(), false);
  linears.run(transposed, x.data(), 1, yt.data(), false);
  for (size_t n = 0; n < 6; ++n) {
    double want = 0, wantTransposed = 0;
    for (size_t k = 0; k < 6; ++k) {
      want += x[k] * a[k * 6 + n];
      wantTransposed += x[k] * a[n * 6 + k];
    }
    EXPECT_NEAR(y[n], want, 1e-5);
    EXPECT_NEAR(yt[n], wantTransposed, 1e-5);
  }
}

TEST(Gate, IsOfEitherHalf) {
  constexpr int64_t m = 3, n = 37;
  for (int activation = CAAT_UNCHANGED; activation <= CAAT_SWISH; ++activation)
    for (caat_gate gate : {CAAT_GATE_FIRST, CAAT_GATE_SECOND}) {
      std::vector<float> halves = numbers(2 * m * n, 1), before = halves, y(m * n);
      Epilogue epilogue{nullptr, DType::F32, static_cast<caat_activation>(activation),
                        activation == CAAT_SWISH ? 1.702f : 1.0f};
      applyGate(epilogue, gate, halves.data(), y.data(), m, n);
      for (int64_t row = 0; row < m; ++row)
        for (int64_t column = 0; column < n; ++column) {
          auto at = [&](int64_t half) {
            return static_cast<double>(before[static_cast<size_t>((2 * row + half) * n + column)]);
          };
          int64_t first = gate == CAAT_GATE_FIRST ? 0 : 1;
          EXPECT_NEAR(y[static_cast<size_t>(row * n + column)], applied(epilogue, at(first)) * at(1 - first), 1e-6)
              << activation << ' ' << row << ' ' << column;
        }
    }
}

struct BlockCase {
  int64_t k, n;
  BlockFormat format;
  DType dtype;
};

std::string nameOf(const BlockCase &c) {
  return std::to_string(c.k) + "x" + std::to_string(c.n) + "as" + std::to_string(c.format.bits) + "bits" +
         std::to_string(c.format.size) + std::string(nameOf(c.format.offset)) + std::string(nameOf(c.format.scales)) +
         std::string(nameOf(c.dtype));
}

std::vector<BlockCase> blockCases() {
  std::vector<BlockCase> cases;
  for (int bits : {4, 8})
    for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum})
      for (DType scales : {DType::F16, DType::F32})
        for (DType dtype : {DType::F32, DType::BF16})
          cases.push_back({96, 70, {bits, 32, scales, offset}, dtype});
  for (int64_t size : {16, 64, 128, 256})
    cases.push_back({512, 128, {4, size, DType::F16, BlockOffset::Minimum}, DType::F32});
  cases.push_back({48, 70, {4, 16, DType::F32, BlockOffset::Middle}, DType::BF16});    // an odd number of 16 rows
  cases.push_back({48, 100000, {4, 16, DType::F16, BlockOffset::Middle}, DType::F32}); // dequantized in two parts
  return cases;
}

/// Columns are filled up to 64, where the processor has products for panels at all.
size_t panelBytesLimit(int64_t k, int64_t n, const BlockFormat &format) {
  return static_cast<size_t>((n + 63) / 64 * 64 * format.rowBytes(k) + 1);
}

class BlockLinearTest : public testing::TestWithParam<BlockCase> {};

INSTANTIATE_TEST_SUITE_P(Formats, BlockLinearTest, testing::ValuesIn(blockCases()),
                         [](const auto &info) { return nameOf(info.param); });

TEST_P(BlockLinearTest, EqualsTheDequantizedWeight) {
  const auto &[k, n, format, dtype] = GetParam();
  std::vector<std::byte> rows(static_cast<size_t>(n * format.rowBytes(k)));
  format.makeUp(n, k, 0.7f, 7, rows.data());
  std::vector<float> w(static_cast<size_t>(n * k)), bias = numbers(n, 4);
  format.dequantize(rows.data(), n, k, w.data());
  for (int threads : {1, 2}) {
    Linears linears(threads);
    std::vector<std::byte> given = rows;
    size_t weight = linears.add({"w", dtype, {n, k}, true, true, {}, format}, given.data());
    size_t other = linears.add({"w", DType::F32, {n / 2, 2 * k}, true, true, {}, format}, given.data());
    linears.pack([](size_t) {});
    std::fill(given.begin(), given.end(), std::byte(0xff));
    std::vector<float> unused = numbers(9 * std::max(2 * k, n), 1);
    linears.run(other, unused.data(), 9, unused.data(), false); // its floats are where those of the weight will be
    EXPECT_LT(linears.bytes(weight), panelBytesLimit(k, n, format));
    for (int64_t m : n > 1000 ? std::vector<int64_t>{1, 9} : std::vector<int64_t>{1, 2, 3, 4, 7, 9, 33})
      for (bool accumulate : {false, true}) {
        std::vector<float> x = numbers(m * k, 1), y = numbers(m * n, 2), before = y;
        Epilogue epilogue{bias.data(), DType::F32, m == 2 ? CAAT_GELU : CAAT_UNCHANGED};
        linears.run(weight, x.data(), m, y.data(), accumulate, epilogue);
        double rounding = dtype == DType::BF16 ? 8e-3 : 2e-6; // of a term
        for (int64_t i = 0; i < m; ++i)
          for (int64_t c = 0; c < n; ++c) {
            double want = bias[static_cast<size_t>(c)], size = 0;
            want += accumulate ? before[static_cast<size_t>(i * n + c)] : 0.0;
            for (int64_t j = 0; j < k; ++j) {
              double term = static_cast<double>(x[static_cast<size_t>(i * k + j)]) * w[static_cast<size_t>(c * k + j)];
              want += term;
              size += term * term;
            }
            ASSERT_NEAR(y[static_cast<size_t>(i * n + c)], applied(epilogue, want),
                        rounding * (1 + 4 * std::sqrt(size)))
                << m << ' ' << i << ' ' << c << ' ' << accumulate;
          }
      }
  }
}

} // namespace
