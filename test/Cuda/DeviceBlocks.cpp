// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// caat-test-device: products with weights of few bits, against sums in double of the weights that Blocks.h says they
// are.
#include "DeviceChecks.h"

namespace caat::test {

namespace {

/// A weight of random codes, scales of both signs, zeros and minima, in the form of a file.
Bytes someRows(const ParameterSpec &spec, unsigned seed) {
  const BlockFormat &format = *spec.blocks;
  std::mt19937 random(seed);
  auto uniform = [&] { return static_cast<float>(random()) / 4294967296.0f; };
  Bytes rows;
  auto number = [&](float x) {
    auto half = static_cast<_Float16>(x);
    const auto *from = format.scales == DType::F32 ? reinterpret_cast<const std::byte *>(&x)
                                                   : reinterpret_cast<const std::byte *>(&half);
    rows.insert(rows.end(), from, from + sizeOf(format.scales));
  };
  for (int64_t row = 0; row < spec.n(); ++row) {
    for (int64_t i = 0; i < format.codeBytes(spec.k()); ++i)
      rows.push_back(static_cast<std::byte>(random() >> 24));
    int64_t blocks = spec.k() / format.size;
    for (int64_t i = 0; i < blocks; ++i)
      number((uniform() + 0.25f) * (random() % 8 == 0 ? -1.0f : 1.0f) / static_cast<float>(1 << format.bits));
    for (int64_t i = 0; i < blocks; ++i)
      if (format.offset == BlockOffset::Zeros)
        rows.push_back(static_cast<std::byte>(random() % (1u << format.bits)));
      else if (format.offset == BlockOffset::Minimum)
        number(uniform() - 0.75f);
  }
  return rows;
}

std::string textOf(const BlockFormat &format) {
  const char *offsets[] = {"middle", "zeros", "minimum"};
  return detail::concat(format.bits, " bits in blocks of ", format.size, ", ", nameOf(format.scales), " scales, ",
                        offsets[static_cast<int>(format.offset)]);
}

struct Case {
  DType dtype, x, y; // that is multiplied, of the rows, of the result
  int64_t k, n;
  std::vector<int64_t> rows;
};

float rounded(float x, DType dtype) {
  Tensor wide = Tensor::view(DType::F32, {1}, reinterpret_cast<std::byte *>(&x));
  return *converted(converted(wide, dtype), DType::F32).as<float>();
}

std::vector<float> floatsOf(const Bytes &bytes, DType dtype) {
  Bytes copy = bytes;
  auto count = static_cast<int64_t>(bytes.size() / sizeOf(dtype));
  Tensor wide = converted(Tensor::view(dtype, {count}, copy.data()), DType::F32);
  return {wide.as<float>(), wide.as<float>() + count};
}

/// With and without a sum with what is there, and a bias with an activation.
void compare(const Program &program, const BlockFormat &format, const Case &c) {
  ParameterSpec spec{"w", c.dtype, {c.n, c.k}, true, true, {}, format};
  Bytes weight = someRows(spec, 1);
  std::vector<float> values(static_cast<size_t>(c.n * c.k));
  format.dequantize(weight.data(), c.n, c.k, values.data());
  int64_t most = *std::max_element(c.rows.begin(), c.rows.end());
  Bytes rows = someData(c.x, most * c.k, 2), bias = someData(DType::F32, c.n, 4);
  std::vector<float> x = floatsOf(rows, c.x), biases = floatsOf(bias, DType::F32);
  for (float &value : x)
    value = rounded(value, c.dtype);
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    HostParameter given{&spec, weight.data(), weight.size(), {}};
    d.load({&given, 1});
    Array input(d, rows), added(d, bias);
    for (int64_t m : c.rows)
      for (bool isWhole : {false, true}) {
        Bytes before = someData(c.y, m * c.n, 3);
        Array y(d, before);
        Epilogue epilogue{isWhole ? added.get() : nullptr, DType::F32, isWhole ? CAAT_RELU : CAAT_UNCHANGED, 1};
        d.linear({0, input.get(), c.x, m, y.get(), c.y, isWhole, epilogue});
        d.synchronize();
        std::vector<float> got = floatsOf(y.read(), c.y), old = floatsOf(before, c.y);
        double largest = 1e-30, off = 0;
        for (int64_t row = 0; row < m; ++row)
          for (int64_t column = 0; column < c.n; ++column) {
            auto at = static_cast<size_t>(row * c.n + column);
            double want = 0;
            for (int64_t i = 0; i < c.k; ++i)
              want += static_cast<double>(x[static_cast<size_t>(row * c.k + i)]) *
                      values[static_cast<size_t>(column * c.k + i)];
            if (isWhole)
              want = std::max(want + old[at] + biases[static_cast<size_t>(column)], 0.0);
            largest = std::max(largest, std::abs(want));
            off = std::isfinite(got[at]) ? std::max(off, std::abs(want - got[at])) : INFINITY;
          }
        // Products of few rows take the weight as it is, others round it to the type that is multiplied.
        bool isExact = c.dtype == DType::F32 || (m <= 64 && !std::getenv("CAAT_CUDA_FEW_ROWS"));
        double tolerance = std::pow(2.0, c.y == DType::BF16 ? -8 : c.y == DType::F16 ? -11 : -40) + 3e-6;
        tolerance += isExact ? 0 : c.dtype == DType::BF16 ? 4e-3 : 5e-4;
        if (!(off <= tolerance * largest))
          failRun(m, " rows, ", isWhole ? "with" : "without", " an epilogue: off by ", off / largest,
                  " of the largest value, ", tolerance, " is allowed");
      }
    return Bytes();
  });
}

/// Rows of a unit matrix read made-up weights back, few and many at a time.
void checkMadeUp(const Program &program, const BlockFormat &format, DType dtype) {
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    constexpr int64_t k = 256, n = 33;
    ParameterSpec spec{"w", dtype, {n, k}, true, true, {}, format};
    HostParameter given{&spec, nullptr, spec.storedBytes(), {}, 7};
    d.load({&given, 1});
    if (d.productBytes() != spec.storedBytes())
      failRun("products read ", d.productBytes(), " bytes, not ", spec.storedBytes());
    std::vector<float> unit(k * k);
    for (size_t i = 0; i < k; ++i)
      unit[i * k + i] = 1;
    Array x(d, unit), y(d, Bytes(k * n * sizeof(float)));
    auto read = [&](int64_t rows) {
      for (int64_t row = 0; row < k; row += rows)
        d.linear({0, static_cast<float *>(x.get()) + row * k, DType::F32, rows, static_cast<float *>(y.get()) + row * n,
                  DType::F32});
      return floatsOf(y.read(), DType::F32);
    };
    std::vector<float> few = read(4), many = read(k);
    float scale = MadeUp(spec).scale, least = 0, largest = 0;
    double sum = 0;
    for (size_t i = 0; i < few.size(); ++i) {
      if (!(std::abs(few[i] - many[i]) <= scale / 128))
        failRun("weight ", i, " is ", few[i], " or ", many[i]);
      least = std::min(least, few[i]);
      largest = std::max(largest, few[i]);
      sum += few[i];
    }
    if (!(least < -0.95f * scale && least >= -1.01f * scale && largest > 0.8f * scale && largest <= scale &&
          std::abs(sum) < 0.1 * scale * static_cast<double>(few.size())))
      failRun("weights from ", least, " to ", largest, ", mean ", sum / static_cast<double>(few.size()));
    return Bytes();
  });
}

void checkErrors(const Program &program) {
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    ParameterSpec spec{"w", DType::F32, {16, 16}, true, true, {}, BlockFormat{4, 16, DType::F16, BlockOffset::Zeros}};
    Bytes weight = someRows(spec, 1);
    weight.back() = std::byte{16};
    HostParameter given{&spec, weight.data(), weight.size(), {}};
    try {
      d.load({&given, 1});
    } catch (const Error &e) {
      if (std::string_view(e.what()) == "'w': zero point 16 of codes of 4 bits")
        return Bytes();
      failRun("another message: ", e.what());
    }
    failRun("no error");
  });
}

} // namespace

void checkBlocks(Checks &checks) {
  const Program &program = checks.program;
  auto report = [&](const BlockFormat &format, const Case &c) {
    checks.report(detail::concat("weight [", c.n, ", ", c.k, "] of ", textOf(format), ": ", nameOf(c.x), " rows, as ",
                                 nameOf(c.dtype), ", to ", nameOf(c.y)),
                  [&] { compare(program, format, c); });
  };
  for (int bits : {4, 8})
    for (DType scales : {DType::F16, DType::F32})
      for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum}) {
        for (int64_t size : {16, 32, 64, 128, 256}) {
          BlockFormat format{bits, size, scales, offset};
          // Three blocks: of the small ones, they end within what a warp loads at once.
          report(format, {DType::F32, DType::F32, DType::F32, 3 * size, 40, {1, 2, 5}});
          report(format, {DType::BF16, DType::F32, DType::F32, 3 * size, 33, {1, 8, 9, 65}});
        }
        BlockFormat format{bits, 32, scales, offset};
        report(format, {DType::BF16, DType::BF16, DType::BF16, 96, 40, {1, 9, 70}});
        report(format, {DType::F16, DType::F16, DType::F16, 96, 40, {1, 9, 70}});
        report(format, {DType::F16, DType::F32, DType::F32, 96, 17, {64, 65}});
        report(format, {DType::F32, DType::F32, DType::F32, 96, 17, {16, 17}});
        checks.report("made-up weights of " + textOf(format), [&] {
          for (DType dtype : {DType::F32, DType::BF16})
            checkMadeUp(program, format, dtype);
        });
      }
  // Every warp multiplies several times.
  for (int64_t size : {16, 128})
    for (int bits : {4, 8})
      report({bits, size, DType::F16, BlockOffset::Minimum}, {DType::BF16, DType::F32, DType::F32, 4352, 17, {1, 17}});
  // Floats of some rows at a time.
  setenv("CAAT_CUDA_UNPACKED", "10000", 1);
  for (DType dtype : {DType::F32, DType::BF16})
    report({4, 32, DType::F16, BlockOffset::Minimum}, {dtype, DType::F32, DType::F32, 96, 77, {65, 80}});
  unsetenv("CAAT_CUDA_UNPACKED");
  // None by the kernel that reads codes.
  setenv("CAAT_CUDA_FEW_ROWS", "0", 1);
  for (DType dtype : {DType::F32, DType::BF16})
    report({8, 64, DType::F32, BlockOffset::Zeros}, {dtype, DType::F32, DType::F32, 192, 40, {1, 9}});
  unsetenv("CAAT_CUDA_FEW_ROWS");
  checks.report("a zero point that is no code", [&] { checkErrors(program); });
}

} // namespace caat::test
