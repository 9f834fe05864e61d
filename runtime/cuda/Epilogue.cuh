// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a product does to its elements last: adds a bias, applies an activation. By products of few rows to their own
// sums, by a kernel (EpilogueRows.cuh) to what cuBLASLt has computed where that does not do it itself.
#ifndef CAAT_RUNTIME_CUDA_EPILOGUE_CUH
#define CAAT_RUNTIME_CUDA_EPILOGUE_CUH

#include "Device.cuh"

/// 2^x; of what is below its range 0.
DEVICE float powerOf2(float x) {
#ifdef __CUDA__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return __builtin_exp2f(x);
#endif
}

/// 1 / x, its last bit aside; of what is too large for it 0.
DEVICE float inverse(float x) {
#ifdef __CUDA__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

/// x / (1 + exp(-factor x))
DEVICE float swish(float x, float factor) { return x * inverse(1.0f + powerOf2(-1.44269504f * factor * x)); }

/// Within 1e-7. Below 1 a polynomial of x^2, above it the logarithm of erfc is one of x; both interpolate at Chebyshev's
/// points. From 3.93 on it is 1.
DEVICE float errorFunction(float x) {
  float size = __builtin_fabsf(x), square = x * x;
  if (size < 1.0f) {
    float p = -5.64805987e-04f;
    p = __builtin_fmaf(p, square, 4.92176203e-03f);
    p = __builtin_fmaf(p, square, -2.67150542e-02f);
    p = __builtin_fmaf(p, square, 1.12803167e-01f);
    p = __builtin_fmaf(p, square, -3.76123438e-01f);
    p = __builtin_fmaf(p, square, 1.28379126e-01f);
    return __builtin_fmaf(p, x, x);
  }
  float t = size > 3.93f ? 3.93f : size, p = 2.40417582e-06f;
  p = __builtin_fmaf(p, t, -6.72483385e-05f);
  p = __builtin_fmaf(p, t, 8.67469120e-04f);
  p = __builtin_fmaf(p, t, -6.89560018e-03f);
  p = __builtin_fmaf(p, t, 3.81963319e-02f);
  p = __builtin_fmaf(p, t, -1.58944589e-01f);
  p = __builtin_fmaf(p, t, -9.11397177e-01f);
  p = __builtin_fmaf(p, t, -1.63065827e+00f);
  p = __builtin_fmaf(p, t, 4.79990302e-04f);
  float y = 1.0f - powerOf2(p);
  return x < 0.0f ? -y : y;
}

DEVICE float activated(float x, int activation, float alpha) {
  switch (activation) {
  case EpilogueOf::Relu:
    return x < 0.0f ? 0.0f : x;
  case EpilogueOf::Gelu:
    return 0.5f * x * (1.0f + errorFunction(0.707106781f * x));
  case EpilogueOf::GeluTanh: // 1 + tanh(u) = 2 / (1 + exp(-2 u))
    return swish(x, 1.59576912f * (1.0f + 0.044715f * x * x));
  case EpilogueOf::Swish:
    return swish(x, alpha);
  default:
    return x;
  }
}

/// The bias of a column, in f32 or the type of the elements.
template <typename Type> DEVICE float biasOf(const EpilogueOf &e, long long column) {
  if (!e.bias)
    return 0.0f;
  return e.isBiasWide ? static_cast<const float *>(e.bias)[column]
                      : Type::load(static_cast<const typename Type::Stored *>(e.bias)[column]);
}

/// Stores element `at` of a product: in f32, or in the type of the elements.
template <typename Type, typename Arguments> DEVICE void store(const Arguments &a, long long at, float value) {
  if (a.isWide)
    static_cast<float *>(a.y)[at] = value;
  else
    static_cast<typename Type::Stored *>(a.y)[at] = Type::store(value);
}

/// The same, of column `column` and a product that computed `sum`.
template <typename Type, typename Arguments>
DEVICE void storeResult(const Arguments &a, long long at, long long column, float sum) {
  if (a.accumulate)
    sum += a.isWide ? static_cast<float *>(a.y)[at] : Type::load(static_cast<typename Type::Stored *>(a.y)[at]);
  store<Type>(a, at, activated(sum + biasOf<Type>(a.epilogue, column), a.epilogue.activation, a.epilogue.alpha));
}

/// Column `column` of a gated product, whose halves there are `gate` and `factor`; they have a.n columns each.
template <typename Type, typename Arguments>
DEVICE float gated(const Arguments &a, long long column, float gate, float factor) {
  gate += biasOf<Type>(a.epilogue, gateColumn(a.gate, a.n) + column);
  factor += biasOf<Type>(a.epilogue, factorColumn(a.gate, a.n) + column);
  return activated(gate, a.epilogue.activation, a.epilogue.alpha) * factor;
}

/// Stores what a tile computed for row `row` and, without a gate, its column `output`: sumOf(i) is that of its row i of
/// w.
template <typename Type, typename F>
DEVICE void storeOutput(const FewRowsArguments &a, long long tile, long long row, int output, F sumOf) {
  long long column = tile * a.columns() + output, at = row * a.n + column;
  if (row >= a.m || output >= a.columns() || column >= a.n)
    return;
  if (a.gate)
    store<Type>(a, at, gated<Type>(a, column, sumOf(output), sumOf(output + 8)));
  else
    storeResult<Type>(a, at, column, sumOf(output));
}

#endif
