// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Normalisations: one generic per row reduction and one for the rest, so that a kernel former can fuse them by rows
// with what comes before and after. Statistics are f32 (f64 for f64).
#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/SoftmaxRows.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

/// The number of elements in dims [axis, rank), as a scalar of `type`.
static Value countFrom(ScalarBuilder s, ArrayRef<OpFoldResult> dims, int64_t axis, Type type) {
  OpFoldResult count = s.product(dims.drop_front(axis));
  if (auto constant = getConstantIntValue(count))
    return s.constant(type, *constant);
  return s.cast(s.value(count), type);
}

/// The map that reads a row statistic [dims before axis] in a loop nest over all `rank` dims.
static AffineMap rowMap(int64_t rank, int64_t axis, MLIRContext *context) {
  if (axis == 0) // of no results, which getMajorSubMap does not make
    return AffineMap::get(rank, 0, context);
  return AffineMap::getMultiDimIdentityMap(rank, context).getMajorSubMap(axis);
}

/// mean(body(x)) over dims [axis, rank): the sum only; the division joins the consumer.
static Value rowSum(ScalarBuilder s, ValueRange inputs, ArrayRef<AffineMap> maps, ArrayRef<OpFoldResult> dims,
                    int64_t axis, Type compute, ScalarFn body) {
  auto axes = llvm::to_vector(llvm::seq<int64_t>(axis, dims.size()));
  return reduce(s, inputs, maps, dims, axes, s.constant(compute, 0),
                [&](ScalarBuilder &in, Scalars x) { return in.add(x.back(), body(in, x.drop_back())); });
}

static Value rsqrt(ScalarBuilder &s, Value x) { return math::RsqrtOp::create(s.b, s.loc, x, kFastMath); }

namespace {

struct RMSNormalizationPattern : OpRewritePattern<onnx::RMSNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::RMSNormalizationOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    Value x = op.getX();
    auto type = tensorType(x), resultType = tensorType(op.getY());
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Type compute = computeType(type.getElementType());
    Dims dims = dimsOf(s, x);
    AffineMap identity = rewriter.getMultiDimIdentityMap(rank), row = rowMap(rank, axis, rewriter.getContext());
    Value squares =
        rowSum(s, x, identity, dims, axis, compute, [](ScalarBuilder &in, Scalars v) { return in.mul(v[0], v[0]); });
    Value count = countFrom(s, dims, axis, compute);
    double epsilon = op.getEpsilon().convertToDouble();
    Value result =
        mapped(s, resultType, dims, {x, squares, op.getScale()},
               {identity, row, broadcastMap(tensorType(op.getScale()), type)}, [&](ScalarBuilder &in, Scalars v) {
                 Value mean = in.div(v[1], count);
                 Value inverse = rsqrt(in, in.add(mean, in.constant(compute, epsilon)));
                 return in.mul(in.mul(v[0], inverse), in.cast(v[2], compute));
               });
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct LayerNormalizationPattern : OpRewritePattern<onnx::LayerNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LayerNormalizationOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    Value x = op.getX();
    auto type = tensorType(x);
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Type compute = computeType(type.getElementType());
    Dims dims = dimsOf(s, x);
    MLIRContext *context = rewriter.getContext();
    AffineMap identity = rewriter.getMultiDimIdentityMap(rank), row = rowMap(rank, axis, context);
    Value count = countFrom(s, dims, axis, compute);
    Value epsilon = s.constant(compute, op.getEpsilon().convertToDouble());
    // Two sweeps: the variance as the mean of squares less the squared mean would lose digits.
    Value sum = rowSum(s, x, identity, dims, axis, compute, [](ScalarBuilder &, Scalars v) { return v[0]; });
    Value squares = rowSum(s, {x, sum}, {identity, row}, dims, axis, compute, [&](ScalarBuilder &in, Scalars v) {
      Value centred = in.sub(v[0], in.div(v[1], count));
      return in.mul(centred, centred);
    });
    SmallVector<Value> inputs = {x, sum, squares, op.getScale()};
    SmallVector<AffineMap> maps = {identity, row, row, broadcastMap(tensorType(op.getScale()), type)};
    if (op.getB()) {
      inputs.push_back(op.getB());
      maps.push_back(broadcastMap(tensorType(op.getB()), type));
    }
    Value y = mapped(s, tensorType(op.getY()), dims, inputs, maps, [&](ScalarBuilder &in, Scalars v) {
      Value centred = in.sub(v[0], in.div(v[1], count));
      Value scaled = in.mul(in.mul(centred, rsqrt(in, in.add(in.div(v[2], count), epsilon))), in.cast(v[3], compute));
      return v.size() > 4 ? in.add(scaled, in.cast(v[4], compute)) : scaled;
    });
    SmallVector<Value> results = {y};
    auto statistic = [&](Value result, Value source, ScalarFn body) {
      if (!result)
        return;
      auto resultType = tensorType(result);
      Dims resultDims(dims);
      for (int64_t i = axis; i < rank; ++i)
        resultDims[i] = rewriter.getIndexAttr(1);
      results.push_back(mapped(s, resultType, resultDims, source, row, body));
    };
    statistic(op.getMean(), sum, [&](ScalarBuilder &in, Scalars v) { return in.div(v[0], count); });
    statistic(op.getInvStdDev(), squares,
              [&](ScalarBuilder &in, Scalars v) { return rsqrt(in, in.add(in.div(v[0], count), epsilon)); });
    rewriter.replaceOp(op, results);
    return success();
  }
};

/// Softmax by rows, as one kernel, along the last axis; another axis is transposed to the end.
template <typename OpTy, bool isLog> struct SoftmaxPattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getInput());
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    auto perm = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    std::swap(perm[axis], perm[rank - 1]); // its own inverse
    Value input = transposed(s, op.getInput(), perm);
    Dims dims = dimsOf(s, input);
    Dims lines(dims.begin(), dims.end() - 1);
    Value init = empty(s, dims, type.getElementType());
    SoftmaxRow options;
    options.isLog = isLog;
    Value result = forEachRow(s, s.product(lines), init, [&](ScalarBuilder &in, Value row, ValueRange outs) {
      SmallVector<Value> at = delinearize(in, row, lines);
      Dims offsets(at.begin(), at.end()), sizes(rank - 1, in.b.getIndexAttr(1));
      offsets.push_back(in.b.getIndexAttr(0));
      sizes.push_back(dims.back());
      Value source = slice(in, input, offsets, sizes, rank - 1), dest = slice(in, outs[0], offsets, sizes, rank - 1);
      return SmallVector<RowPiece>{{softmaxRow(in, source, dest, options), offsets, sizes}};
    })[0];
    rewriter.replaceOp(op, castTo(s, transposed(s, result, perm), op.getOutput().getType()));
    return success();
  }
};

/// GroupNormalization as [N, groups, rest], with scale and bias by channel.
struct GroupNormalizationPattern : OpRewritePattern<onnx::GroupNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GroupNormalizationOp op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getX());
    int64_t rank = type.getRank(), groups = op.getNumGroups();
    if (type.isDynamicDim(1))
      return rewriter.notifyMatchFailure(op, "the number of channels is not static");
    ScalarBuilder s{rewriter, op.getLoc()};
    OpFoldResult groupCount = rewriter.getIndexAttr(groups),
                 perGroup = rewriter.getIndexAttr(type.getDimSize(1) / groups);
    Value x = expanded(s, op.getX(), 1, {groupCount, perGroup}); // [N, groups, channels of a group, ...]
    auto wide = tensorType(x);
    Dims dims = dimsOf(s, x);
    Type compute = computeType(type.getElementType());
    MLIRContext *context = rewriter.getContext();
    AffineMap identity = rewriter.getMultiDimIdentityMap(rank + 1), row = rowMap(rank + 1, 2, context);
    AffineMap channel =
        AffineMap::get(rank + 1, 0, {rewriter.getAffineDimExpr(1), rewriter.getAffineDimExpr(2)}, context);
    Value count = countFrom(s, dims, 2, compute);
    double epsilon = op.getEpsilon().convertToDouble();
    Value sum = rowSum(s, x, identity, dims, 2, compute, [](ScalarBuilder &, Scalars v) { return v[0]; });
    Value squares = rowSum(s, {x, sum}, {identity, row}, dims, 2, compute, [&](ScalarBuilder &in, Scalars v) {
      Value centred = in.sub(v[0], in.div(v[1], count));
      return in.mul(centred, centred);
    });
    Value scale = expanded(s, op.getScale(), 0, {groupCount, perGroup});
    Value bias = expanded(s, op.getBias(), 0, {groupCount, perGroup});
    Value y = mapped(s, wide, dims, {x, sum, squares, scale, bias}, {identity, row, row, channel, channel},
                     [&](ScalarBuilder &in, Scalars v) {
                       Value centred = in.sub(v[0], in.div(v[1], count));
                       Value inverse = rsqrt(in, in.add(in.div(v[2], count), in.constant(compute, epsilon)));
                       return in.fma(in.mul(centred, inverse), v[3], v[4]);
                     });
    rewriter.replaceOp(op, castTo(s, collapsed(s, y, 1, 3), op.getY().getType()));
    return success();
  }
};

} // namespace

void populateOnnxNormalizationToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<RMSNormalizationPattern, LayerNormalizationPattern, SoftmaxPattern<onnx::SoftmaxOp, false>,
               SoftmaxPattern<onnx::LogSoftmaxOp, true>, GroupNormalizationPattern>(patterns.getContext());
}

} // namespace caat
