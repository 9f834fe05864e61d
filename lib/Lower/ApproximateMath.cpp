// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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

struct ApproximateMathPass : caat::impl::RTApproximateMathPassBase<ApproximateMathPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExp>(&getContext(), /*benefit=*/2);
    auto polynomial = [](StringRef name) { return name != "math.sin" && name != "math.cos"; };
    populateMathPolynomialApproximationPatterns(patterns, polynomial);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
