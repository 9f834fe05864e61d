// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reductions along axes, ArgMax and ArgMin, running sums and TopK.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

/// The maximum or minimum of a reduction: with nnan, which LLVM needs to vectorize it.
template <bool isMax> static Value extreme(ScalarBuilder &s, Value x, Value y) {
  if (!isa<FloatType>(x.getType()))
    return isMax ? s.max(x, y) : s.min(x, y);
  return isMax ? arith::MaxNumFOp::create(s.b, s.loc, x, y, kMaxFastMath).getResult()
               : arith::MinNumFOp::create(s.b, s.loc, x, y, kMaxFastMath).getResult();
}

Value lower::extremeInit(ScalarBuilder &s, Type type, bool isMax) {
  if (isa<FloatType>(type)) {
    double infinity = std::numeric_limits<double>::infinity();
    return s.constant(type, isMax ? -infinity : infinity);
  }
  unsigned width = type.getIntOrFloatBitWidth();
  if (width == 1 || type.isUnsignedInteger())
    return s.integer(type, isMax ? APInt::getMinValue(width) : APInt::getMaxValue(width));
  return s.integer(type, isMax ? APInt::getSignedMinValue(width) : APInt::getSignedMaxValue(width));
}

/// The axes of a Reduce op, sorted; nullopt if they are not constant.
template <typename OpTy> static std::optional<SmallVector<int64_t>> axesOf(OpTy op, int64_t rank) {
  SmallVector<int64_t> axes;
  if (op.getAxes()) {
    auto constant = constantInts(op.getAxes());
    if (!constant)
      return std::nullopt;
    axes = *constant;
  }
  if (axes.empty() && !op.getNoopWithEmptyAxes())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  for (int64_t &axis : axes)
    axis = normalizeAxis(axis, rank);
  llvm::sort(axes);
  return axes;
}

namespace {

struct Reduction {
  Value (*before)(ScalarBuilder &, Value);         // of each element; may be null
  Value (*combine)(ScalarBuilder &, Value, Value); // element, accumulator
  Value (*init)(ScalarBuilder &, Type);
  Value (*after)(ScalarBuilder &, Value, Value); // of the result; second: number of elements reduced; may be null
};

template <typename OpTy> struct ReducePattern : OpRewritePattern<OpTy> {
  ReducePattern(MLIRContext *context, Reduction reduction) : OpRewritePattern<OpTy>(context), reduction(reduction) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getData()), resultType = tensorType(op.getReduced());
    auto axes = axesOf(op, type.getRank());
    if (!axes)
      return rewriter.notifyMatchFailure(op, "axes are not constant");
    ScalarBuilder s{rewriter, op.getLoc()};
    Type element = type.getElementType(), compute = computeType(element);
    Dims dims = dimsOf(s, op.getData());
    Value accumulator = reduction.init(s, compute);
    AffineMap identity = rewriter.getMultiDimIdentityMap(type.getRank());
    Value reduced = reduce(s, op.getData(), identity, dims, *axes, accumulator, [&](ScalarBuilder &in, Scalars x) {
      return reduction.combine(in, reduction.before ? reduction.before(in, x[0]) : x[0], x[1]);
    });
    if (reduction.after || compute != element) {
      Dims reducedDims;
      for (int64_t axis : *axes)
        reducedDims.push_back(dims[axis]);
      Value count = s.cast(s.value(s.product(reducedDims)), compute);
      auto elementType = RankedTensorType::get(tensorType(reduced).getShape(), element);
      reduced = elementwise(s, elementType, dimsOf(s, reduced), reduced, [&](ScalarBuilder &in, Scalars x) {
        return reduction.after ? reduction.after(in, x[0], count) : x[0];
      });
    }
    if (op.getKeepdims() && !axes->empty())
      reduced = unsqueezed(s, reduced, *axes);
    rewriter.replaceOp(op, castTo(s, reduced, resultType));
    return success();
  }

  Reduction reduction;
};

/// ArgMax and ArgMin: one reduction that carries the best value and its index.
template <typename OpTy, bool isMax> struct ArgReducePattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getData());
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Dims kept = dimsOf(s, op.getData());
    kept.erase(kept.begin() + axis);
    SmallVector<AffineExpr> exprs;
    SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
    iterators[axis] = utils::IteratorType::reduction;
    for (int64_t i = 0; i < rank; ++i)
      if (i != axis)
        exprs.push_back(rewriter.getAffineDimExpr(i));
    AffineMap out = AffineMap::get(rank, 0, exprs, rewriter.getContext());
    Type i64 = rewriter.getI64Type();
    Value best = filled(s, kept, extremeInit(s, type.getElementType(), isMax)),
          at = filled(s, kept, s.constant(i64, 0));
    auto generic = linalg::GenericOp::create(
        rewriter, op.getLoc(), TypeRange{best.getType(), at.getType()}, op.getData(), ValueRange{best, at},
        {rewriter.getMultiDimIdentityMap(rank), out, out}, iterators,
        [&](OpBuilder &inner, Location loc, ValueRange args) {
          ScalarBuilder in{inner, loc};
          Value better = isMax ? in.less(args[1], args[0]) : in.less(args[0], args[1]);
          if (op.getSelectLastIndex())
            better = arith::OrIOp::create(inner, loc, better, in.equal(args[0], args[1]));
          Value index = in.cast(linalg::IndexOp::create(inner, loc, axis), i64);
          Value value = in.select(better, args[0], args[1]);
          linalg::YieldOp::create(inner, loc, ValueRange{value, in.select(better, index, args[2])});
        });
    Value result = op.getKeepdims() ? unsqueezed(s, generic.getResult(1), axis) : generic.getResult(1);
    rewriter.replaceOp(op, castTo(s, result, op.getReduced().getType()));
    return success();
  }
};

/// CumSum and CumProd: one row of the forall is one line along `axis`, joined in order.
template <typename OpTy, bool isSum> struct CumulativePattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getX());
    Type compute = computeType(type.getElementType());
    auto axes = constantInts(op.getAxis());
    if (!axes || axes->size() != 1)
      return rewriter.notifyMatchFailure(op, "axis is not constant");
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t rank = type.getRank(), axis = normalizeAxis(axes->front(), rank);
    if (axis < 0 || axis >= rank)
      return rewriter.notifyMatchFailure(op, "axis is outside of the rank");
    Dims dims = dimsOf(s, op.getX()), lines = dims;
    lines[axis] = rewriter.getIndexAttr(1);
    Value length = s.value(dims[axis]);
    Value init = empty(s, dims, type.getElementType());
    auto results = forEachRow(s, s.product(lines), init, [&](ScalarBuilder &in, Value row, ValueRange outs) {
      SmallVector<Value> at = delinearize(in, row, lines);
      Dims offsets(at.begin(), at.end());
      offsets[axis] = in.b.getIndexAttr(0);
      Dims sizes = dims;
      for (int64_t i = 0; i < rank; ++i)
        if (i != axis)
          sizes[i] = in.b.getIndexAttr(1);
      Value line = slice(in, outs[0], offsets, sizes);
      Value neutral = in.constant(compute, isSum ? 0 : 1);
      auto loop =
          scf::ForOp::create(in.b, in.loc, in.index(0), length, in.index(1), ValueRange{line, neutral},
                             [&](OpBuilder &b, Location loc, Value i, ValueRange state) {
                               ScalarBuilder body{b, loc};
                               Value position = op.getReverse() ? body.sub(body.sub(length, body.index(1)), i) : i;
                               SmallVector<Value> from(at), to(rank, body.index(0));
                               from[axis] = to[axis] = position;
                               Value x = body.cast(tensor::ExtractOp::create(b, loc, op.getX(), from), compute);
                               Value total = isSum ? body.add(state[1], x) : body.mul(state[1], x);
                               Value stored = body.cast(op.getExclusive() ? state[1] : total, type.getElementType());
                               Value next = tensor::InsertOp::create(b, loc, stored, state[0], to);
                               scf::YieldOp::create(b, loc, ValueRange{next, total});
                             });
      return SmallVector<RowPiece>{{loop.getResult(0), offsets, sizes}};
    });
    rewriter.replaceOp(op, castTo(s, results[0], op.getY().getType()));
    return success();
  }
};

/// TopK by insertion into the sorted list of the best found, a row of the forall per line along `axis`.
struct TopKPattern : OpRewritePattern<onnx::TopKOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TopKOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getX());
    int64_t rank = type.getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Dims dims = dimsOf(s, op.getX()), lines = dims, sizes(rank, rewriter.getIndexAttr(1));
    lines[axis] = rewriter.getIndexAttr(1);
    Dims resultDims = dims;
    sizes[axis] = resultDims[axis] = indexElements(s, op.getK())[0];
    Value length = s.value(dims[axis]), k = s.value(sizes[axis]);
    Type element = type.getElementType(), i64 = rewriter.getI64Type();
    Value values = empty(s, resultDims, element), indices = empty(s, resultDims, i64);
    bool largest = op.getLargest();
    auto results =
        forEachRow(s, s.product(lines), {values, indices}, [&](ScalarBuilder &in, Value row, ValueRange outs) {
          SmallVector<Value> at = delinearize(in, row, lines);
          Dims offsets(at.begin(), at.end());
          offsets[axis] = in.b.getIndexAttr(0);
          Value valueLine = slice(in, outs[0], offsets, sizes), indexLine = slice(in, outs[1], offsets, sizes);
          auto place = [&](ScalarBuilder &body, Value i) {
            SmallVector<Value> to(rank, body.index(0));
            to[axis] = i;
            return to;
          };
          Value zero = in.index(0), one = in.index(1);
          auto overElements = [&](OpBuilder &b, Location loc, Value i, ValueRange lists) {
            ScalarBuilder body{b, loc};
            SmallVector<Value> from(at);
            from[axis] = i;
            Value x = tensor::ExtractOp::create(b, loc, op.getX(), from);
            Value count = body.min(i, k); // so many are in the lists
            // Insert x: from the first worse one on, each element moves down by one (so that equal ones keep their
            // order).
            Value notYet = body.constant(b.getI1Type(), 0);
            auto bubble = scf::ForOp::create(
                b, loc, zero, count, one, ValueRange{lists[0], lists[1], x, body.cast(i, i64), notYet},
                [&](OpBuilder &b2, Location loc2, Value j, ValueRange state) {
                  ScalarBuilder step{b2, loc2};
                  auto to = place(step, j);
                  Value there = tensor::ExtractOp::create(b2, loc2, state[0], to);
                  Value thereAt = tensor::ExtractOp::create(b2, loc2, state[1], to);
                  Value better = largest ? step.less(there, state[2]) : step.less(state[2], there);
                  better = arith::OrIOp::create(b2, loc2, better, state[4]);
                  Value list = tensor::InsertOp::create(b2, loc2, step.select(better, state[2], there), state[0], to);
                  Value listAt =
                      tensor::InsertOp::create(b2, loc2, step.select(better, state[3], thereAt), state[1], to);
                  scf::YieldOp::create(b2, loc2,
                                       ValueRange{list, listAt, step.select(better, there, state[2]),
                                                  step.select(better, thereAt, state[3]), better});
                });
            Value room = body.less(count, k);
            auto append = scf::IfOp::create(
                b, loc, room,
                [&](OpBuilder &b2, Location loc2) {
                  ScalarBuilder step{b2, loc2};
                  auto to = place(step, count);
                  Value list = tensor::InsertOp::create(b2, loc2, bubble.getResult(2), bubble.getResult(0), to);
                  Value listAt = tensor::InsertOp::create(b2, loc2, bubble.getResult(3), bubble.getResult(1), to);
                  scf::YieldOp::create(b2, loc2, ValueRange{list, listAt});
                },
                [&](OpBuilder &b2, Location loc2) {
                  scf::YieldOp::create(b2, loc2, bubble.getResults().take_front(2));
                });
            scf::YieldOp::create(b, loc, append.getResults());
          };
          auto loop =
              scf::ForOp::create(in.b, in.loc, zero, length, one, ValueRange{valueLine, indexLine}, overElements);
          return SmallVector<RowPiece>{{loop.getResult(0), offsets, sizes}, {loop.getResult(1), offsets, sizes}};
        });
    rewriter.replaceOp(
        op, {castTo(s, results[0], op.getValues().getType()), castTo(s, results[1], op.getIndices().getType())});
    return success();
  }
};

} // namespace

static Value sumInit(ScalarBuilder &s, Type type) { return s.constant(type, 0); }
static Value addTo(ScalarBuilder &s, Value x, Value accumulator) { return s.add(accumulator, x); }
static Value square(ScalarBuilder &s, Value x) { return s.mul(x, x); }
static Value logarithm(ScalarBuilder &s, Value x, Value) { return math::LogOp::create(s.b, s.loc, x, kFastMath); }

void populateOnnxReductionToLinalgPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  auto absolute = [](ScalarBuilder &s, Value x) { return s.abs(x); };
  auto root = [](ScalarBuilder &s, Value x, Value) -> Value { return math::SqrtOp::create(s.b, s.loc, x, kFastMath); };
  auto mean = [](ScalarBuilder &s, Value x, Value count) { return s.div(x, count); };
  auto times = [](ScalarBuilder &s, Value x, Value accumulator) { return s.mul(accumulator, x); };
  auto one = [](ScalarBuilder &s, Type type) { return s.constant(type, 1); };
  auto exponential = [](ScalarBuilder &s, Value x) { return s.exp(x); };
  patterns.add<ReducePattern<onnx::ReduceSumOp>>(context, Reduction{nullptr, addTo, sumInit, nullptr});
  patterns.add<ReducePattern<onnx::ReduceMeanOp>>(context, Reduction{nullptr, addTo, sumInit, mean});
  patterns.add<ReducePattern<onnx::ReduceProdOp>>(context, Reduction{nullptr, times, one, nullptr});
  patterns.add<ReducePattern<onnx::ReduceL1Op>>(context, Reduction{absolute, addTo, sumInit, nullptr});
  patterns.add<ReducePattern<onnx::ReduceL2Op>>(context, Reduction{square, addTo, sumInit, root});
  patterns.add<ReducePattern<onnx::ReduceSumSquareOp>>(context, Reduction{square, addTo, sumInit, nullptr});
  patterns.add<ReducePattern<onnx::ReduceLogSumOp>>(context, Reduction{nullptr, addTo, sumInit, logarithm});
  patterns.add<ReducePattern<onnx::ReduceLogSumExpOp>>(context, Reduction{exponential, addTo, sumInit, logarithm});
  patterns.add<ReducePattern<onnx::ReduceMaxOp>>(
      context, Reduction{nullptr, extreme<true>, [](ScalarBuilder &s, Type type) { return extremeInit(s, type, true); },
                         nullptr});
  patterns.add<ReducePattern<onnx::ReduceMinOp>>(
      context, Reduction{nullptr, extreme<false>,
                         [](ScalarBuilder &s, Type type) { return extremeInit(s, type, false); }, nullptr});
  patterns.add<ArgReducePattern<onnx::ArgMaxOp, true>, ArgReducePattern<onnx::ArgMinOp, false>,
               CumulativePattern<onnx::CumSumOp, true>, CumulativePattern<onnx::CumProdOp, false>, TopKPattern>(
      context);
}

} // namespace caat
