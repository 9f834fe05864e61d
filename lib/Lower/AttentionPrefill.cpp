// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention of many tokens: blocks of query rows (kBlockRows). The query heads
// of a group are rows of one product. Where tokens are few, several KV heads are one batched product.
#include "lib/Lower/Attention.h"

using namespace mlir;

namespace caat::lower {

/// Query tokens of a block where later ones see more keys.
static constexpr int64_t kMostCausalTokens = 512;

PrefillPlan planPrefill(ScalarBuilder s, const AttentionProblem &p, int64_t blockRows) {
  int64_t block = std::max<int64_t>(16, blockRows / p.group() / 16 * 16); // query tokens
  if (p.causal) // blocks end at their last key: smaller ones leave more of the square out
    block = std::min(block, kMostCausalTokens);
  Value rows = s.mul(s.min(s.value(p.tokens), s.index(block)), s.index(p.group()));
  rows = arith::MaxUIOp::create(s.b, s.loc, rows, s.index(1));
  // As many pairs as fill a block's rows, at least one.
  Value pairs = arith::DivUIOp::create(s.b, s.loc, s.index(std::max(blockRows, block * p.group())), rows);
  return {block, pairs, rows};
}

namespace {

/// `pairs` (batch row, KV head) pairs from `firstPair` on, `tokens` query tokens from `firstToken` on, keys [0, keys).
struct Block {
  OpFoldResult firstPair, pairs, firstToken, tokens, keys;
};

/// The indices of row `row` of a block.
struct BlockRow {
  Value pair, group, token;       // in the block
  Value batch, head, globalToken; // in the problem
};

} // namespace

static BlockRow placeRow(ScalarBuilder &s, const AttentionProblem &p, const Block &block, Value row) {
  auto index = delinearize(s, row, {block.pairs, s.b.getIndexAttr(p.group()), block.tokens});
  Value pair = s.add(s.value(block.firstPair), index[0]);
  auto heads = delinearize(s, pair, {p.batch, s.b.getIndexAttr(p.kvHeads)});
  Value head = s.add(s.mul(heads[1], s.index(p.group())), index[1]);
  return {index[0], index[1], index[2], heads[0], head, s.add(s.value(block.firstToken), index[2])};
}

/// The block's part [pairs, G * tokens, columns] of a scratch tensor.
static Value takeRows(ScalarBuilder &s, const AttentionProblem &p, const Block &block, Value scratch,
                      OpFoldResult columns) {
  OpFoldResult rows = s.mul(s.b.getIndexAttr(p.group()), block.tokens);
  return slice(s, scratch, zeros(s, 3), {block.pairs, rows, columns});
}

/// Rows [pairs, G * tokens, D] of the block's queries.
static Value gatherQueries(ScalarBuilder &s, const AttentionProblem &p, const Block &block, Value dest) {
  OpFoldResult one = s.b.getIndexAttr(1), zero = s.b.getIndexAttr(0), size = s.b.getIndexAttr(p.size);
  OpFoldResult rows = s.mul(s.b.getIndexAttr(p.group()), block.tokens);
  return forEachRow(s, s.mul(block.pairs, rows), dest, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    BlockRow at = placeRow(in, p, block, row);
    Value source = slice(in, p.query, {at.batch, at.globalToken, at.head, zero}, {one, one, one, size}, 3);
    Value inPair = in.add(in.mul(at.group, in.value(block.tokens)), at.token);
    Dims offsets = {at.pair, inPair, zero}, sizes = {one, one, size};
    Value copy = linalg::CopyOp::create(in.b, in.loc, source, slice(in, outs[0], offsets, sizes, 2)).getResult(0);
    return SmallVector<RowPiece>{{copy, offsets, sizes}};
  })[0];
}

namespace {
/// What a block's values are multiplied by, [pairs, G * tokens, keys].
struct Probabilities {
  Value factors, inverses; // [pairs, G * tokens], what the products are multiplied by then; null: they are 1
};
} // namespace

static Probabilities softmaxBlock(ScalarBuilder &s, const AttentionProblem &p, const Block &block, Value scores,
                                  const PrefillBuffers &buffers) {
  OpFoldResult one = s.b.getIndexAttr(1), zero = s.b.getIndexAttr(0);
  OpFoldResult rows = s.mul(s.b.getIndexAttr(p.group()), block.tokens);
  SmallVector<Value> dests = {scores};
  if (buffers.exponentials)
    dests = {takeRows(s, p, block, buffers.exponentials, block.keys),
             slice(s, buffers.inverses, zeros(s, 2), {block.pairs, rows})};
  auto results = forEachRow(s, s.mul(block.pairs, rows), dests, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    BlockRow at = placeRow(in, p, block, row);
    Value inPair = in.add(in.mul(at.group, in.value(block.tokens)), at.token);
    Dims offsets = {at.pair, inPair, zero}, sizes = {one, one, block.keys};
    auto finish = [&](ScalarBuilder &inner, Value x, Value j) {
      return finishScore(inner, p, x, {at.batch, at.head, at.globalToken, j});
    };
    SoftmaxRow options;
    std::tie(options.begin, options.end) = visibleKeys(in, p, at.batch, at.globalToken);
    if (p.mask || p.softcap > 0)
      options.score = finish;
    Value dest = slice(in, outs[0], offsets, sizes, 2);
    if (!buffers.exponentials)
      return SmallVector<RowPiece>{{softmaxRow(in, Value(), dest, options), offsets, sizes}};
    auto [line, inverse] = exponentialRow(in, slice(in, scores, offsets, sizes, 2), dest, options);
    Dims place = {at.pair, inPair}, single = {one, one};
    Value number = tensor::InsertOp::create(in.b, in.loc, inverse, slice(in, outs[1], place, single, 1), in.index(0));
    return SmallVector<RowPiece>{{clearOutside(in, line, options), offsets, sizes}, {number, place, single}};
  });
  return {results[0], buffers.exponentials ? results[1] : Value()};
}

/// dest[i] = factor * source[i].
static Value scaleRow(ScalarBuilder &s, Value source, Value factor, Value dest) {
  AffineMap map = s.b.getMultiDimIdentityMap(1);
  return linalg::GenericOp::create(s.b, s.loc, tensorType(dest), source, dest, ArrayRef{map, map},
                                   utils::IteratorType::parallel,
                                   [&](OpBuilder &b, Location loc, ValueRange x) {
                                     ScalarBuilder in{b, loc};
                                     linalg::YieldOp::create(b, loc, in.cast(in.mul(x[0], factor), x[1].getType()));
                                   })
      .getResult(0);
}

/// The block's result rows [pairs, G * tokens, Dv] to their places in `out` [B, S, H, Dv].
static Value scatterResults(ScalarBuilder &s, const AttentionProblem &p, const Block &block, Value result,
                            Value inverses, Value out) {
  OpFoldResult one = s.b.getIndexAttr(1), zero = s.b.getIndexAttr(0), size = s.b.getIndexAttr(p.valueSize);
  OpFoldResult rows = s.mul(s.b.getIndexAttr(p.group()), block.tokens);
  return forEachRow(s, s.mul(block.pairs, rows), out, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    BlockRow at = placeRow(in, p, block, row);
    Value inPair = in.add(in.mul(at.group, in.value(block.tokens)), at.token);
    Value source = slice(in, result, {at.pair, inPair, zero}, {one, one, size}, 2);
    Dims offsets = {at.batch, at.globalToken, at.head, zero}, sizes = {one, one, one, size};
    Value dest = slice(in, outs[0], offsets, sizes, 3);
    Value line = inverses ? scaleRow(in, source, extract(in, inverses, {at.pair, inPair}), dest)
                          : linalg::CopyOp::create(in.b, in.loc, source, dest).getResult(0);
    return SmallVector<RowPiece>{{line, offsets, sizes}};
  })[0];
}

/// Keys or values [B, KV, max, size] of the block: [pairs, keys, size].
static Value takeKeys(ScalarBuilder &s, const Block &block, Value flat, int64_t size) {
  OpFoldResult zero = s.b.getIndexAttr(0);
  return slice(s, flat, {block.firstPair, zero, zero}, {block.pairs, block.keys, s.b.getIndexAttr(size)});
}

Value attentionPrefill(ScalarBuilder s, const AttentionProblem &p, const PrefillPlan &plan, PrefillBuffers buffers) {
  auto asFactors = [&](Value cache, Value buffer) {
    if (!buffer)
      return cache;
    Value valid = slice(s, cache, zeros(s, 4), dimsOf(s, buffer));
    return linalg::CopyOp::create(s.b, s.loc, valid, buffer).getResult(0);
  };
  Value keys = collapsed(s, asFactors(p.keys, buffers.keys), 0, 2);
  Value values = collapsed(s, asFactors(p.values, buffers.values), 0, 2);
  Value pairCount = s.value(s.mul(p.batch, s.b.getIndexAttr(p.kvHeads))), tokenCount = s.value(p.tokens);
  Value zero = s.index(0), blockSize = s.index(plan.blockTokens), fitting = plan.pairs;

  auto step = [&](ScalarBuilder in, Value firstPair, Value firstToken, Value out) {
    Block block;
    block.firstPair = firstPair;
    block.pairs = in.min(fitting, in.sub(pairCount, firstPair));
    block.firstToken = firstToken;
    block.tokens = in.min(blockSize, in.sub(tokenCount, firstToken));
    block.keys = p.total;
    if (p.causal && !p.lengths) { // no key after the block's last token counts
      OpFoldResult last = in.add(in.add(p.past, block.firstToken), block.tokens);
      block.keys = in.min(p.total, last);
    }
    Value queries = gatherQueries(in, p, block, takeRows(in, p, block, buffers.query, in.b.getIndexAttr(p.size)));
    Value scores = takeRows(in, p, block, buffers.scores, block.keys);
    scores = batchMatmul(in, queries, takeKeys(in, block, keys, p.size), scores, /*transposeB=*/true, p.scale);
    auto [factors, inverses] = softmaxBlock(in, p, block, scores, buffers);
    Value result = takeRows(in, p, block, buffers.result, in.b.getIndexAttr(p.valueSize));
    result = batchMatmul(in, factors, takeKeys(in, block, values, p.valueSize), result, /*transposeB=*/false);
    return scatterResults(in, p, block, result, inverses, out);
  };
  auto loop = scf::ForOp::create(
      s.b, s.loc, zero, pairCount, fitting, buffers.out, [&](OpBuilder &b, Location loc, Value pair, ValueRange outer) {
        auto inner = scf::ForOp::create(b, loc, zero, tokenCount, blockSize, outer,
                                        [&](OpBuilder &b2, Location loc2, Value token, ValueRange state) {
                                          scf::YieldOp::create(b2, loc2, step({b2, loc2}, pair, token, state[0]));
                                        });
        scf::YieldOp::create(b, loc, inner.getResults());
      });
  return loop.getResult(0);
}

} // namespace caat::lower
