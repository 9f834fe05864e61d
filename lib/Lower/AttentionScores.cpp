// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The fourth output of onnx.Attention, which shows the scores on their way. Plain loops: it is there for debugging.
#include "lib/Lower/Attention.h"

using namespace mlir;

namespace caat::lower {

/// scale * q k^T, with soft-cap from mode 1 and the mask from mode 2 on.
static Value scoresUntil(ScalarBuilder s, const AttentionProblem &p, int64_t mode, RankedTensorType type,
                         ArrayRef<OpFoldResult> dims) {
  Type compute = computeType(tensorType(p.query).getElementType());
  Value minusInfinity = s.constant(compute, -std::numeric_limits<double>::infinity());
  return indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
    Value batch = at[0], head = at[1], token = at[2], key = at[3];
    Value kvHead = arith::DivUIOp::create(in.b, in.loc, head, in.index(p.group()));
    auto product = scf::ForOp::create(
        in.b, in.loc, in.index(0), in.index(p.size), in.index(1), in.constant(compute, 0),
        [&](OpBuilder &b, Location loc, Value i, ValueRange sum) {
          ScalarBuilder body{b, loc};
          Value q = tensor::ExtractOp::create(b, loc, p.query, ValueRange{batch, token, head, i});
          Value k = tensor::ExtractOp::create(b, loc, p.keys, ValueRange{batch, kvHead, key, i});
          scf::YieldOp::create(b, loc, body.fma(body.cast(q, compute), body.cast(k, compute), sum[0]));
        });
    Value score = in.mul(product.getResult(0), in.constant(compute, p.scale));
    if (mode == 1) {
      AttentionProblem unmasked = p;
      unmasked.mask = {};
      score = finishScore(in, unmasked, score, at);
    } else if (mode == 2) {
      auto [begin, end] = visibleKeys(in, p, batch, token);
      Value visible = in.less(key, end);
      if (begin)
        visible = in.bitAnd(visible, in.logicalNot(in.less(key, begin)));
      // A mask may end where nothing is visible any more.
      Value masked = in.select(visible, key, in.index(0));
      score = in.select(visible, finishScore(in, p, score, {batch, head, token, masked}), minusInfinity);
    }
    return in.cast(score, type.getElementType());
  });
}

Value attentionScores(ScalarBuilder s, const AttentionProblem &p, int64_t mode, RankedTensorType type) {
  Dims dims = {p.batch, s.b.getIndexAttr(p.heads), p.tokens, p.total};
  if (mode < 3)
    return scoresUntil(s, p, mode, type, dims);
  auto wide = RankedTensorType::get(type.getShape(), computeType(type.getElementType()));
  Value scores = scoresUntil(s, p, 2, wide, dims);
  Dims lines = {dims[0], dims[1], dims[2]};
  Value result = forEachRow(s, s.product(lines), scores, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    SmallVector<Value> at = delinearize(in, row, lines);
    Dims offsets(at.begin(), at.end()), sizes(3, in.b.getIndexAttr(1));
    offsets.push_back(in.b.getIndexAttr(0));
    sizes.push_back(p.total);
    return SmallVector<RowPiece>{
        {softmaxRow(in, Value(), slice(in, outs[0], offsets, sizes, 3), SoftmaxRow()), offsets, sizes}};
  })[0];
  return elementwise(s, type, dims, result, [](ScalarBuilder &, Scalars x) { return x[0]; });
}

} // namespace caat::lower
