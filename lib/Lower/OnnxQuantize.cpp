// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// QuantizeLinear and DequantizeLinear: per tensor, per slice of an axis, or in blocks along it.
#include "lib/Lower/MiniFloat.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

/// The scale or zero point of the element that the innermost loops are at, for x of `rank` dimensions.
static Value readParameter(ScalarBuilder &s, Value parameter, int64_t rank, int64_t axis, int64_t block) {
  auto type = tensorType(parameter);
  auto index = [&](int64_t dim) -> Value { return linalg::IndexOp::create(s.b, s.loc, dim); };
  SmallVector<Value> at;
  if (type.getRank() == 1) {
    at.push_back(type.getDimSize(0) == 1 ? s.index(0) : index(axis));
  } else if (type.getRank() == rank) {
    for (int64_t i = 0; i < rank; ++i)
      at.push_back(index(i));
    if (rank && block)
      at[axis] = arith::DivUIOp::create(s.b, s.loc, at[axis], s.index(block));
  }
  return tensor::ExtractOp::create(s.b, s.loc, parameter, at);
}

/// Whether readParameter() needs the axis, which may be anything where it does not.
static bool needsAxis(Value parameter, int64_t block) {
  auto type = tensorType(parameter);
  return type.getRank() == 1 ? type.getDimSize(0) != 1 : type.getRank() > 1 && block != 0;
}

/// The smallest and largest integer of a type, as floats.
static std::pair<double, double> rangeOf(IntegerType type) {
  int width = type.getWidth();
  if (type.isUnsigned())
    return {0, std::ldexp(1.0, width) - 1};
  return {-std::ldexp(1.0, width - 1), std::ldexp(1.0, width - 1) - 1};
}

namespace {

struct DequantizePattern : OpRewritePattern<onnx::DequantizeLinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::DequantizeLinearOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Type compute = computeType(type.getElementType());
    if ((axis < 0 || axis >= rank) && needsAxis(op.getXScale(), op.getBlockSize()))
      return rewriter.notifyMatchFailure(op, "axis is outside of the rank");
    auto body = [&](ScalarBuilder &in, Scalars x) {
      auto read = [&](Value parameter) {
        return in.cast(readParameter(in, parameter, rank, axis, op.getBlockSize()), compute);
      };
      Value result = in.cast(x[0], compute);
      if (op.getXZeroPoint())
        result = in.sub(result, read(op.getXZeroPoint()));
      return in.mul(result, read(op.getXScale()));
    };
    rewriter.replaceOp(op, elementwise(s, type, dimsOf(s, op.getX()), op.getX(), body));
    return success();
  }
};

struct QuantizePattern : OpRewritePattern<onnx::QuantizeLinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::QuantizeLinearOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Type element = type.getElementType();
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Type compute = rewriter.getF32Type();
    if ((axis < 0 || axis >= rank) && needsAxis(op.getYScale(), op.getBlockSize()))
      return rewriter.notifyMatchFailure(op, "axis is outside of the rank");
    auto body = [&](ScalarBuilder &in, Scalars x) {
      auto read = [&](Value parameter) {
        return in.cast(readParameter(in, parameter, rank, axis, op.getBlockSize()), compute);
      };
      // No flags on the division: a reciprocal would round some halves the other way.
      Value scaled = arith::DivFOp::create(in.b, in.loc, in.cast(x[0], compute), read(op.getYScale()));
      bool isFloat = isa<FloatType>(element);
      Value result = isFloat ? scaled : math::RoundEvenOp::create(in.b, in.loc, scaled).getResult();
      if (op.getYZeroPoint())
        result = in.add(result, read(op.getYZeroPoint()));
      if (auto floatType = dyn_cast<FloatType>(element))
        return narrowToMiniFloat(in, result, floatType, {op.getSaturate() != 0, "nearest"});
      auto [low, high] = rangeOf(cast<IntegerType>(element));
      result = in.min(in.max(result, in.constant(compute, low)), in.constant(compute, high));
      return in.cast(result, element);
    };
    rewriter.replaceOp(op, elementwise(s, type, dimsOf(s, op.getX()), op.getX(), body));
    return success();
  }
};

} // namespace

void populateOnnxQuantizeToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<DequantizePattern, QuantizePattern>(patterns.getContext());
}

} // namespace caat
