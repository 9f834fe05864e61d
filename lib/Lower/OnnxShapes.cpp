// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that make tensors of sizes and bounds, or sizes of tensors: Range, ConstantOfShape, Shape and Size.
#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/ShapeFacts.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

struct RangePattern : OpRewritePattern<onnx::RangeOp> {
  RangePattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  LogicalResult matchAndRewrite(onnx::RangeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    Type element = type.getElementType(), compute = computeType(element);
    auto bound = [&](Value tensor) {
      Value known = splatScalar(s, tensor, compute);
      if (!known)
        if (auto elements = tensor.getDefiningOp<tensor::FromElementsOp>())
          known = s.cast(elements.getElements()[0], compute);
      return known ? known : s.cast(scalarOf(s, tensor), compute);
    };
    Value start = bound(op.getStart()), delta = bound(op.getDelta());
    if (!matchPattern(delta, m_Constant()))
      checkAtRunTime(s, op, s.logicalNot(s.equal(delta, s.constant(compute, 0))), "the step is 0");
    Dims dims = resultSizes(facts, op, type, rewriter, [&]() -> Dims {
      Value span = s.sub(bound(op.getLimit()), start), count;
      if (isa<FloatType>(compute))
        count = s.cast(
            math::CeilOp::create(rewriter, op.getLoc(), arith::DivFOp::create(rewriter, op.getLoc(), span, delta)),
            rewriter.getI64Type());
      else
        count = arith::CeilDivSIOp::create(rewriter, op.getLoc(), span, delta);
      count = s.cast(count, rewriter.getIndexType());
      return {arith::MaxSIOp::create(rewriter, op.getLoc(), count, s.index(0)).getResult()};
    });
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) {
                         return in.cast(in.add(start, in.mul(in.cast(at[0], compute), delta)), element);
                       }));
    return success();
  }

  const ShapeFacts *facts;
};

struct ConstantOfShapePattern : OpRewritePattern<onnx::ConstantOfShapeOp> {
  ConstantOfShapePattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  LogicalResult matchAndRewrite(onnx::ConstantOfShapeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    Dims dims = resultSizes(facts, op, type, rewriter, [&] { return indexElements(s, op.getInput()); });
    Value element = s.constant(type.getElementType(), 0);
    if (auto value = op.getValueAttr()) {
      auto scalar = dyn_cast<TypedAttr>(*value.value_begin<Attribute>());
      if (!scalar)
        return rewriter.notifyMatchFailure(op, "value is no number");
      if (auto integer = dyn_cast<IntegerAttr>(scalar))
        element = s.integer(type.getElementType(), integer.getValue());
      else
        element = arith::ConstantOp::create(rewriter, op.getLoc(), scalar);
    }
    rewriter.replaceOp(op, castTo(s, filled(s, dims, element), type));
    return success();
  }

  const ShapeFacts *facts;
};

struct ShapePattern : OpRewritePattern<onnx::ShapeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ShapeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t rank = tensorType(op.getData()).getRank();
    int64_t start = std::clamp<int64_t>(normalizeAxis(op.getStart(), rank), 0, rank);
    int64_t end = op.getEnd() ? std::clamp<int64_t>(normalizeAxis(*op.getEnd(), rank), 0, rank) : rank;
    SmallVector<Value> elements;
    for (int64_t i = start; i < end; ++i)
      elements.push_back(s.cast(s.value(dimOf(s, op.getData(), i)), rewriter.getI64Type()));
    rewriter.replaceOpWithNewOp<tensor::FromElementsOp>(op, op.getShape().getType(), elements);
    return success();
  }
};

struct SizePattern : OpRewritePattern<onnx::SizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SizeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    Value size = s.cast(s.value(s.product(dimsOf(s, op.getData()))), rewriter.getI64Type());
    rewriter.replaceOpWithNewOp<tensor::FromElementsOp>(op, op.getSize().getType(), size);
    return success();
  }
};

} // namespace

void populateOnnxShapesToLinalgPatterns(RewritePatternSet &patterns, const ShapeFacts *facts) {
  patterns.add<RangePattern, ConstantOfShapePattern>(patterns.getContext(), facts);
  patterns.add<ShapePattern, SizePattern>(patterns.getContext());
}

} // namespace caat
