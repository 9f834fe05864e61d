// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scalar arithmetic of the lowering: one place for fast-math flags, integer and floating-point cases and casts.
#include "lib/Lower/OnnxLowering.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"

using namespace mlir;

namespace caat::lower {

static bool isFloat(Value x) { return isa<FloatType>(x.getType()); }
static bool isBool(Type type) { return type.isInteger(1); }

Value ScalarBuilder::constant(Type type, double value) {
  if (auto floatType = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, loc, FloatAttr::get(floatType, value));
  return arith::ConstantOp::create(b, loc, IntegerAttr::get(type, static_cast<int64_t>(value)));
}

Value ScalarBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

Value ScalarBuilder::add(Value x, Value y) {
  if (isFloat(x))
    return arith::AddFOp::create(b, loc, x, y, flags);
  return arith::AddIOp::create(b, loc, x, y);
}

Value ScalarBuilder::sub(Value x, Value y) {
  if (isFloat(x))
    return arith::SubFOp::create(b, loc, x, y, flags);
  return arith::SubIOp::create(b, loc, x, y);
}

Value ScalarBuilder::mul(Value x, Value y) {
  if (isFloat(x))
    return arith::MulFOp::create(b, loc, x, y, flags);
  return arith::MulIOp::create(b, loc, x, y);
}

Value ScalarBuilder::div(Value x, Value y) {
  if (isFloat(x))
    return arith::DivFOp::create(b, loc, x, y, flags);
  return arith::DivSIOp::create(b, loc, x, y);
}

Value ScalarBuilder::max(Value x, Value y) {
  if (isFloat(x))
    return arith::MaximumFOp::create(b, loc, x, y, kFastMath);
  if (isBool(x.getType()))
    return arith::OrIOp::create(b, loc, x, y);
  return arith::MaxSIOp::create(b, loc, x, y);
}

Value ScalarBuilder::min(Value x, Value y) {
  if (isFloat(x))
    return arith::MinimumFOp::create(b, loc, x, y, kFastMath);
  if (isBool(x.getType()))
    return arith::AndIOp::create(b, loc, x, y);
  return arith::MinSIOp::create(b, loc, x, y);
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
  return arith::CmpIOp::create(b, loc, isBool(x.getType()) ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt, x,
                               y);
}

Value ScalarBuilder::equal(Value x, Value y) {
  if (isFloat(x))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, y);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
}

Value ScalarBuilder::logicalNot(Value x) { return arith::XOrIOp::create(b, loc, x, constant(x.getType(), 1)); }

Value ScalarBuilder::cast(Value x, Type type) {
  Type from = x.getType();
  if (from == type)
    return x;
  if (from.isIndex() || type.isIndex()) {
    if (from.isIndex() && !isa<IntegerType>(type))
      return cast(cast(x, b.getI64Type()), type);
    return arith::IndexCastOp::create(b, loc, type, x);
  }
  if (isBool(type)) {
    Value zero = constant(from, 0);
    if (isFloat(x)) // NaN is true
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, x, zero);
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, x, zero);
  }
  unsigned width = type.getIntOrFloatBitWidth(), fromWidth = from.getIntOrFloatBitWidth();
  if (isFloat(x) && isa<FloatType>(type)) {
    if (width == fromWidth) // bf16 and f16
      return cast(cast(x, b.getF32Type()), type);
    return width > fromWidth ? arith::ExtFOp::create(b, loc, type, x).getResult()
                             : arith::TruncFOp::create(b, loc, type, x).getResult();
  }
  if (isFloat(x))
    return arith::FPToSIOp::create(b, loc, type, x);
  if (isa<FloatType>(type))
    return isBool(from) ? arith::UIToFPOp::create(b, loc, type, x).getResult()
                        : arith::SIToFPOp::create(b, loc, type, x).getResult();
  if (width < fromWidth)
    return arith::TruncIOp::create(b, loc, type, x);
  return isBool(from) ? arith::ExtUIOp::create(b, loc, type, x).getResult()
                      : arith::ExtSIOp::create(b, loc, type, x).getResult();
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
