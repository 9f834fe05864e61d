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
    for (int64_t i = 0; i < format.scalesAt(spec.k()); ++i)
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
  return detail::concat(format.bits, " bits in blocks of ", format.size, ", ", nameOf(format.scales), " scales, ",
                        nameOf(format.offset));
}

struct Case {
  BlockFormat format;
  DType dtype, x, y; // that is multiplied, of the rows, of the result
  int64_t k, n;
  std::vector<int64_t> rows;
};

std::string textOf(const Case &c) {
  return detail::concat('[', c.n, ", ", c.k, "] of ", textOf(c.format), ": ", nameOf(c.x), " rows, as ",
                        nameOf(c.dtype), ", to ", nameOf(c.y));
}

std::vector<float> floatsOf(const Bytes &bytes, DType dtype) {
  Bytes copy = bytes;
  auto count = static_cast<int64_t>(bytes.size() / sizeOf(dtype));
  Tensor wide = converted(Tensor::view(dtype, {count}, copy.data()), DType::F32);
  return {wide.as<float>(), wide.as<float>() + count};
}

std::vector<float> rounded(std::vector<float> x, DType dtype) {
  Tensor wide = Tensor::view(DType::F32, {static_cast<int64_t>(x.size())}, reinterpret_cast<std::byte *>(x.data()));
  Tensor back = converted(converted(wide, dtype), DType::F32);
  return {back.as<float>(), back.as<float>() + x.size()};
}

/// Products with parameter `parameter`, whose rows in a file are `weight`, with and without a sum with what is there,
/// and a bias with an activation.
void compare(Device &d, const Case &c, size_t parameter, const Bytes &weight) {
  std::vector<float> values(static_cast<size_t>(c.n * c.k));
  c.format.dequantize(weight.data(), c.n, c.k, values.data());
  int64_t most = *std::max_element(c.rows.begin(), c.rows.end());
  Bytes rows = someData(c.x, most * c.k, 2), bias = someData(DType::F32, c.n, 4);
  std::vector<float> x = rounded(floatsOf(rows, c.x), c.dtype), biases = floatsOf(bias, DType::F32);
  Array input(d, rows), added(d, bias);
  for (int64_t m : c.rows)
    for (bool isWhole : {false, true}) {
      Bytes before = someData(c.y, m * c.n, 3);
      Array y(d, before);
      Epilogue epilogue{isWhole ? added.get() : nullptr, DType::F32, isWhole ? CAAT_RELU : CAAT_UNCHANGED, 1};
      d.linear({parameter, input.get(), c.x, m, y.get(), c.y, isWhole, epilogue});
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
        failRun(textOf(c), ", ", m, " rows, ", isWhole ? "with" : "without", " an epilogue: off by ", off / largest,
                " of the largest value, ", tolerance, " is allowed");
    }
}

void compare(const Program &program, const std::vector<Case> &cases) {
  std::vector<ParameterSpec> specs;
  std::vector<Bytes> weights;
  for (const Case &c : cases) {
    specs.push_back({"w", c.dtype, {c.n, c.k}, true, true, {}, c.format});
    weights.push_back(someRows(specs.back(), 1));
  }
  std::vector<HostParameter> given;
  for (size_t i = 0; i < cases.size(); ++i)
    given.push_back({&specs[i], weights[i].data(), weights[i].size(), {}});
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    d.load(given);
    for (size_t i = 0; i < cases.size(); ++i)
      compare(d, cases[i], i, weights[i]);
    return Bytes();
  });
}

/// Rows of a unit matrix read made-up weights back, few and many at a time.
void checkMadeUp(Device &d, const ParameterSpec &spec, size_t parameter) {
  auto k = static_cast<size_t>(spec.k()), n = static_cast<size_t>(spec.n());
  std::vector<float> unit(k * k);
  for (size_t i = 0; i < k; ++i)
    unit[i * k + i] = 1;
  Array x(d, unit), y(d, Bytes(k * n * sizeof(float)));
  auto read = [&](size_t rows) {
    for (size_t row = 0; row < k; row += rows)
      d.linear({parameter, static_cast<float *>(x.get()) + row * k, DType::F32, static_cast<int64_t>(rows),
                static_cast<float *>(y.get()) + row * n, DType::F32});
    return floatsOf(y.read(), DType::F32);
  };
  std::vector<float> few = read(4), many = read(k);
  float scale = MadeUp(spec).scale, least = 0, largest = 0;
  double sum = 0;
  for (size_t i = 0; i < few.size(); ++i) {
    if (!(std::abs(few[i] - many[i]) <= scale / 128))
      failRun(textOf(*spec.blocks), ": weight ", i, " is ", few[i], " or ", many[i]);
    least = std::min(least, few[i]);
    largest = std::max(largest, few[i]);
    sum += few[i];
  }
  if (!(least < -0.95f * scale && least >= -1.01f * scale && largest > 0.8f * scale && largest <= scale &&
        std::abs(sum) < 0.1 * scale * static_cast<double>(few.size())))
    failRun(textOf(*spec.blocks), ": weights from ", least, " to ", largest, ", mean ",
            sum / static_cast<double>(few.size()));
}

void checkMadeUp(const Program &program, const std::vector<BlockFormat> &formats) {
  std::vector<ParameterSpec> specs;
  size_t bytes = 0;
  for (const BlockFormat &format : formats)
    for (DType dtype : {DType::F32, DType::BF16}) {
      specs.push_back({"w", dtype, {33, 256}, true, true, {}, format});
      bytes += specs.back().storedBytes();
    }
  std::vector<HostParameter> given;
  for (const ParameterSpec &spec : specs)
    given.push_back({&spec, nullptr, spec.storedBytes(), {}, static_cast<uint32_t>(7 + given.size())});
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    d.load(given);
    if (d.productBytes() != bytes)
      failRun("products read ", d.productBytes(), " bytes, not ", bytes);
    for (size_t i = 0; i < specs.size(); ++i)
      checkMadeUp(d, specs[i], i);
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
  constexpr DType f32 = DType::F32, bf16 = DType::BF16, f16 = DType::F16;
  std::vector<BlockFormat> formats;
  for (int bits : {4, 8})
    for (DType scales : {f16, f32})
      for (BlockOffset offset : {BlockOffset::Middle, BlockOffset::Zeros, BlockOffset::Minimum}) {
        BlockFormat format{bits, 32, scales, offset};
        std::vector<Case> cases = {{format, bf16, bf16, bf16, 96, 40, {1, 9, 70}},
                                   {format, f16, f16, f16, 96, 40, {1, 9, 70}},
                                   {format, f16, f32, f32, 96, 17, {64, 65}},
                                   {format, f32, f32, f32, 96, 17, {16, 17}}};
        // Three blocks: the small ones end within what a warp loads at once.
        for (int64_t size : {16, 32, 64, 128, 256}) {
          cases.push_back({{bits, size, scales, offset}, f32, f32, f32, 3 * size, 40, {1, 2, 5}});
          cases.push_back({{bits, size, scales, offset}, bf16, f32, f32, 3 * size, 33, {1, 8, 9, 65}});
        }
        checks.report("weights of " + textOf(format) + ", and other sizes", [&] { compare(program, cases); });
        formats.push_back(format);
      }
  checks.report("made-up weights of few bits", [&] { checkMadeUp(program, formats); });
  std::vector<Case> large, some, floats;
  for (int64_t size : {16, 128})
    for (int bits : {4, 8})
      large.push_back({{bits, size, f16, BlockOffset::Minimum}, bf16, f32, f32, 4352, 17, {1, 17}});
  for (DType dtype : {f32, bf16}) {
    some.push_back({{4, 32, f16, BlockOffset::Minimum}, dtype, f32, f32, 96, 77, {65, 80}});
    floats.push_back({{8, 64, f32, BlockOffset::Zeros}, dtype, f32, f32, 192, 40, {1, 9}});
  }
  checks.report("weights of few bits, every warp several times", [&] { compare(program, large); });
  setenv("CAAT_CUDA_UNPACKED", "10000", 1);
  checks.report("weights of few bits, floats of some rows at a time", [&] { compare(program, some); });
  unsetenv("CAAT_CUDA_UNPACKED");
  setenv("CAAT_CUDA_FEW_ROWS", "0", 1);
  checks.report("weights of few bits, floats for all products", [&] { compare(program, floats); });
  unsetenv("CAAT_CUDA_FEW_ROWS");
  checks.report("a zero point that is no code", [&] { checkErrors(program); });
}

} // namespace caat::test
