// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AveragePool, LpPool and MaxPool as one generic whose body walks the window of its element.
#include "lib/Lower/Window.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

/// What is carried over a window, and what comes of it. `step` sees the state, an element, whether it is none of the
/// padding, and its indices.
struct PoolKind {
  SmallVector<Value> init;
  std::function<SmallVector<Value>(ScalarBuilder &, ValueRange state, Value x, Value inside, ValueRange at)> step;
  std::function<Value(ScalarBuilder &, ValueRange state)> result;
};

/// The pooled tensor of `type`. Elements are computed in computeType; those of the padding read as anything.
Value pooled(ScalarBuilder s, Value x, RankedTensorType type, const Window &window, bool ceil, const PoolKind &kind) {
  Dims input = dimsOf(s, x), dims = {input[0], input[1]};
  for (int64_t i = 0; i < window.rank(); ++i)
    dims.push_back(windowCount(s, window, i, input[i + 2], ceil));
  Type compute = computeType(tensorType(x).getElementType());
  SmallVector<Value> lower(window.rank(), s.index(0)), upper, steps(window.rank(), s.index(1));
  for (OpFoldResult size : window.kernel)
    upper.push_back(s.value(size));
  return indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
    auto walk = [&](OpBuilder &b, Location loc, ValueRange k, ValueRange state) -> scf::ValueVector {
      ScalarBuilder body{b, loc};
      SmallVector<Value> from = {at[0], at[1]};
      Value inside = body.constant(b.getI1Type(), 1);
      for (int64_t i = 0; i < window.rank(); ++i) {
        Value place = windowPlace(body, window, i, at[i + 2], k[i]), size = body.value(input[i + 2]);
        Value valid = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, place, size);
        inside = body.bitAnd(inside, valid);
        from.push_back(body.select(valid, place, body.index(0)));
      }
      Value element = body.cast(tensor::ExtractOp::create(b, loc, x, from), compute);
      SmallVector<Value> next = kind.step(body, state, element, inside, from);
      return scf::ValueVector(next.begin(), next.end());
    };
    auto nest = scf::buildLoopNest(in.b, in.loc, lower, upper, steps, kind.init, walk);
    return in.cast(kind.result(in, nest.results), type.getElementType());
  });
}

template <typename Op> Window poolWindow(ScalarBuilder &s, Op op) {
  Dims kernel =
      llvm::map_to_vector(op.getKernelShape(), [&](int64_t size) -> OpFoldResult { return s.b.getIndexAttr(size); });
  return windowOf(s, op, ArrayRef(dimsOf(s, op.getX())).drop_front(2), kernel);
}

struct AveragePoolPattern : OpRewritePattern<onnx::AveragePoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::AveragePoolOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Type compute = computeType(type.getElementType());
    Window window = poolWindow(s, op);
    Value zero = s.constant(compute, 0), one = s.constant(compute, 1);
    Dims input = dimsOf(s, op.getX()), dims = {input[0], input[1]};
    PoolKind kind = {{zero, zero},
                     [&](ScalarBuilder &in, ValueRange state, Value x, Value inside, ValueRange) {
                       return SmallVector<Value>{in.add(state[0], in.select(inside, x, zero)),
                                                 in.add(state[1], in.select(inside, one, zero))};
                     },
                     [&](ScalarBuilder &in, ValueRange state) { return in.div(state[0], state[1]); }};
    if (!op.getCountIncludePad()) {
      rewriter.replaceOp(op, pooled(s, op.getX(), type, window, op.getCeilMode(), kind));
      return success();
    }
    // The padding counts as zeros, but not what a window reaches beyond it.
    auto counted = [&](ScalarBuilder &in, ValueRange state) {
      Value count = one;
      for (int64_t i = 0; i < window.rank(); ++i) {
        Value position = linalg::IndexOp::create(in.b, in.loc, i + 2);
        Value first = in.mul(position, in.index(window.strides[i]));
        Value end = in.value(in.add(in.add(input[i + 2], window.padBefore[i]), window.padAfter[i]));
        Value room = arith::CeilDivSIOp::create(in.b, in.loc, in.sub(end, first), in.index(window.dilations[i]));
        count = in.mul(count, in.cast(in.min(room, in.value(window.kernel[i])), compute));
      }
      return in.div(state[0], count);
    };
    kind.result = counted;
    rewriter.replaceOp(op, pooled(s, op.getX(), type, window, op.getCeilMode(), kind));
    return success();
  }
};

struct LpPoolPattern : OpRewritePattern<onnx::LpPoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LpPoolOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Type compute = computeType(type.getElementType());
    int64_t p = op.getP();
    Value zero = s.constant(compute, 0);
    auto power = [&](ScalarBuilder &in, Value x) -> Value {
      return p == 1   ? in.abs(x)
             : p == 2 ? in.mul(x, x)
                      : math::PowFOp::create(in.b, in.loc, in.abs(x), in.constant(compute, p)).getResult();
    };
    auto root = [&](ScalarBuilder &in, ValueRange state) -> Value {
      if (p == 1)
        return state[0];
      if (p == 2)
        return math::SqrtOp::create(in.b, in.loc, state[0], kFastMath);
      return math::PowFOp::create(in.b, in.loc, state[0], in.constant(compute, 1.0 / p));
    };
    PoolKind kind = {{zero},
                     [&](ScalarBuilder &in, ValueRange state, Value x, Value inside, ValueRange) {
                       return SmallVector<Value>{in.add(state[0], in.select(inside, power(in, x), zero))};
                     },
                     root};
    rewriter.replaceOp(op, pooled(s, op.getX(), type, poolWindow(s, op), op.getCeilMode(), kind));
    return success();
  }
};

struct MaxPoolPattern : OpRewritePattern<onnx::MaxPoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MaxPoolOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Window window = poolWindow(s, op);
    Dims input = dimsOf(s, op.getX());
    Value lowest = extremeInit(s, computeType(type.getElementType()), /*isMax=*/true);
    // The place of an element in the flattened input.
    auto placeOf = [&](ScalarBuilder &in, ValueRange at) {
      Value place = in.add(in.mul(at[0], in.value(input[1])), at[1]);
      for (int64_t i = 0; i < window.rank(); ++i) {
        int64_t dim = 2 + (op.getStorageOrder() ? window.rank() - 1 - i : i);
        place = in.add(in.mul(place, in.value(input[dim])), at[dim]);
      }
      return place;
    };
    auto step = [&](ScalarBuilder &in, ValueRange state, Value x, Value inside, ValueRange at) {
      Value better = in.bitAnd(inside, in.less(state[0], x));
      return SmallVector<Value>{in.select(better, x, state[0]), in.select(better, placeOf(in, at), state[1])};
    };
    auto value = [](ScalarBuilder &, ValueRange state) { return state[0]; };
    auto place = [](ScalarBuilder &, ValueRange state) { return state[1]; };
    PoolKind kind = {{lowest, s.index(0)}, step, value};
    SmallVector<Value> results = {pooled(s, op.getX(), type, window, op.getCeilMode(), kind)};
    if (Value indices = op.getIndices()) {
      kind.result = place;
      results.push_back(indices.use_empty()
                            ? empty(s, dimsOf(s, results[0]), rewriter.getI64Type())
                            : pooled(s, op.getX(), tensorType(indices), window, op.getCeilMode(), kind));
      results[1] = castTo(s, results[1], indices.getType());
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

} // namespace

void populateOnnxPoolingToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<AveragePoolPattern, LpPoolPattern, MaxPoolPattern>(patterns.getContext());
}

} // namespace caat
