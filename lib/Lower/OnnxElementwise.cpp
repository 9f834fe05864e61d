// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element-wise onnx ops to one linalg.generic each. A formula is a function from the op (for its attributes) and the
// operands' scalars to the result's scalar; the rest (broadcasting, widening of 16-bit floats) is common.
#include "lib/Lower/MiniFloat.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

using Formula = Value (*)(ScalarBuilder &, Operation *, Scalars);

/// All operands are broadcast to the only result.
struct ElementwisePattern : RewritePattern {
  ElementwisePattern(StringRef name, Formula formula, bool exact, MLIRContext *context)
      : RewritePattern(name, /*benefit=*/1, context), formula(formula), exact(exact) {}

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    if (!type)
      return failure();
    for (Type other : llvm::concat<const Type>(op->getOperandTypes(), op->getResultTypes())) {
      auto tensor = dyn_cast<RankedTensorType>(other);
      if (!tensor || !tensor.getElementType().isIntOrFloat())
        return rewriter.notifyMatchFailure(op, "element type without arithmetic");
    }
    // CastLike's second operand only names a type.
    ValueRange inputs = isa<onnx::CastLikeOp>(op) ? op->getOperands().take_front() : op->getOperands();
    ScalarBuilder s{rewriter, op->getLoc()};
    Value result = elementwise(
        s, type, broadcastDims(s, inputs, type), inputs,
        [&](ScalarBuilder &in, Scalars args) { return formula(in, op, args); }, exact);
    rewriter.replaceOp(op, result);
    return success();
  }

  Formula formula;
  bool exact;
};

} // namespace

template <typename OpTy> static void add(RewritePatternSet &patterns, Formula formula, bool exact = false) {
  patterns.add(std::make_unique<ElementwisePattern>(OpTy::getOperationName(), formula, exact, patterns.getContext()));
}

static Value gelu(ScalarBuilder &s, Operation *op, Scalars x) {
  Type type = x[0].getType();
  Value half = s.constant(type, 0.5), one = s.constant(type, 1), inner;
  if (cast<onnx::GeluOp>(op).getApproximate() == "tanh") {
    Value cubic = s.mul(s.mul(s.mul(x[0], x[0]), x[0]), s.constant(type, 0.044715));
    inner =
        math::TanhOp::create(s.b, s.loc, s.mul(s.constant(type, 0.7978845608028654), s.add(x[0], cubic)), kFastMath);
  } else {
    inner = math::ErfOp::create(s.b, s.loc, s.mul(x[0], s.constant(type, 0.7071067811865476)), kFastMath);
  }
  return s.mul(s.mul(half, x[0]), s.add(one, inner));
}

/// log(1 + exp(x)) without overflow: max(x, 0) + log1p(exp(-|x|)).
static Value softplus(ScalarBuilder &s, Value x) {
  Value zero = s.constant(x.getType(), 0), magnitude = math::AbsFOp::create(s.b, s.loc, x, kFastMath);
  Value tail = math::Log1pOp::create(s.b, s.loc, s.exp(s.neg(magnitude)), kFastMath);
  return s.add(s.max(x, zero), tail);
}

static Value expMinusOne(ScalarBuilder &s, Value x) { return math::ExpM1Op::create(s.b, s.loc, x, kFastMath); }

/// `x < 0 ? negative : x`; NaN stays.
static Value ifNegative(ScalarBuilder &s, Value x, Value negative) {
  return s.select(s.less(x, s.constant(x.getType(), 0)), negative, x);
}

static Value clamp01(ScalarBuilder &s, Value x) {
  return s.min(s.max(x, s.constant(x.getType(), 0)), s.constant(x.getType(), 1));
}

static Value sign(ScalarBuilder &s, Value x) {
  Value zero = s.constant(x.getType(), 0), one = s.constant(x.getType(), 1), minus = s.constant(x.getType(), -1);
  return s.select(s.less(zero, x), one, s.select(s.less(x, zero), minus, x));
}

/// ONNX Mod: C's remainder (the dividend's sign) with fmod, else the divisor's sign.
static Value modulo(ScalarBuilder &s, Operation *op, Scalars x) {
  Value remainder = s.rem(x[0], x[1]);
  if (cast<onnx::ModOp>(op).getFmod())
    return remainder;
  Value zero = s.constant(x[0].getType(), 0);
  Value differs = arith::XOrIOp::create(s.b, s.loc, s.less(remainder, zero), s.less(x[1], zero));
  Value adjust = arith::AndIOp::create(s.b, s.loc, differs, s.logicalNot(s.equal(remainder, zero)));
  return s.select(adjust, s.add(remainder, x[1]), remainder);
}

/// Integer power by squaring, modulo the width. A negative exponent gives the integer part: 0 but for bases 1 and -1.
static Value integerPower(ScalarBuilder &s, Value base, Value exponent) {
  Type type = base.getType(), i64 = s.b.getI64Type();
  Value zero = s.constant(type, 0), one = s.constant(type, 1);
  bool negative = !exponent.getType().isUnsignedInteger();
  exponent = s.cast(exponent, i64);
  Value places = s.signless(exponent), unit = s.constant(i64, 1);
  auto loop = scf::ForOp::create(s.b, s.loc, s.index(0), s.index(64), s.index(1), ValueRange{one, base, places},
                                 [&](OpBuilder &b, Location loc, Value, ValueRange state) {
                                   ScalarBuilder in{b, loc};
                                   Value odd = in.cast(in.bitAnd(state[2], unit), b.getI1Type());
                                   Value rest = arith::ShRUIOp::create(b, loc, state[2], unit);
                                   scf::YieldOp::create(b, loc,
                                                        ValueRange{in.select(odd, in.mul(state[0], state[1]), state[0]),
                                                                   in.mul(state[1], state[1]), rest});
                                 });
  Value power = loop.getResult(0);
  if (!negative)
    return power;
  // 1 and -1 to a negative power are what they are to the power modulo 2^64, whose lowest bit is the same.
  Value isUnit = s.equal(s.abs(base), one), below = s.less(exponent, s.constant(i64, 0));
  return s.select(s.bitAnd(below, s.logicalNot(isUnit)), zero, power);
}

/// X ** Y in X's type. Small constant exponents become products.
static Value power(ScalarBuilder &s, Operation *, Scalars x) {
  Type type = x[0].getType();
  Value base = x[0];
  FloatAttr exponent;
  if (matchPattern(x[1], m_Constant(&exponent))) {
    double y = exponent.getValueAsDouble();
    if (y == 2)
      return s.mul(base, base);
    if (y == 3)
      return s.mul(s.mul(base, base), base);
    if (y == 0.5)
      return math::SqrtOp::create(s.b, s.loc, base, kFastMath);
    if (y == -0.5)
      return s.div(s.constant(type, 1), math::SqrtOp::create(s.b, s.loc, base, kFastMath));
  }
  if (isa<FloatType>(type)) {
    if (isa<FloatType>(x[1].getType()))
      return math::PowFOp::create(s.b, s.loc, base, s.cast(x[1], type)); // no flags: exact cases of libm
    return math::FPowIOp::create(s.b, s.loc, base, s.cast(x[1], s.b.getI32Type()));
  }
  if (isa<FloatType>(x[1].getType())) {
    Type wide = s.b.getF64Type();
    return s.cast(math::PowFOp::create(s.b, s.loc, s.cast(base, wide), s.cast(x[1], wide)), type);
  }
  return integerPower(s, base, x[1]);
}

static Value clip(ScalarBuilder &s, Operation *op, Scalars x) {
  auto clipOp = cast<onnx::ClipOp>(op);
  Value result = x[0];
  unsigned next = 1;
  if (clipOp.getMin())
    result = s.max(result, x[next++]);
  if (clipOp.getMax())
    result = s.min(result, x[next]);
  return result;
}

template <typename MathOp> static Value unary(ScalarBuilder &s, Operation *, Scalars x) {
  return MathOp::create(s.b, s.loc, x[0], kFastMath);
}

template <typename MathOp> static Value exactly(ScalarBuilder &s, Operation *, Scalars x) {
  return MathOp::create(s.b, s.loc, x[0]);
}

/// In double precision for the sake of integers, for which lambd and bias may be fractions.
static Value shrink(ScalarBuilder &s, Operation *op, Scalars x) {
  auto shrinkOp = cast<onnx::ShrinkOp>(op);
  Type type = x[0].getType(), compute = isa<FloatType>(type) ? type : Type(s.b.getF64Type());
  Value value = s.cast(x[0], compute), bias = s.constant(compute, shrinkOp.getBias().convertToDouble());
  Value limit = s.constant(compute, shrinkOp.getLambd().convertToDouble()), zero = s.constant(compute, 0);
  Value above = s.select(s.less(limit, value), s.sub(value, bias), zero);
  return s.cast(s.select(s.less(value, s.neg(limit)), s.add(value, bias), above), type);
}

template <typename CastOp> static Value convert(ScalarBuilder &s, Operation *op, Scalars x) {
  Type type = getElementTypeOrSelf(op->getResult(0));
  if (!isMiniFloat(type) || x[0].getType() == type)
    return s.cast(x[0], type);
  auto castOp = cast<CastOp>(op);
  MiniFloatOptions options = {castOp.getSaturate() != 0, castOp.getRoundMode()};
  return narrowToMiniFloat(s, s.cast(x[0], s.b.getF32Type()), cast<FloatType>(type), options);
}

static void populateUnary(RewritePatternSet &patterns) {
  add<onnx::NegOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.neg(x[0]); });
  add<onnx::AbsOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.abs(x[0]); });
  add<onnx::SqrtOp>(patterns, unary<math::SqrtOp>);
  add<onnx::ReciprocalOp>(
      patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.div(s.constant(x[0].getType(), 1), x[0]); });
  add<onnx::SigmoidOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.sigmoid(x[0]); });
  add<onnx::ReluOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) {
    return ifNegative(s, x[0], s.constant(x[0].getType(), 0));
  });
  add<onnx::LeakyReluOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    double alpha = cast<onnx::LeakyReluOp>(op).getAlpha().convertToDouble();
    return ifNegative(s, x[0], s.mul(s.constant(x[0].getType(), alpha), x[0]));
  });
  add<onnx::SwishOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    double alpha = cast<onnx::SwishOp>(op).getAlpha().convertToDouble();
    Value gate = alpha == 1 ? x[0] : s.mul(s.constant(x[0].getType(), alpha), x[0]);
    return s.div(x[0], s.add(s.constant(x[0].getType(), 1), s.exp(s.neg(gate))));
  });
  add<onnx::MishOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) {
    return s.mul(x[0], math::TanhOp::create(s.b, s.loc, softplus(s, x[0]), kFastMath));
  });
  add<onnx::HardSwishOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) {
    Type type = x[0].getType();
    return s.mul(x[0], clamp01(s, s.fma(x[0], s.constant(type, 1.0 / 6), s.constant(type, 0.5))));
  });
  add<onnx::HardSigmoidOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    auto hard = cast<onnx::HardSigmoidOp>(op);
    Value alpha = s.constant(x[0].getType(), hard.getAlpha().convertToDouble());
    return clamp01(s, s.fma(x[0], alpha, s.constant(x[0].getType(), hard.getBeta().convertToDouble())));
  });
  add<onnx::EluOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    Value alpha = s.constant(x[0].getType(), cast<onnx::EluOp>(op).getAlpha().convertToDouble());
    return ifNegative(s, x[0], s.mul(alpha, expMinusOne(s, x[0])));
  });
  add<onnx::CeluOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    Value alpha = s.constant(x[0].getType(), cast<onnx::CeluOp>(op).getAlpha().convertToDouble());
    return ifNegative(s, x[0], s.mul(alpha, expMinusOne(s, s.div(x[0], alpha))));
  });
  add<onnx::SeluOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    auto selu = cast<onnx::SeluOp>(op);
    Value alpha = s.constant(x[0].getType(), selu.getAlpha().convertToDouble());
    Value gamma = s.constant(x[0].getType(), selu.getGamma().convertToDouble());
    return s.mul(gamma, ifNegative(s, x[0], s.mul(alpha, expMinusOne(s, x[0]))));
  });
  add<onnx::ThresholdedReluOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    Value alpha = s.constant(x[0].getType(), cast<onnx::ThresholdedReluOp>(op).getAlpha().convertToDouble());
    return s.select(s.less(alpha, x[0]), x[0], s.constant(x[0].getType(), 0));
  });
  add<onnx::SoftplusOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return softplus(s, x[0]); });
  add<onnx::FloorOp>(patterns, unary<math::FloorOp>);
  add<onnx::CeilOp>(patterns, unary<math::CeilOp>);
  add<onnx::RoundOp>(patterns, unary<math::RoundEvenOp>);
  add<onnx::BitwiseNotOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) {
    return s.bitXor(x[0], s.integer(x[0].getType(), APInt::getAllOnes(64)));
  });
  add<onnx::NotOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.logicalNot(x[0]); });
  add<onnx::ExpOp>(patterns, unary<math::ExpOp>);
  add<onnx::LogOp>(patterns, unary<math::LogOp>);
  // No flags: angles are large, and approximations of them are wrong by more than rounding.
  add<onnx::SinOp>(patterns, exactly<math::SinOp>);
  add<onnx::CosOp>(patterns, exactly<math::CosOp>);
  add<onnx::TanhOp>(patterns, unary<math::TanhOp>);
  // The same holds near the poles and ends of these.
  add<onnx::TanOp>(patterns, exactly<math::TanOp>);
  add<onnx::AsinOp>(patterns, exactly<math::AsinOp>);
  add<onnx::AcosOp>(patterns, exactly<math::AcosOp>);
  add<onnx::AtanOp>(patterns, exactly<math::AtanOp>);
  add<onnx::SinhOp>(patterns, exactly<math::SinhOp>);
  add<onnx::CoshOp>(patterns, exactly<math::CoshOp>);
  add<onnx::AsinhOp>(patterns, exactly<math::AsinhOp>);
  add<onnx::AcoshOp>(patterns, exactly<math::AcoshOp>);
  add<onnx::AtanhOp>(patterns, exactly<math::AtanhOp>);
  add<onnx::SoftsignOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) {
    return s.div(x[0], s.add(s.constant(x[0].getType(), 1), s.abs(x[0])));
  });
  add<onnx::ShrinkOp>(patterns, shrink);
  add<onnx::ErfOp>(patterns, unary<math::ErfOp>);
  add<onnx::SignOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return sign(s, x[0]); });
  add<onnx::GeluOp>(patterns, gelu);
  add<onnx::IsNaNOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) -> Value {
    return arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::UNO, x[0], x[0]);
  });
  add<onnx::IsInfOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) -> Value {
    auto isInf = cast<onnx::IsInfOp>(op);
    Type type = x[0].getType();
    double infinity = std::numeric_limits<double>::infinity();
    Value result = s.constant(s.b.getI1Type(), 0);
    if (isInf.getDetectPositive())
      result = arith::OrIOp::create(s.b, s.loc, result, s.equal(x[0], s.constant(type, infinity)));
    if (isInf.getDetectNegative())
      result = arith::OrIOp::create(s.b, s.loc, result, s.equal(x[0], s.constant(type, -infinity)));
    return result;
  });
  add<onnx::CastOp>(patterns, convert<onnx::CastOp>, /*exact=*/true);
  add<onnx::CastLikeOp>(patterns, convert<onnx::CastLikeOp>, /*exact=*/true);
  add<onnx::BitCastOp>(
      patterns,
      [](ScalarBuilder &s, Operation *op, Scalars x) {
        Type to = getElementTypeOrSelf(op->getResult(0));
        Value bits = s.signless(x[0]);
        if (to.isInteger(1) || bits.getType().isInteger(1)) // a byte of 0 or 1
          return s.cast(x[0], to);
        Type plain = s.b.getIntegerType(to.getIntOrFloatBitWidth());
        if (bits.getType() != plain)
          bits = arith::BitcastOp::create(s.b, s.loc, plain, bits);
        return isa<FloatType>(to) ? arith::BitcastOp::create(s.b, s.loc, to, bits).getResult() : s.as(bits, to);
      },
      /*exact=*/true);
}

template <bool isMax> static Value extreme(ScalarBuilder &s, Operation *, Scalars x) {
  Value result = x[0];
  for (Value other : x.drop_front())
    result = isMax ? s.max(result, other) : s.min(result, other);
  return result;
}

static Value sum(ScalarBuilder &s, Operation *, Scalars x) {
  Value result = x[0];
  for (Value other : x.drop_front())
    result = s.inOrder().add(result, other);
  return result;
}

static void populateBinary(RewritePatternSet &patterns) {
  add<onnx::AddOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.inOrder().add(x[0], x[1]); });
  add<onnx::SubOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.inOrder().sub(x[0], x[1]); });
  add<onnx::MulOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.inOrder().mul(x[0], x[1]); });
  add<onnx::DivOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.inOrder().div(x[0], x[1]); });
  add<onnx::ModOp>(patterns, modulo);
  add<onnx::PowOp>(patterns, power);
  add<onnx::AndOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitAnd(x[0], x[1]); });
  add<onnx::OrOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitOr(x[0], x[1]); });
  add<onnx::XorOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitXor(x[0], x[1]); });
  add<onnx::BitwiseAndOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitAnd(x[0], x[1]); });
  add<onnx::BitwiseOrOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitOr(x[0], x[1]); });
  add<onnx::BitwiseXorOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.bitXor(x[0], x[1]); });
  add<onnx::BitShiftOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    return s.shift(x[0], x[1], cast<onnx::BitShiftOp>(op).getDirection() == "LEFT");
  });
  add<onnx::EqualOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.equal(x[0], x[1]); });
  add<onnx::LessOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.less(x[0], x[1]); });
  add<onnx::GreaterOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.less(x[1], x[0]); });
  add<onnx::LessOrEqualOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) -> Value {
    return arith::OrIOp::create(s.b, s.loc, s.less(x[0], x[1]), s.equal(x[0], x[1]));
  });
  add<onnx::GreaterOrEqualOp>(patterns, [](ScalarBuilder &s, Operation *, Scalars x) -> Value {
    return arith::OrIOp::create(s.b, s.loc, s.less(x[1], x[0]), s.equal(x[0], x[1]));
  });
  add<onnx::PReluOp>(patterns,
                     [](ScalarBuilder &s, Operation *, Scalars x) { return ifNegative(s, x[0], s.mul(x[1], x[0])); });
  add<onnx::MinOp>(patterns, extreme<false>);
  add<onnx::MaxOp>(patterns, extreme<true>);
  add<onnx::SumOp>(patterns, sum);
  add<onnx::MeanOp>(patterns, [](ScalarBuilder &s, Operation *op, Scalars x) {
    return s.div(sum(s, op, x), s.constant(x[0].getType(), x.size()));
  });
  add<onnx::ClipOp>(patterns, clip);
  add<onnx::WhereOp>(
      patterns, [](ScalarBuilder &s, Operation *, Scalars x) { return s.select(x[0], x[1], x[2]); },
      /*exact=*/true);
}

void populateOnnxElementwiseToLinalgPatterns(RewritePatternSet &patterns) {
  populateUnary(patterns);
  populateBinary(patterns);
}

} // namespace caat
