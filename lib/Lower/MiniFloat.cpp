// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/MiniFloat.h"

using namespace mlir;

namespace caat::lower {

namespace {

/// A float of `width` bits: sign, exponent, `mantissa` bits. `largest` is the code of the largest finite number,
/// `beyond` of what is larger where it does not saturate, `nan` of NaN (both without the sign; -1: there is none).
struct Format {
  unsigned width, mantissa;
  int bias;
  int64_t largest, beyond, nan;
  bool hasInfinity, hasNegativeZero;
};

/// Integer arithmetic on i32.
struct Bits {
  ScalarBuilder &s;

  Value of(int64_t value) { return s.integer(s.b.getI32Type(), APInt(64, value, /*isSigned=*/true)); }
  Value left(Value x, int64_t places) { return arith::ShLIOp::create(s.b, s.loc, x, of(places)); }
  Value right(Value x, int64_t places) { return arith::ShRUIOp::create(s.b, s.loc, x, of(places)); }
  Value mask(Value x, int64_t bits) { return s.bitAnd(x, of(bits)); }
  Value equal(Value x, int64_t value) { return s.equal(x, of(value)); }
  Value ofFloat(Value x) { return arith::BitcastOp::create(s.b, s.loc, s.b.getI32Type(), x); }
  Value toFloat(Value x) { return arith::BitcastOp::create(s.b, s.loc, s.b.getF32Type(), x); }
};

} // namespace

static std::optional<Format> formatOf(Type type) {
  if (isa<Float8E4M3FNType>(type))
    return Format{8, 3, 7, 0x7E, 0x7F, 0x7F, false, true};
  if (isa<Float8E4M3FNUZType>(type))
    return Format{8, 3, 8, 0x7F, 0x80, 0x80, false, false};
  if (isa<Float8E5M2Type>(type))
    return Format{8, 2, 15, 0x7B, 0x7C, 0x7F, true, true};
  if (isa<Float8E5M2FNUZType>(type))
    return Format{8, 2, 16, 0x7F, 0x80, 0x80, false, false};
  if (isa<Float4E2M1FNType>(type))
    return Format{4, 1, 1, 7, 7, -1, false, true};
  return std::nullopt;
}

static constexpr int64_t kNaN = 0x7FC00000, kInfinity = 0x7F800000, kMagnitude = 0x7FFFFFFF;

bool isMiniFloat(Type type) { return formatOf(type).has_value() || isa<Float8E8M0FNUType>(type); }

/// A power of two from its exponent, 255 for NaN. The lowest is no normal f32.
static Value widenExponent(Bits &i, Value code) {
  Value bits = i.s.select(i.equal(code, 0), i.of(0x00400000), i.left(code, 23));
  return i.toFloat(i.s.select(i.equal(code, 255), i.of(kNaN), bits));
}

Value widenMiniFloat(ScalarBuilder &s, Value x) {
  Type type = x.getType();
  Bits i{s};
  unsigned width = type.getIntOrFloatBitWidth();
  Value plain = arith::BitcastOp::create(s.b, s.loc, s.b.getIntegerType(width), x);
  Value code = arith::ExtUIOp::create(s.b, s.loc, s.b.getI32Type(), plain);
  if (isa<Float8E8M0FNUType>(type))
    return widenExponent(i, code);
  Format format = *formatOf(type);
  int64_t sign = int64_t(1) << (format.width - 1);
  Value magnitude = i.mask(code, sign - 1);
  // The exponent's and mantissa's bits at their place in an f32, then the other bias.
  Value normal = s.add(i.left(magnitude, 23 - format.mantissa), i.of(int64_t(127 - format.bias) << 23));
  Value fraction = arith::UIToFPOp::create(s.b, s.loc, s.b.getF32Type(), magnitude);
  Value scale = s.constant(s.b.getF32Type(), std::ldexp(1.0, 1 - format.bias - static_cast<int>(format.mantissa)));
  Value subnormal = i.ofFloat(arith::MulFOp::create(s.b, s.loc, fraction, scale));
  Value bits = s.select(s.less(magnitude, i.of(int64_t(1) << format.mantissa)), subnormal, normal);
  if (format.hasInfinity) { // all above the infinity is NaN
    bits = s.select(i.equal(magnitude, format.beyond), i.of(kInfinity), bits);
    bits = s.select(s.less(i.of(format.beyond), magnitude), i.of(kNaN), bits);
  } else if (format.nan >= 0) {
    bits = s.select(i.equal(format.hasNegativeZero ? magnitude : code, format.nan), i.of(kNaN), bits);
  }
  return i.toFloat(s.bitOr(bits, i.left(i.mask(code, sign), 32 - format.width)));
}

/// The exponent of x, rounded as the options say; 255 for NaN.
static Value narrowExponent(Bits &i, Value bits, const MiniFloatOptions &options) {
  ScalarBuilder &s = i.s;
  Value magnitude = i.mask(bits, kMagnitude), exponent = i.right(magnitude, 23), rest = i.mask(magnitude, 0x7FFFFF);
  // Below the normal numbers, 2^-127 is the only power of two.
  Value half = i.of(0x400000), isSubnormal = i.equal(exponent, 0), up;
  if (options.round == "up")
    up = s.logicalNot(s.select(isSubnormal, s.less(rest, i.of(0x400001)), i.equal(rest, 0)));
  else if (options.round == "nearest") // from the middle on; between 0 and 2^-126 that is 1.5 * 2^-127
    up = s.select(isSubnormal, s.less(i.of(0x5FFFFF), rest), s.logicalNot(s.less(rest, half)));
  else
    up = s.constant(s.b.getI1Type(), 0);
  Value code = s.add(exponent, s.cast(up, s.b.getI32Type()));
  Value isNaN = s.less(i.of(kInfinity), magnitude);
  Value isLarge = s.less(i.of(254), code), isSmall = s.less(magnitude, half);
  if (options.saturate) {
    code = s.select(isLarge, i.of(254), code);
    code = s.select(isSmall, i.of(0), code);
  } else {
    code = s.select(s.bitOr(isLarge, isSmall), i.of(255), code);
  }
  return s.select(isNaN, i.of(255), code);
}

Value narrowToMiniFloat(ScalarBuilder &s, Value x, FloatType type, const MiniFloatOptions &options) {
  Bits i{s};
  Value bits = i.ofFloat(x), code;
  if (isa<Float8E8M0FNUType>(type)) {
    code = narrowExponent(i, bits, options);
  } else {
    Format format = *formatOf(type);
    int64_t places = 23 - format.mantissa;
    Value magnitude = i.mask(bits, kMagnitude);
    // Halves to even: add half of the last place less one, and one more where the last place is odd.
    Value odd = i.mask(i.right(magnitude, places), 1);
    Value rounded = s.add(s.add(magnitude, odd), i.of((int64_t(1) << (places - 1)) - 1));
    Value normal = s.sub(i.right(rounded, places), i.of(int64_t(127 - format.bias) << format.mantissa));
    Value scale = s.constant(s.b.getF32Type(), std::ldexp(1.0, format.bias - 1 + static_cast<int>(format.mantissa)));
    Value fraction = arith::MulFOp::create(s.b, s.loc, i.toFloat(magnitude), scale);
    Value lowest = i.of(int64_t(128 - format.bias) << 23); // of the normal numbers
    Value isSmall = s.less(magnitude, lowest);
    // A number that is not small would not fit the integer.
    fraction = math::RoundEvenOp::create(s.b, s.loc, s.select(isSmall, fraction, s.constant(s.b.getF32Type(), 0)));
    code = s.select(isSmall, s.cast(fraction, s.b.getI32Type()), normal);
    Value isNaN = s.less(i.of(kInfinity), magnitude);
    int64_t beyond = options.saturate || format.nan < 0 ? format.largest : format.beyond;
    code = s.select(s.less(i.of(format.largest), code), i.of(beyond), code);
    if (format.nan >= 0)
      code = s.select(isNaN, i.of(format.nan), code);
    Value sign = i.left(i.right(bits, 31), format.width - 1);
    if (!format.hasNegativeZero) // its code is NaN
      sign = s.select(s.bitOr(i.equal(code, 0), i.equal(code, format.nan)), i.of(0), sign);
    code = s.bitOr(code, sign);
    if (format.nan < 0) // there is no NaN; -0 is what other implementations make of one
      code = s.select(isNaN, i.of(int64_t(1) << (format.width - 1)), code);
  }
  Value plain = arith::TruncIOp::create(s.b, s.loc, s.b.getIntegerType(type.getWidth()), code);
  return arith::BitcastOp::create(s.b, s.loc, type, plain);
}

} // namespace caat::lower
