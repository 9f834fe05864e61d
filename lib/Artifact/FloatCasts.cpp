// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FloatCasts.h"
#include "caat/runtime/Bf16.h"
#include <cstring>

using namespace caat;
using namespace mlir;

namespace {
struct Single {
  using Stored = float;
  static float load(Stored x) { return x; }
  static Stored store(float x) { return x; }
};
struct Brain {
  using Stored = uint16_t;
  static float load(Stored x) { return runtime::bf16ToFloat(x); }
  static Stored store(float x) { return runtime::floatToBf16(x); }
};
struct Half {
  using Stored = _Float16;
  static float load(Stored x) { return static_cast<float>(x); }
  static Stored store(float x) { return static_cast<Stored>(x); }
};
} // namespace

template <typename From, typename To> static void castFloats(const TensorView &x, char *to) {
  forEachRun(x, [&](const char *first, int64_t length, int64_t stride) {
    for (int64_t i = 0; i < length; ++i, to += sizeof(typename To::Stored)) {
      typename From::Stored value;
      std::memcpy(&value, first + i * stride * static_cast<int64_t>(sizeof value), sizeof value);
      typename To::Stored result = To::store(From::load(value));
      std::memcpy(to, &result, sizeof result);
    }
  });
}

FloatCast caat::floatCast(Type from, Type to) {
  if (from.isF32())
    return to.isBF16() ? castFloats<Single, Brain> : to.isF16() ? castFloats<Single, Half> : nullptr;
  if (to.isF32())
    return from.isBF16() ? castFloats<Brain, Single> : from.isF16() ? castFloats<Half, Single> : nullptr;
  return nullptr;
}
