// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention of few tokens as one kernel. A row is (batch row, token, KV head): the query heads of a group are handled
// together, so each key and value is read once for several of them. Head vectors live in registers; the number of heads
// taken at a time keeps their accumulators there too.
#include "lib/Lower/Attention.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace caat::lower {

namespace {

/// The innermost line [begin of `at`, ...) of a tensor as a vector of its last dimension, in the compute type.
struct VectorAccess {
  ScalarBuilder &s;

  Value read(Value tensor, ValueRange at, int64_t size) {
    Type element = tensorType(tensor).getElementType();
    Value padding = s.constant(element, 0);
    Value line = vector::TransferReadOp::create(s.b, s.loc, VectorType::get(size, element), tensor, at, padding,
                                                std::optional<ArrayRef<bool>>(ArrayRef<bool>{true}));
    Type compute = computeType(element);
    return compute == element ? line
                              : arith::ExtFOp::create(s.b, s.loc, VectorType::get(size, compute), line).getResult();
  }

  Value write(Value line, Value tensor, ValueRange at) {
    auto type = cast<VectorType>(line.getType());
    Type element = tensorType(tensor).getElementType();
    if (element != type.getElementType())
      line = arith::TruncFOp::create(s.b, s.loc, VectorType::get(type.getShape(), element), line);
    return vector::TransferWriteOp::create(s.b, s.loc, line, tensor, at,
                                           std::optional<ArrayRef<bool>>(ArrayRef<bool>{true}))
        .getResult();
  }

  Value splat(Value scalar, int64_t size) {
    return vector::BroadcastOp::create(s.b, s.loc, VectorType::get(size, scalar.getType()), scalar);
  }
};

/// Where a row of the kernel works.
struct Place {
  Value batch, token, kvHead;
  Value begin, end; // visible keys
};

} // namespace

/// scores[g, j] = scale * q[g] . k[j] for the heads `first`, ... of the group; returns the updated scores [G, T].
static Value scoreKeys(ScalarBuilder &s, const AttentionProblem &p, const Place &at, int64_t first, int64_t count,
                       Value firstHead, Value scores) {
  SmallVector<Value> queries;
  Value zero = s.index(0);
  Type compute = computeType(tensorType(p.query).getElementType());
  Value scale = VectorAccess{s}.splat(s.constant(compute, p.scale), p.size);
  for (int64_t g = first; g < first + count; ++g) {
    Value head = s.add(firstHead, s.index(g));
    Value query = VectorAccess{s}.read(p.query, {at.batch, at.token, head, zero}, p.size);
    queries.push_back(arith::MulFOp::create(s.b, s.loc, query, scale, kFastMath));
  }
  auto loop = scf::ForOp::create(
      s.b, s.loc, at.begin, at.end, s.index(1), scores, [&](OpBuilder &b, Location loc, Value j, ValueRange state) {
        ScalarBuilder in{b, loc};
        Value key = VectorAccess{in}.read(p.keys, {at.batch, at.kvHead, j, in.index(0)}, p.size);
        Value result = state[0];
        for (auto [g, query] : llvm::enumerate(queries)) {
          Value products = arith::MulFOp::create(b, loc, query, key, kFastMath);
          Value dot = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, products, kFastMath);
          result = tensor::InsertOp::create(b, loc, dot, result, ValueRange{in.index(first + g), j});
        }
        scf::YieldOp::create(b, loc, result);
      });
  return loop.getResult(0);
}

/// sum over j of scores[g, j] * v[j], one vector per head.
static SmallVector<Value> sumValues(ScalarBuilder &s, const AttentionProblem &p, const Place &at, int64_t first,
                                    int64_t count, Value scores) {
  Type compute = tensorType(scores).getElementType();
  Value zero = VectorAccess{s}.splat(s.constant(compute, 0), p.valueSize);
  SmallVector<Value> init(count, zero);
  auto loop = scf::ForOp::create(
      s.b, s.loc, at.begin, at.end, s.index(1), init, [&](OpBuilder &b, Location loc, Value j, ValueRange sums) {
        ScalarBuilder in{b, loc};
        Value value = VectorAccess{in}.read(p.values, {at.batch, at.kvHead, j, in.index(0)}, p.valueSize);
        SmallVector<Value> next;
        for (auto [g, sum] : llvm::enumerate(sums)) {
          Value weight = tensor::ExtractOp::create(b, loc, scores, ValueRange{in.index(first + g), j});
          Value part = arith::MulFOp::create(b, loc, VectorAccess{in}.splat(weight, p.valueSize), value, kFastMath);
          next.push_back(arith::AddFOp::create(b, loc, sum, part, kFastMath));
        }
        scf::YieldOp::create(b, loc, next);
      });
  return SmallVector<Value>(loop.getResults());
}

/// exp(score - maximum) in place for each head, and 1 / sum.
static Value exponentials(ScalarBuilder &s, const AttentionProblem &p, const Place &at, Value firstHead, Value scores,
                          SmallVectorImpl<Value> &inverses) {
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1);
  for (int64_t g = 0; g < p.group(); ++g) {
    Dims offsets = {s.b.getIndexAttr(g), zero}, sizes = {one, p.total};
    Value head = s.add(firstHead, s.index(g));
    auto finish = [&](ScalarBuilder &in, Value x, Value j) {
      return finishScore(in, p, x, {at.batch, head, at.token, j});
    };
    SoftmaxRow options;
    options.begin = at.begin;
    options.end = at.end;
    if (p.mask || p.softcap > 0)
      options.score = finish;
    auto [row, inverse] = exponentialRow(s, Value(), slice(s, scores, offsets, sizes, 1), options);
    scores = tensor::InsertSliceOp::create(s.b, s.loc, row, scores, offsets, sizes, Dims{one, one});
    inverses.push_back(inverse);
  }
  return scores;
}

Value attentionDecode(ScalarBuilder s, const AttentionProblem &p, Value out) {
  OpFoldResult kvHeads = s.b.getIndexAttr(p.kvHeads), group = s.b.getIndexAttr(p.group());
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1), valueSize = s.b.getIndexAttr(p.valueSize);
  // The bound on the tokens is known here only by the branch; it keeps the scores' buffer small, which is allotted
  // whatever branch is taken.
  Dims grid = {p.batch, s.min(p.tokens, OpFoldResult(s.b.getIndexAttr(decodeTokens(p)))), kvHeads};
  // 16 vector registers of 64 bytes for accumulators.
  int64_t together = std::clamp<int64_t>(256 / std::max(p.size, p.valueSize), 1, p.group());

  auto body = [&](ScalarBuilder &in, Value row, ValueRange outs) {
    SmallVector<Value> index = delinearize(in, row, grid);
    auto [begin, end] = visibleKeys(in, p, index[0], index[1]);
    Place at = {index[0], index[1], index[2], begin ? begin : in.index(0), end};
    Value firstHead = in.mul(at.kvHead, in.index(p.group()));
    Value scores = empty(in, {group, p.total}, computeType(tensorType(p.query).getElementType()));
    for (int64_t g = 0; g < p.group(); g += together)
      scores = scoreKeys(in, p, at, g, std::min(together, p.group() - g), firstHead, scores);
    SmallVector<Value> inverses;
    scores = exponentials(in, p, at, firstHead, scores, inverses);
    Dims offsets = {at.batch, at.token, firstHead, zero}, sizes = {one, one, group, valueSize};
    Value heads = slice(in, outs[0], offsets, sizes, 2);
    for (int64_t g = 0; g < p.group(); g += together) {
      auto sums = sumValues(in, p, at, g, std::min(together, p.group() - g), scores);
      for (auto [i, sum] : llvm::enumerate(sums)) {
        Value inverse = VectorAccess{in}.splat(inverses[g + i], p.valueSize);
        Value line = arith::MulFOp::create(in.b, in.loc, sum, inverse, kFastMath);
        heads = VectorAccess{in}.write(line, heads, {in.index(g + i), in.index(0)});
      }
    }
    return SmallVector<RowPiece>{{heads, offsets, sizes}};
  };
  return forEachRow(s, s.product(grid), out, body)[0];
}

} // namespace caat::lower
