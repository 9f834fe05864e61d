// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gated products of many rows (runtime/cuda/GatedRows.cu) against the CPU's.
#include "DeviceChecks.h"

namespace caat::test {

namespace {

/// Rows, columns of a half, and k that fill no tile, one, or several; of several clusters some have more than one.
struct Shape3 {
  int64_t m, n, k;
};

/// `halves` of one weight in either order, with and without a bias of either type.
Bytes multiply(Device &d, DType dtype, Shape3 shape, caat_activation activation) {
  auto [m, n, k] = shape;
  ParameterSpec spec{"w", dtype, {2 * n, k}, true, true, {}};
  Bytes weight = someData(dtype, 2 * n * k, 1), results;
  HostParameter given{&spec, weight.data(), weight.size(), {}};
  d.load({&given, 1});
  Array x(d, someData(dtype, m * k, 2)), wide(d, someData(DType::F32, 2 * n, 4)), own(d, someData(dtype, 2 * n, 5));
  Array y(d, someData(dtype, m * n, 3));
  auto add = [&](caat_gate gate, const void *bias, DType type) {
    Epilogue epilogue{bias, type, activation, activation == CAAT_SWISH ? 1.702f : 1.0f};
    d.linear({0, x.get(), dtype, m, y.get(), dtype, false, epilogue, gate});
    d.synchronize();
    Bytes narrow = y.read();
    Tensor values = converted(Tensor::view(dtype, {m, n}, narrow.data()), DType::F32);
    results = results + Bytes(values.data.get(), values.data.get() + values.bytes());
  };
  add(CAAT_GATE_FIRST, nullptr, DType::F32);
  add(CAAT_GATE_SECOND, wide.get(), DType::F32);
  add(CAAT_GATE_FIRST, own.get(), dtype);
  return results;
}

} // namespace

void checkGatedRows(Checks &checks) {
  for (auto [dtype, tolerance] : {std::pair{DType::BF16, 8e-3}, {DType::F16, 2e-3}})
    for (int activation = CAAT_UNCHANGED; activation <= CAAT_SWISH; ++activation)
      for (Shape3 shape : {Shape3{9, 8, 64}, {300, 120, 136}, {600, 232, 328}}) {
        if (shape.m == 600 && activation != CAAT_SWISH) // the others differ in nothing that goes by tiles
          continue;
        checks.compare(
            detail::concat("gated product of ", shape.m, " rows, ", shape.n, " columns, k = ", shape.k, ", of ",
                           nameOf(dtype), ", activation ", activation),
            1,
            [=](Device &d, Communicator &) {
              return multiply(d, dtype, shape, static_cast<caat_activation>(activation));
            },
            tolerance);
      }
}

} // namespace caat::test
