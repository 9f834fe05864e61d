// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace caat {
#define GEN_PASS_DEF_RTAPPROXIMATEMATHPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// exp(x) = 2^n * exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2. Adding 1.5 * 2^23 + 127 rounds to an integer and
/// leaves n + 127 in the low bits, ready to be shifted into the exponent; no fast-math there, it would fold the sum.
/// At most 1 ulp; below -87.3 the result is 1.2e-38, above 88.37 infinity; NaN stays NaN.
struct ExpandExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    auto vector = dyn_cast<VectorType>(type);
    if (!getElementTypeOrSelf(type).isF32() || (vector && vector.isScalable()))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type bits = vector ? Type(vector.clone(b.getI32Type())) : b.getI32Type();
    auto real = [&](float value) -> Value {
      TypedAttr attr = b.getF32FloatAttr(value);
      if (vector)
        attr = DenseElementsAttr::get(vector, value);
      return arith::ConstantOp::create(b, attr);
    };
    auto fma = [&](Value x, Value y, Value z) -> Value { return math::FmaOp::create(b, x, y, z); };

    Value given = op.getOperand(), low = real(-87.3f), high = real(88.37f), x = given;
    // "Not less than" and "not greater than" let NaN through.
    x = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::UGE, x, low), x, low);
    x = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::ULE, x, high), x, high);
    Value shift = real(12583039.0f);
    Value t = fma(x, real(1.44269504f), shift);
    Value n = arith::SubFOp::create(b, t, shift);
    Value r = fma(n, real(2.12194442e-4f), fma(n, real(-0.693359375f), x));
    Value p = real(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
      p = fma(p, r, real(c));
    p = fma(fma(p, r, real(1.0f)), r, real(1.0f));
    TypedAttr places = b.getI32IntegerAttr(23);
    if (vector)
      places = DenseElementsAttr::get(cast<VectorType>(bits), static_cast<int32_t>(23));
    Value exponent =
        arith::ShLIOp::create(b, arith::BitcastOp::create(b, bits, t), arith::ConstantOp::create(b, places));
    Value power = arith::BitcastOp::create(b, type, exponent);
    Value result = arith::MulFOp::create(b, p, power);
    Value overflow = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, given, high);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, overflow, real(std::numeric_limits<float>::infinity()), result);
    return success();
  }
};

/// sin and cos of f32 for targets without a library. The quadrant and the rest, |r| <= pi / 4, are taken in f64, where
/// they are exact enough up to 2^30; then the usual polynomials in f32, at most 2 ulp.
template <typename Op> struct ExpandTrigonometric : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type f32 = b.getF32Type(), f64 = b.getF64Type(), i64 = b.getI64Type();
    auto real = [&](double value) -> Value { return arith::ConstantOp::create(b, b.getFloatAttr(f32, value)); };
    auto wide = [&](double value) -> Value { return arith::ConstantOp::create(b, b.getFloatAttr(f64, value)); };
    auto whole = [&](int64_t value) -> Value { return arith::ConstantOp::create(b, b.getI64IntegerAttr(value)); };
    auto fma = [&](Value x, Value y, Value z) -> Value { return math::FmaOp::create(b, x, y, z); };

    Value x = arith::ExtFOp::create(b, f64, op.getOperand());
    Value n = math::RoundEvenOp::create(b, arith::MulFOp::create(b, x, wide(0.63661977236758134)));
    Value rest = fma(n, wide(-6.123233995736766e-17), fma(n, wide(-1.5707963267948966), x));
    Value r = arith::TruncFOp::create(b, f32, rest), r2 = arith::MulFOp::create(b, r, r);
    Value sine = real(2.7183114939898219e-6);
    for (double c : {-1.9839334836096632e-4, 8.3333293858894632e-3, -1.6666666641626524e-1})
      sine = fma(sine, r2, real(c));
    sine = fma(arith::MulFOp::create(b, sine, r2), r, r);
    Value cosine = real(2.4390448796277409e-5);
    for (double c : {-1.3886763774609929e-3, 4.1666623323739063e-2, -4.9999999725103100e-1, 1.0})
      cosine = fma(cosine, r2, real(c));

    Value quadrant = arith::FPToSIOp::create(b, i64, n);
    if (isa<math::CosOp>(op))
      quadrant = arith::AddIOp::create(b, quadrant, whole(1));
    auto bit = [&](int64_t value) -> Value {
      return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, arith::AndIOp::create(b, quadrant, whole(value)),
                                   whole(0));
    };
    Value result = arith::SelectOp::create(b, bit(1), cosine, sine);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, bit(2), arith::NegFOp::create(b, result), result);
    return success();
  }
};

struct ApproximateMathPass : caat::impl::RTApproximateMathPassBase<ApproximateMathPass> {
  using RTApproximateMathPassBase::RTApproximateMathPassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExp>(&getContext(), /*benefit=*/2);
    auto polynomial = [](StringRef name) { return name != "math.sin" && name != "math.cos"; };
    populateMathPolynomialApproximationPatterns(patterns, polynomial);
    if (trigonometric)
      patterns.add<ExpandTrigonometric<math::SinOp>, ExpandTrigonometric<math::CosOp>>(&getContext());
    if (bfloat16)
      arith::populateExpandBFloat16Patterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
