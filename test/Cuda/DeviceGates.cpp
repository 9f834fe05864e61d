// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// caat-test-device: gated products, against the CPU's.
#include "DeviceChecks.h"

namespace caat::test {

namespace {

struct Case {
  DType weight, x, y;
  double tolerance; // of halves and result, each rounded to the result's type
  std::optional<BlockFormat> blocks = {};
};

/// The columns of a half are as many as 16 bytes hold whole, or not, and more than one tile of them.
struct Sizes {
  int64_t k, half;
};

/// Of few rows and of many, with every activation, either half as the gate, and with biases of both types.
Bytes gatedProducts(Device &d, const Case &c, const Sizes &sizes, caat_activation activation) {
  auto [k, half] = sizes;
  int64_t n = 2 * half;
  constexpr int64_t most = 40;
  ParameterSpec spec{"w", c.weight, {n, k}, true, true, {}, c.blocks};
  Bytes weight = someData(c.weight, n * k, 1), results;
  if (c.blocks) {
    weight.resize(static_cast<size_t>(n * c.blocks->rowBytes(k)));
    c.blocks->makeUp(n, k, 1.0f, 1, weight.data());
  }
  HostParameter given{&spec, weight.data(), weight.size(), {}};
  d.load({&given, 1});
  Bytes rows = someData(c.x, most * k, 2);
  size_t size = sizeOf(c.x), rowBytes = static_cast<size_t>(k) * size;
  for (size_t row = 0; row < most; ++row) // so that sums are where activations bend
    std::fill_n(rows.begin() + static_cast<std::ptrdiff_t>(row * rowBytes + 2 * size), rowBytes - 2 * size,
                std::byte());
  Array x(d, rows), wide(d, someData(DType::F32, n, 4)), own(d, someData(c.y, n, 5));
  for (int64_t m : {1, 3, 8, 9, 40})
    for (caat_gate gate : {CAAT_GATE_FIRST, CAAT_GATE_SECOND})
      for (auto [bias, type] :
           {std::pair<void *, DType>{nullptr, DType::F32}, {wide.get(), DType::F32}, {own.get(), c.y}}) {
        Array y(d, someData(c.y, m * half, 3));
        Epilogue epilogue{bias, type, activation, activation == CAAT_SWISH ? 1.702f : 1.0f};
        d.linear({0, x.get(), c.x, m, y.get(), c.y, false, epilogue, gate});
        d.synchronize();
        Bytes narrow = y.read();
        Tensor values = converted(Tensor::view(c.y, {m, half}, narrow.data()), DType::F32);
        results = results + Bytes(values.data.get(), values.data.get() + values.bytes());
      }
  return results;
}

} // namespace

void checkGates(Checks &checks) {
  BlockFormat blocks{4, 32, DType::F16, BlockOffset::Minimum};
  for (const Case &c : {Case{DType::F32, DType::F32, DType::F32, 5e-6},
                        {DType::BF16, DType::F32, DType::F32, 5e-6},
                        {DType::BF16, DType::BF16, DType::BF16, 1.2e-2},
                        {DType::F16, DType::F16, DType::F16, 2e-3},
                        {DType::F32, DType::F32, DType::F32, 5e-6, blocks},
                        {DType::BF16, DType::BF16, DType::BF16, 1.6e-2, blocks}})
    for (int activation = CAAT_UNCHANGED; activation <= CAAT_SWISH; ++activation)
      for (const Sizes &sizes : {Sizes{96, 40}, Sizes{1024, 33}})
        checks.compare(
            detail::concat("product of ", nameOf(c.x), " rows with a gate of ", sizes.half, " columns by ", activation,
                           ", ", c.blocks ? "4 bits as " : "", nameOf(c.weight), " to ", nameOf(c.y)),
            1,
            [=](Device &d, Communicator &) {
              return gatedProducts(d, c, sizes, static_cast<caat_activation>(activation));
            },
            c.tolerance);
}

} // namespace caat::test
