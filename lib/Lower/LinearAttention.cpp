// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// onnx.LinearAttention, step by step. The columns of a state have nothing to do with each other: a kernel row is one
// column of one head, which it carries through all steps.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

/// Operands with their heads apart.
struct Recurrence {
  Value query, key, value;  // [B, T, Hq, D], [B, T, H, D], [B, T, H, Dv]
  Value decay, beta;        // exp(decay) [B, T, H, D or 1], [B, T, H or 1]; may be null
  Value steps, size, group; // T, D, Hq / H
  Type compute;
  double scale;
};

} // namespace

/// Loop over [0, count) with one or more carried values.
static SmallVector<Value> loop(ScalarBuilder &s, Value count, ValueRange init,
                               llvm::function_ref<SmallVector<Value>(ScalarBuilder &, Value, ValueRange)> body) {
  auto forOp = scf::ForOp::create(s.b, s.loc, s.index(0), count, s.index(1), init,
                                  [&](OpBuilder &b, Location loc, Value i, ValueRange state) {
                                    ScalarBuilder in{b, loc};
                                    scf::YieldOp::create(b, loc, body(in, i, state));
                                  });
  return SmallVector<Value>(forOp.getResults());
}

static Value read(ScalarBuilder &s, const Recurrence &r, Value tensor, ValueRange at) {
  return s.cast(extract(s, tensor, at), r.compute);
}

/// One step on a column [1, 1, D, 1] of the state, and its reads into `out` [1, T, group, 1].
static SmallVector<Value> step(ScalarBuilder &s, const Recurrence &r, ValueRange place, Value t, Value state,
                               Value out) {
  Value batch = place[0], head = place[1], column = place[2], zero = s.index(0);
  auto entry = [&](ScalarBuilder &in, Value tensor, Value d) -> Value {
    return tensor::ExtractOp::create(in.b, in.loc, tensor, ValueRange{zero, zero, d, zero});
  };
  auto put = [&](ScalarBuilder &in, Value x, Value tensor, Value d) -> Value {
    return tensor::InsertOp::create(in.b, in.loc, x, tensor, ValueRange{zero, zero, d, zero});
  };
  Value update = read(s, r, r.value, {batch, t, head, column});
  if (r.decay || r.beta) {
    auto decayed = loop(s, r.size, {state, s.constant(r.compute, 0)}, [&](ScalarBuilder &in, Value d, ValueRange now) {
      Value x = entry(in, now[0], d), kept = now[0];
      if (r.decay) {
        x = in.mul(x, read(in, r, r.decay, {batch, t, head, d}));
        kept = put(in, x, kept, d);
      }
      return SmallVector<Value>{kept, in.fma(x, read(in, r, r.key, {batch, t, head, d}), now[1])};
    });
    state = decayed[0];
    if (r.beta)
      update = s.mul(read(s, r, r.beta, {batch, t, head}), s.sub(update, decayed[1]));
  }
  state = loop(s, r.size, state, [&](ScalarBuilder &in, Value d, ValueRange now) {
    Value k = read(in, r, r.key, {batch, t, head, d});
    return SmallVector<Value>{put(in, in.fma(k, update, entry(in, now[0], d)), now[0], d)};
  })[0];
  Value firstHead = s.mul(head, r.group);
  out = loop(s, r.group, out, [&](ScalarBuilder &in, Value g, ValueRange outs) {
    Value queryHead = in.add(firstHead, g);
    Value sum = loop(in, r.size, in.constant(r.compute, 0), [&](ScalarBuilder &body, Value d, ValueRange now) {
      Value q = read(body, r, r.query, {batch, t, queryHead, d});
      return SmallVector<Value>{body.fma(q, entry(body, state, d), now[0])};
    })[0];
    Value result = in.cast(in.mul(sum, in.constant(r.compute, r.scale)), tensorType(out).getElementType());
    return SmallVector<Value>{
        tensor::InsertOp::create(in.b, in.loc, result, outs[0], ValueRange{zero, t, g, zero}).getResult()};
  })[0];
  return {state, out};
}

namespace {

struct LinearAttentionPattern : OpRewritePattern<onnx::LinearAttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LinearAttentionOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t heads = op.getKvNumHeads(), queryHeads = op.getQNumHeads();
    auto keyType = tensorType(op.getKey()), valueType = tensorType(op.getValue());
    if (keyType.isDynamicDim(2) || valueType.isDynamicDim(2) || tensorType(op.getQuery()).isDynamicDim(2))
      return rewriter.notifyMatchFailure(op, "the head size is not static");
    int64_t size = keyType.getDimSize(2) / heads, valueSize = valueType.getDimSize(2) / heads;
    auto apart = [&](Value x, int64_t count, int64_t each) {
      return expanded(s, x, 2, {rewriter.getIndexAttr(count), rewriter.getIndexAttr(each)});
    };
    Type element = tensorType(op.getQuery()).getElementType();
    Recurrence r;
    r.compute = computeType(element);
    r.query = apart(op.getQuery(), queryHeads, size);
    r.key = apart(op.getKey(), heads, size);
    r.value = apart(op.getValue(), heads, valueSize);
    r.beta = op.getBeta();
    OpFoldResult batch = dimOf(s, op.getQuery(), 0), steps = dimOf(s, op.getQuery(), 1);
    if (Value decay = op.getDecay()) {
      auto type = RankedTensorType::get(tensorType(decay).getShape(), r.compute);
      Value gates =
          elementwise(s, type, dimsOf(s, decay), decay, [](ScalarBuilder &in, Scalars x) { return in.exp(x[0]); });
      r.decay = apart(gates, heads, type.getDimSize(2) / heads);
    }
    r.steps = s.value(steps);
    r.size = s.index(size);
    r.group = s.index(queryHeads / heads);
    double scale = op.getScale().convertToDouble();
    r.scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(size));

    OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1),
                 headCount = rewriter.getIndexAttr(heads), sizeAttr = rewriter.getIndexAttr(size),
                 valueSizeAttr = rewriter.getIndexAttr(valueSize), group = rewriter.getIndexAttr(queryHeads / heads);
    Dims stateDims = {batch, headCount, sizeAttr, valueSizeAttr};
    auto stateShape = tensorType(op.getPresentState()).getShape();
    Value state;
    if (Value past = op.getPastState())
      state = elementwise(s, RankedTensorType::get(stateShape, r.compute), stateDims, past,
                          [](ScalarBuilder &, Scalars x) { return x[0]; });
    else
      state = filled(s, stateDims, s.constant(r.compute, 0));
    Value out = empty(s, {batch, steps, rewriter.getIndexAttr(queryHeads), valueSizeAttr}, element);
    Dims lines = {batch, headCount, valueSizeAttr};
    auto results = forEachRow(s, s.product(lines), {state, out}, [&](ScalarBuilder &in, Value row, ValueRange outs) {
      SmallVector<Value> at = delinearize(in, row, lines);
      Dims stateOffsets = {at[0], at[1], zero, at[2]}, stateSizes = {one, one, sizeAttr, one};
      Value firstHead = in.mul(at[1], r.group);
      Dims outOffsets = {at[0], zero, firstHead, at[2]}, outSizes = {one, steps, group, one};
      Value column = slice(in, outs[0], stateOffsets, stateSizes), reads = slice(in, outs[1], outOffsets, outSizes);
      auto carried = loop(in, r.steps, {column, reads}, [&](ScalarBuilder &body, Value t, ValueRange now) {
        return step(body, r, at, t, now[0], now[1]);
      });
      return SmallVector<RowPiece>{{carried[0], stateOffsets, stateSizes}, {carried[1], outOffsets, outSizes}};
    });
    Value present = results[0];
    auto presentType = tensorType(op.getPresentState());
    if (presentType.getElementType() != r.compute)
      present = elementwise(s, presentType, stateDims, present, [](ScalarBuilder &, Scalars x) { return x[0]; });
    rewriter.replaceOp(
        op, {castTo(s, collapsed(s, results[1], 2, 4), op.getOutput().getType()), castTo(s, present, presentType)});
    return success();
  }
};

} // namespace

void populateOnnxLinearAttentionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LinearAttentionPattern>(patterns.getContext());
}

} // namespace caat
