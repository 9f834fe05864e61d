// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sixteen blocks are rounded side by side, one in each lane of a vector, so that all of it is elementwise.
#include "BlockRounding.h"
#include "runtime/core/Multiversion.h"
#include <algorithm>
#include <bit>
#include <cmath>

#pragma clang fp contract(off)

namespace caat {
namespace {

constexpr int kLanes = 16;
constexpr int64_t kMostElements = 32;
constexpr float kMostHalf = 65504.0f;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Words = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));

struct Blocks {
  Lanes x[kMostElements];
  int64_t size; // elements of a block
  Lanes lowest, highest, sum;
  // The best so far.
  Lanes scale, minimum, error;
  Lanes mayLieOnGrid; // not zero where scales of f16 are worth trying that use some of the codes only
};

CAAT_INLINED void splat(Lanes &to, float value) {
  for (int lane = 0; lane < kLanes; ++lane)
    to[lane] = value;
}

CAAT_INLINED void keepBetween(Lanes &x, float least, float most) {
  Lanes low, high;
  splat(low, least), splat(high, most);
  x = x > low ? x : low;
  x = x < high ? x : high;
}

/// To integers, of numbers below 2^22.
CAAT_INLINED void roundToIntegers(Lanes &x) {
  constexpr float magic = 0x1.8p23f;
  x = (x + magic) - magic;
}

/// To the nearest number that f16 has, of numbers up to its largest.
CAAT_INLINED void roundToHalf(Lanes &x) {
  auto bits = __builtin_bit_cast(Words, x);
  auto rounded = __builtin_bit_cast(Lanes, (bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
  Lanes magnitude = __builtin_bit_cast(Lanes, bits & 0x7fffffffu), subnormal = (x + 0.75f) - 0.75f, limit;
  splat(limit, 0x1p-14f);
  x = magnitude < limit ? subnormal : rounded;
}

CAAT_INLINED void invert(const Lanes &x, Lanes &result) {
  Lanes zero = {};
  result = x > zero ? 1.0f / x : zero;
}

/// Keeps scale and minimum where they leave a smaller error.
CAAT_INLINED void offer(Blocks &b, const Lanes &scale, const Lanes &minimum) {
  Lanes inverse, error = {};
  invert(scale, inverse);
  for (int64_t i = 0; i < b.size; ++i) {
    Lanes code = (b.x[i] - minimum) * inverse;
    keepBetween(code, 0, 15);
    roundToIntegers(code);
    Lanes rest = b.x[i] - (scale * code + minimum);
    error += rest * rest;
  }
  Lanes most, magnitude = minimum < -minimum ? -minimum : minimum;
  splat(most, kMostHalf);
  auto better = (error < b.error) & (magnitude <= most) & (scale <= most);
  b.scale = better ? scale : b.scale;
  b.minimum = better ? minimum : b.minimum;
  b.error = better ? error : b.error;
}

/// Offers what fits the codes best that (x - minimum) * inverse has, by least squares.
CAAT_INLINED void refine(Blocks &b, const Lanes &minimum, const Lanes &inverse) {
  Lanes codes = {}, squares = {}, products = {}, zero = {};
  for (int64_t i = 0; i < b.size; ++i) {
    Lanes code = (b.x[i] - minimum) * inverse;
    keepBetween(code, 0, 15);
    roundToIntegers(code);
    codes += code;
    squares += code * code;
    products += code * (b.x[i] - b.lowest);
  }
  float n = static_cast<float>(b.size);
  Lanes total = b.sum - n * b.lowest, determinant = n * squares - codes * codes, inverted;
  invert(determinant, inverted);
  Lanes scale = (n * products - codes * total) * inverted;
  scale = scale > zero ? scale : zero;
  roundToHalf(scale);
  Lanes base = b.lowest + (total - scale * codes) / n;
  roundToHalf(base);
  offer(b, scale, base);
}

constexpr float kNear = 1e-3f; // of a step

/// Whether range is `steps` times a number of f16, of which the first elements are multiples above the lowest.
CAAT_INLINED void findGrid(Blocks &b, float steps) {
  Lanes range = b.highest - b.lowest, scale = range / steps, inverse, one;
  splat(one, 1);
  roundToHalf(scale);
  Lanes rest = scale * steps - range;
  auto near = ((rest < 0 ? -rest : rest) < kNear * scale);
  invert(scale, inverse);
  for (int64_t i = 0; i < 4; ++i) {
    Lanes step = (b.x[i] - b.lowest) * inverse, whole = step;
    roundToIntegers(whole);
    Lanes off = step - whole;
    near &= (off < 0 ? -off : off) < kNear;
  }
  b.mayLieOnGrid = near ? one : b.mayLieOnGrid;
}

CAAT_WIDEST void roundLanes(Blocks *blocks) {
  Blocks &b = *blocks;
  b.lowest = b.highest = b.sum = b.x[0];
  for (int64_t i = 1; i < b.size; ++i) {
    b.lowest = b.x[i] < b.lowest ? b.x[i] : b.lowest;
    b.highest = b.x[i] > b.highest ? b.x[i] : b.highest;
    b.sum += b.x[i];
  }
  splat(b.error, INFINITY);
  b.scale = b.minimum = Lanes{};
  Lanes range = b.highest - b.lowest, scale = range / 15.0f, minimum = b.lowest, inverse;
  roundToHalf(scale), roundToHalf(minimum);
  offer(b, scale, minimum);
  b.mayLieOnGrid = Lanes{};
  for (int steps = 14; steps > 0; --steps)
    findGrid(b, static_cast<float>(steps));
  invert(range, inverse);
  for (float steps : {14.4f, 15.0f, 15.6f, 16.2f, 16.8f, 17.6f}) // from the lowest; more than 15 cut the highest off
    refine(b, b.lowest, steps * inverse);
  for (float cut : {0.4f, 0.9f, 1.4f}) { // both ends
    Lanes least = b.lowest + range * (cut / 2 / 15);
    refine(b, least, (15 + cut) * inverse);
  }
  for (int times = 0; times < 2; ++times) { // the best of them again
    Lanes again;
    invert(b.scale, again);
    refine(b, b.minimum, again);
  }
}

CAAT_WIDEST void chooseCodes(Blocks *blocks) {
  Blocks &b = *blocks;
  Lanes inverse;
  invert(b.scale, inverse);
  for (int64_t i = 0; i < b.size; ++i) {
    b.x[i] = (b.x[i] - b.minimum) * inverse;
    keepBetween(b.x[i], 0, 15);
    roundToIntegers(b.x[i]);
  }
}

/// One block out of sixteen.
class Block {
public:
  Block(Blocks &blocks, int lane) : b(blocks), lane(lane) {}

  bool mayLieOnGrid() const { return b.error[lane] != 0 && b.mayLieOnGrid[lane] != 0; }

  /// A grid of f16 whose first or last codes the block does not use: blocks of other formats have such.
  void offerGrids() {
    float lowest = b.lowest[lane], range = b.highest[lane] - lowest;
    for (int steps = 14; steps > 0 && range > 0; --steps) {
      float scale = halfOf(range / static_cast<float>(steps));
      if (scale > 0 && std::abs(scale * static_cast<float>(steps) - range) < kNear * scale && lieOn(lowest, scale))
        offer(scale, nearestMinimum(lowest, scale, 15 - steps));
    }
  }

  /// What makes zeros of zeros, where several stand at an end: they are padding.
  void keepPadding() {
    auto isZero = [&](int64_t i) { return b.x[i][lane] == 0; };
    bool before = isZero(0) && isZero(1) && isZero(2),
         after = isZero(b.size - 1) && isZero(b.size - 2) && isZero(b.size - 3);
    if ((!before && !after) || valueOf(0, b.scale[lane], b.minimum[lane]) == 0)
      return;
    b.error[lane] = INFINITY;
    float step = (b.highest[lane] - b.lowest[lane]) / 15, middle = std::nearbyint(-b.lowest[lane] / step);
    for (float code = std::max(middle - 1, 0.0f); code <= std::min(middle + 1, 15.0f); ++code) {
      // f16 has code * scale where code, without its powers of two, and scale have 11 bits together.
      auto odd = static_cast<unsigned>(code);
      odd >>= odd ? std::countr_zero(odd) : 0;
      int exponent, bits = odd > 1 ? 11 - static_cast<int>(std::bit_width(odd)) : 11;
      float fraction = std::ldexp(std::frexp(step, &exponent), bits);
      for (float number : {std::floor(fraction), std::ceil(fraction)}) {
        float scale = halfOf(std::ldexp(number, exponent - bits));
        offer(scale, -code * scale);
      }
    }
  }

private:
  static float halfOf(float x) { return static_cast<float>(static_cast<_Float16>(x)); }

  static float valueOf(float x, float scale, float minimum) {
    float code = scale > 0 ? std::clamp(std::nearbyint((x - minimum) / scale), 0.0f, 15.0f) : 0;
    return scale * code + minimum;
  }

  bool lieOn(float lowest, float scale) const {
    for (int64_t i = 0; i < b.size; ++i) {
      float step = (b.x[i][lane] - lowest) / scale;
      if (std::abs(step - std::nearbyint(step)) > kNear)
        return false;
    }
    return true;
  }

  /// Of the minima that make `lowest` one of the codes up to `most`, the one that f16 holds best.
  static float nearestMinimum(float lowest, float scale, int most) {
    float best = halfOf(lowest), least = std::abs(best - lowest);
    for (int code = 1; code <= most; ++code) {
      float exact = lowest - static_cast<float>(code) * scale, minimum = halfOf(exact);
      if (std::abs(minimum - exact) < least) {
        least = std::abs(minimum - exact);
        best = minimum;
      }
    }
    return best;
  }

  void offer(float scale, float minimum) {
    float error = 0;
    for (int64_t i = 0; i < b.size; ++i) {
      float rest = b.x[i][lane] - valueOf(b.x[i][lane], scale, minimum);
      error += rest * rest;
    }
    if (error < b.error[lane]) {
      b.scale[lane] = scale;
      b.minimum[lane] = minimum;
      b.error[lane] = error;
    }
  }

  Blocks &b;
  int lane;
};

CAAT_WIDEST bool areFinite(const float *x, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i)
    finite &= x[i] - x[i] == 0;
  return finite;
}

} // namespace

void roundToFourBits(const float *x, int64_t count, int64_t size, RoundedBlocks &to) {
  to.codes.resize(count * size);
  to.scales.resize(count);
  to.minima.resize(count);
  to.isFinite = areFinite(x, count * size);
  to.fits = true;
  if (!to.isFinite)
    return;
  for (int64_t first = 0; first < count; first += kLanes) {
    Blocks b = {};
    b.size = size;
    int64_t lanes = std::min<int64_t>(kLanes, count - first);
    for (int64_t lane = 0; lane < lanes; ++lane)
      for (int64_t i = 0; i < size; ++i)
        b.x[i][lane] = x[(first + lane) * size + i];
    roundLanes(&b);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      to.fits &= std::max(-b.lowest[lane], b.highest[lane]) <= kMostHalf;
      Block block(b, static_cast<int>(lane));
      if (block.mayLieOnGrid())
        block.offerGrids();
      block.keepPadding();
      to.scales[first + lane] = b.scale[lane];
      to.minima[first + lane] = b.minimum[lane];
    }
    chooseCodes(&b);
    for (int64_t lane = 0; lane < lanes; ++lane)
      for (int64_t i = 0; i < size; ++i)
        to.codes[(first + lane) * size + i] = static_cast<uint8_t>(b.x[i][lane]);
  }
}

CAAT_WIDEST static float largest(const float *x, int64_t count) {
  float result = 0;
  for (int64_t i = 0; i < count; ++i)
    result = std::abs(x[i]) > result ? std::abs(x[i]) : result;
  return result;
}

CAAT_WIDEST static void scaleCodes(const float *x, int64_t count, float inverse, uint8_t *codes) {
  for (int64_t i = 0; i < count; ++i) {
    float code = (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f;
    code = code > -128 ? code : -128;
    code = code < 127 ? code : 127;
    codes[i] = static_cast<uint8_t>(static_cast<int>(code) + 128);
  }
}

void roundToEightBits(const float *x, int64_t count, int64_t size, RoundedBlocks &to) {
  to.codes.resize(count * size);
  to.scales.resize(count);
  to.minima.clear();
  to.isFinite = areFinite(x, count * size);
  to.fits = true;
  if (!to.isFinite)
    return;
  for (int64_t i = 0; i < count; ++i) {
    float most = largest(x + i * size, size);
    auto scale = static_cast<float>(static_cast<_Float16>(most / 127));
    // Numbers of f16 that small are far apart: the next one, before anything is cut off.
    if (scale * 127.5f < most && scale < 0x1p-14f)
      scale += 0x1p-24f;
    to.fits &= scale <= kMostHalf;
    to.scales[i] = scale;
    scaleCodes(x + i * size, size, scale > 0 ? 1 / scale : 0, to.codes.data() + i * size);
  }
}

} // namespace caat
