// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scalar arithmetic of the lowering: one place for fast-math flags, integer and floating-point cases and casts.
#include "lib/Lower/MiniFloat.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"

using namespace mlir;

namespace caat::lower {

static bool isFloat(Value x) { return isa<FloatType>(x.getType()); }
static bool isBool(Type type) { return type.isInteger(1); }
static bool isUnsigned(Type type) { return type.isUnsignedInteger() || isBool(type); }

Value ScalarBuilder::as(Value x, Type type) {
  if (x.getType() == type)
    return x;
  return UnrealizedConversionCastOp::create(b, loc, type, x).getResult(0);
}

Value ScalarBuilder::signless(Value x) {
  auto type = dyn_cast<IntegerType>(x.getType());
  return type && !type.isSignless() ? as(x, b.getIntegerType(type.getWidth())) : x;
}

/// An integer op of arith on values of any signedness, which the result has too.
template <typename Op> static Value integer(ScalarBuilder &s, Value x, Value y) {
  return s.as(Op::create(s.b, s.loc, s.signless(x), s.signless(y)), x.getType());
}

/// The same, with one op for each signedness.
template <typename SignedOp, typename UnsignedOp> static Value integer(ScalarBuilder &s, Value x, Value y) {
  return isUnsigned(x.getType()) ? integer<UnsignedOp>(s, x, y) : integer<SignedOp>(s, x, y);
}

Value ScalarBuilder::constant(Type type, double value) {
  if (auto floatType = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, loc, FloatAttr::get(floatType, value));
  if (type.isIndex())
    return index(static_cast<int64_t>(value));
  return integer(type, APInt(64, static_cast<int64_t>(value), /*isSigned=*/true));
}

Value ScalarBuilder::integer(Type type, const APInt &value) {
  unsigned width = type.getIntOrFloatBitWidth();
  return as(arith::ConstantOp::create(b, loc, b.getIntegerAttr(b.getIntegerType(width), value.sextOrTrunc(width))),
            type);
}

Value ScalarBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

Value ScalarBuilder::add(Value x, Value y) {
  if (isFloat(x))
    return arith::AddFOp::create(b, loc, x, y, flags);
  return lower::integer<arith::AddIOp>(*this, x, y);
}

Value ScalarBuilder::sub(Value x, Value y) {
  if (isFloat(x))
    return arith::SubFOp::create(b, loc, x, y, flags);
  return lower::integer<arith::SubIOp>(*this, x, y);
}

Value ScalarBuilder::mul(Value x, Value y) {
  if (isFloat(x))
    return arith::MulFOp::create(b, loc, x, y, flags);
  return lower::integer<arith::MulIOp>(*this, x, y);
}

/// `y` where a processor can divide by it without a trap, else 1: not 0, and not -1, which the lowest number overflows.
static Value safeDivisor(ScalarBuilder &s, Value y) {
  Value safe = s.logicalNot(s.equal(y, s.constant(y.getType(), 0)));
  if (!isUnsigned(y.getType()))
    safe = s.bitAnd(safe, s.logicalNot(s.equal(y, s.constant(y.getType(), -1))));
  return s.select(safe, y, s.constant(y.getType(), 1));
}

Value ScalarBuilder::div(Value x, Value y) {
  if (isFloat(x))
    return arith::DivFOp::create(b, loc, x, y, flags);
  Value quotient = lower::integer<arith::DivSIOp, arith::DivUIOp>(*this, x, safeDivisor(*this, y));
  return isUnsigned(x.getType()) ? quotient : select(equal(y, constant(y.getType(), -1)), neg(x), quotient);
}

Value ScalarBuilder::rem(Value x, Value y) {
  if (isFloat(x))
    return arith::RemFOp::create(b, loc, x, y);
  return lower::integer<arith::RemSIOp, arith::RemUIOp>(*this, x, safeDivisor(*this, y));
}

Value ScalarBuilder::max(Value x, Value y) {
  if (isFloat(x))
    return arith::MaximumFOp::create(b, loc, x, y, kFastMath);
  return lower::integer<arith::MaxSIOp, arith::MaxUIOp>(*this, x, y);
}

Value ScalarBuilder::min(Value x, Value y) {
  if (isFloat(x))
    return arith::MinimumFOp::create(b, loc, x, y, kFastMath);
  return lower::integer<arith::MinSIOp, arith::MinUIOp>(*this, x, y);
}

Value ScalarBuilder::bitAnd(Value x, Value y) { return lower::integer<arith::AndIOp>(*this, x, y); }
Value ScalarBuilder::bitOr(Value x, Value y) { return lower::integer<arith::OrIOp>(*this, x, y); }
Value ScalarBuilder::bitXor(Value x, Value y) { return lower::integer<arith::XOrIOp>(*this, x, y); }

Value ScalarBuilder::shift(Value x, Value places, bool left) {
  // By a negative number of places, or as many as there are bits, what is left is the sign. The processor would take
  // the places modulo the bits.
  Type type = x.getType();
  Value width = constant(type, type.getIntOrFloatBitWidth()), zero = constant(type, 0), few = less(places, width);
  Value sign = zero;
  if (!isUnsigned(type)) {
    few = bitAnd(few, logicalNot(less(places, zero)));
    if (!left)
      sign = select(less(x, zero), constant(type, -1), zero);
  }
  Value by = select(few, places, zero);
  Value shifted =
      left ? lower::integer<arith::ShLIOp>(*this, x, by) : lower::integer<arith::ShRSIOp, arith::ShRUIOp>(*this, x, by);
  return select(few, shifted, sign);
}

Value ScalarBuilder::abs(Value x) {
  if (isFloat(x))
    return math::AbsFOp::create(b, loc, x, kFastMath);
  return isUnsigned(x.getType()) ? x : math::AbsIOp::create(b, loc, x).getResult();
}

Value ScalarBuilder::neg(Value x) {
  if (isFloat(x))
    return arith::NegFOp::create(b, loc, x, kFastMath);
  return sub(constant(x.getType(), 0), x);
}

Value ScalarBuilder::exp(Value x) { return math::ExpOp::create(b, loc, x, kFastMath); }

Value ScalarBuilder::sigmoid(Value x) {
  Value one = constant(x.getType(), 1);
  return div(one, add(one, exp(neg(x))));
}

Value ScalarBuilder::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}

Value ScalarBuilder::less(Value x, Value y) {
  if (isFloat(x))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, y);
  auto predicate = isUnsigned(x.getType()) ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
  return arith::CmpIOp::create(b, loc, predicate, signless(x), signless(y));
}

Value ScalarBuilder::equal(Value x, Value y) {
  if (isFloat(x))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, y);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, signless(x), signless(y));
}

Value ScalarBuilder::logicalNot(Value x) { return bitXor(x, constant(x.getType(), 1)); }

/// Float to integer by truncation. What does not fit is taken modulo the width from the next wider type, as NumPy does,
/// and is anything for the widest.
static Value floatToInteger(ScalarBuilder &s, Value x, IntegerType type) {
  if (type.getWidth() == 64 && type.isUnsigned())
    return s.as(arith::FPToUIOp::create(s.b, s.loc, s.b.getI64Type(), x), type);
  unsigned wide = type.getWidth() < 32 ? 32 : type.isUnsigned() ? 64 : type.getWidth();
  Value result = arith::FPToSIOp::create(s.b, s.loc, s.b.getIntegerType(wide), x);
  if (wide > type.getWidth())
    result = arith::TruncIOp::create(s.b, s.loc, s.b.getIntegerType(type.getWidth()), result);
  return s.as(result, type);
}

Value ScalarBuilder::cast(Value x, Type type) {
  Type from = x.getType();
  if (from == type)
    return x;
  if (isMiniFloat(from))
    return cast(widenMiniFloat(*this, x), type);
  if (isMiniFloat(type))
    return narrowToMiniFloat(*this, cast(x, b.getF32Type()), llvm::cast<FloatType>(type), {});
  if (from.isIndex() || type.isIndex()) {
    if (from.isIndex() && !isa<IntegerType>(type))
      return cast(cast(x, b.getI64Type()), type);
    if (isa<FloatType>(from))
      return cast(cast(x, b.getI64Type()), type);
    if (from.isIndex())
      return as(arith::IndexCastOp::create(b, loc, b.getIntegerType(type.getIntOrFloatBitWidth()), x), type);
    return isUnsigned(from) ? arith::IndexCastUIOp::create(b, loc, type, signless(x)).getResult()
                            : arith::IndexCastOp::create(b, loc, type, x).getResult();
  }
  if (isBool(type)) {
    Value zero = constant(from, 0);
    if (isFloat(x)) // NaN is true
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, x, zero);
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, signless(x), signless(zero));
  }
  unsigned width = type.getIntOrFloatBitWidth(), fromWidth = from.getIntOrFloatBitWidth();
  if (isFloat(x) && isa<FloatType>(type)) {
    if (width == fromWidth) // bf16 and f16
      return cast(cast(x, b.getF32Type()), type);
    return width > fromWidth ? arith::ExtFOp::create(b, loc, type, x).getResult()
                             : arith::TruncFOp::create(b, loc, type, x).getResult();
  }
  if (isFloat(x))
    return floatToInteger(*this, x, llvm::cast<IntegerType>(type));
  if (isa<FloatType>(type))
    return isUnsigned(from) ? arith::UIToFPOp::create(b, loc, type, signless(x)).getResult()
                            : arith::SIToFPOp::create(b, loc, type, x).getResult();
  Type plain = b.getIntegerType(width);
  x = signless(x);
  if (width < fromWidth)
    x = arith::TruncIOp::create(b, loc, plain, x);
  else if (width > fromWidth)
    x = isUnsigned(from) ? arith::ExtUIOp::create(b, loc, plain, x).getResult()
                         : arith::ExtSIOp::create(b, loc, plain, x).getResult();
  return as(x, type);
}

Value ScalarBuilder::wrapIndex(Value i, Value size) {
  Value zero = index(0), last = sub(size, index(1));
  Value wrapped = select(less(i, zero), add(i, size), i);
  return arith::MaxSIOp::create(b, loc, zero, arith::MinSIOp::create(b, loc, wrapped, last));
}

// Index arithmetic, folded at once where both are constant or one is neutral.

OpFoldResult ScalarBuilder::add(OpFoldResult x, OpFoldResult y) {
  auto a = getConstantIntValue(x), c = getConstantIntValue(y);
  if (a && c)
    return b.getIndexAttr(*a + *c);
  if (a == 0)
    return y;
  if (c == 0)
    return x;
  return add(value(x), value(y));
}

OpFoldResult ScalarBuilder::sub(OpFoldResult x, OpFoldResult y) {
  auto a = getConstantIntValue(x), c = getConstantIntValue(y);
  if (a && c)
    return b.getIndexAttr(*a - *c);
  if (c == 0)
    return x;
  return sub(value(x), value(y));
}

OpFoldResult ScalarBuilder::mul(OpFoldResult x, OpFoldResult y) {
  auto a = getConstantIntValue(x), c = getConstantIntValue(y);
  if (a && c)
    return b.getIndexAttr(*a * *c);
  if (a == 1)
    return y;
  if (c == 1)
    return x;
  return mul(value(x), value(y));
}

OpFoldResult ScalarBuilder::min(OpFoldResult x, OpFoldResult y) {
  auto a = getConstantIntValue(x), c = getConstantIntValue(y);
  if (a && c)
    return b.getIndexAttr(std::min(*a, *c));
  return min(value(x), value(y));
}

OpFoldResult ScalarBuilder::product(ArrayRef<OpFoldResult> factors) {
  OpFoldResult result = b.getIndexAttr(1);
  for (OpFoldResult factor : factors)
    result = mul(result, factor);
  return result;
}

Value ScalarBuilder::value(OpFoldResult x) { return getValueOrCreateConstantIndexOp(b, loc, x); }

} // namespace caat::lower
