// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Epilogues.h"
#include "../core/Multiversion.h"
#include "Vectors.h"
#include <bit>
#include <cmath>

namespace caat::runtime {

namespace {

/// e^x to 2 ulp, in a form that loops over it are vectorized with: 2^i * e^r with |r| <= ln(2) / 2, and a Taylor series
/// for e^r. NaN stays NaN, e^88 stands for what is larger.
CAAT_INLINED float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  constexpr float log2e = 1.44269504f, ln2High = 0.693359375f, ln2Low = -2.12194440e-4f;
  float i = std::floor(x * log2e + 0.5f), r = x - i * ln2High - i * ln2Low;
  float sum = 1.0f / 5040;
  for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f, 1.0f})
    sum = sum * r + factor;
  constexpr int mantissa = 23, bias = 127;
  auto power = static_cast<int32_t>(i) + bias;
  return sum * std::bit_cast<float>(power << mantissa) + (x - x);
}

/// To 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
CAAT_INLINED float errorFunction(float x) {
  float a = std::abs(x), t = 1.0f / (1.0f + 0.3275911f * a), sum = 1.061405429f;
  for (float factor : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    sum = sum * t + factor;
  return std::copysign(1.0f - sum * t * exponential(-a * a), x);
}

CAAT_INLINED float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

CAAT_WIDEST void addBias(float *y, const float *bias, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    y[i] += bias[i];
}

CAAT_WIDEST void relu(float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = y[i] < 0.0f ? 0.0f : y[i];
}

CAAT_WIDEST void gelu(float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = 0.5f * y[i] * (1.0f + errorFunction(y[i] * 0.70710678f));
}

/// (1 + tanh(u)) / 2 is sigmoid(2 u).
CAAT_WIDEST void geluTanh(float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] *= sigmoid(1.59576912f * (y[i] + 0.044715f * y[i] * y[i] * y[i]));
}

CAAT_WIDEST void swish(float *y, int64_t count, float alpha) {
  for (int64_t i = 0; i < count; ++i)
    y[i] *= sigmoid(alpha * y[i]);
}

} // namespace

void applyEpilogue(const Epilogue &epilogue, float *y, int64_t m, int64_t n) {
  for (int64_t row = 0; epilogue.bias && row < m; ++row)
    addBias(y + row * n, static_cast<const float *>(epilogue.bias), n);
  switch (epilogue.activation) {
  case CAAT_UNCHANGED:
    return;
  case CAAT_RELU:
    return relu(y, m * n);
  case CAAT_GELU:
    return gelu(y, m * n);
  case CAAT_GELU_TANH:
    return geluTanh(y, m * n);
  case CAAT_SWISH:
    return swish(y, m * n, epilogue.alpha);
  }
}

CAAT_WIDEST static void multiply(const float *a, const float *b, float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = a[i] * b[i];
}

void applyGate(const Epilogue &epilogue, caat_gate gate, float *halves, float *y, int64_t m, int64_t n) {
  Epilogue activation{nullptr, DType::F32, epilogue.activation, epilogue.alpha};
  for (int64_t row = 0; row < m; ++row, halves += 2 * n, y += n) {
    float *factor = halves + (gate == CAAT_GATE_FIRST ? 0 : n);
    applyEpilogue(activation, factor, 1, n);
    multiply(factor, halves + (gate == CAAT_GATE_FIRST ? n : 0), y, n);
  }
}

} // namespace caat::runtime
