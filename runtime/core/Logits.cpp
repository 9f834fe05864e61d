// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Logits.h"
#include "Multiversion.h"
#include "caat/runtime/Error.h"
#include <bit>
#include <cmath>
#include <limits>

namespace caat::runtime {

inline double expInline(double x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor series to r^12 / 12!: relative error below 1e-15.
  constexpr double log2e = 1.4426950408889634, ln2High = 0.693147180369123816490, ln2Low = 1.90821492927058770002e-10;
  constexpr double shift = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer in the low bits
  double clamped = x < -700.0 ? -700.0 : x;
  double t = clamped * log2e + shift;
  double n = t - shift;
  double r = (clamped - n * ln2High) - n * ln2Low;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  uint64_t exponent = std::bit_cast<uint64_t>(t) << 52;
  double result = std::bit_cast<double>(std::bit_cast<uint64_t>(p) + exponent);
  return x < -700.0 ? 0.0 : result;
}

double expOfNegative(double x) { return expInline(x); }

void LogSumExp::add(const LogSumExp &other) {
  if (other.sum == 0)
    return;
  double larger = std::max(max, other.max);
  sum = (sum == 0 ? 0 : sum * std::exp(max - larger)) + other.sum * std::exp(other.max - larger);
  max = larger;
}

double LogSumExp::value() const { return max + std::log(sum); }

CAAT_WIDEST static double sumOfExp(const float *x, int64_t count, double max) {
  constexpr int lanes = 16; // sums of their own, so that the order does not depend on the processor
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane)
      sums[lane] += expInline(static_cast<double>(x[i + lane]) - max);
  for (; i < count; ++i)
    sums[i % lanes] += expInline(static_cast<double>(x[i]) - max);
  double sum = 0;
  for (double part : sums)
    sum += part;
  return sum;
}

LogSumExp logSumExp(const float *x, int64_t count) {
  if (count == 0)
    return {-std::numeric_limits<double>::infinity(), 0};
  constexpr int lanes = 16;
  float maxima[lanes];
  std::fill(std::begin(maxima), std::end(maxima), x[0]);
  for (int64_t i = 0; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane)
      maxima[lane] = x[i + lane] > maxima[lane] ? x[i + lane] : maxima[lane];
  for (int64_t i = count / lanes * lanes; i < count; ++i)
    maxima[0] = std::max(maxima[0], x[i]);
  double max = maxima[0];
  for (float m : maxima)
    max = std::max<double>(max, m);
  return {max, sumOfExp(x, count, max)}; // NaN anywhere makes the sum NaN
}

} // namespace caat::runtime
