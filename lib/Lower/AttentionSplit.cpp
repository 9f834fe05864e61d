// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention of few tokens on a GPU: two kernels. The keys are divided in chunks, so that there are rows enough to fill
// the chip whatever the batch; a row of the first kernel is (batch row, token, KV head, chunk) and leaves the maximum
// of its scores, the sum of their exponentials and the values weighted by them. The second combines the chunks of a
// (batch row, token, KV head).
#include "lib/Lower/Attention.h"

using namespace mlir;

namespace caat::lower {

/// Bytes of a chunk's scores, which a kernel keeps.
static constexpr int64_t kScoreBytes = 16 * 1024;
static constexpr int64_t kLeastKeys = 64, kMostKeys = 1024;
/// Chunks of a row, as long as none is too long.
static constexpr int64_t kChunks = 64;

static int64_t mostKeys(const AttentionProblem &p) {
  return std::clamp<int64_t>(llvm::bit_floor<uint64_t>(kScoreBytes / (4 * p.group())), kLeastKeys, kMostKeys);
}

static Value ceilDiv(ScalarBuilder &s, Value x, Value y) {
  return arith::DivUIOp::create(s.b, s.loc, s.sub(s.add(x, y), s.index(1)), y);
}

SplitPlan planSplit(ScalarBuilder s, const AttentionProblem &p) {
  Value total = s.value(p.total), step = s.index(kLeastKeys);
  Value keys = s.mul(ceilDiv(s, ceilDiv(s, total, s.index(kChunks)), step), step);
  keys = arith::MaxUIOp::create(s.b, s.loc, keys, step);
  keys = arith::MinUIOp::create(s.b, s.loc, keys, s.index(mostKeys(p)));
  OpFoldResult tokens = s.min(p.tokens, OpFoldResult(s.b.getIndexAttr(decodeTokens(p))));
  OpFoldResult group = s.b.getIndexAttr(p.group()), size = s.b.getIndexAttr(p.valueSize);
  SplitPlan plan;
  plan.keys = keys;
  plan.chunks = ceilDiv(s, total, keys);
  plan.rows = {p.batch, tokens, s.b.getIndexAttr(p.kvHeads)};
  Type compute = computeType(tensorType(p.query).getElementType());
  OpFoldResult rows = s.product(plan.rows);
  plan.maxima = empty(s, {rows, plan.chunks, group}, compute);
  plan.sums = empty(s, {rows, plan.chunks, group}, compute);
  plan.parts = empty(s, {rows, plan.chunks, group, size}, compute);
  return plan;
}

namespace {

/// A linalg.generic of named loops: "jg" is a map to the loops j and g.
class Loops {
public:
  Loops(ScalarBuilder &s, StringRef parallel, StringRef reduced) : s(s), names((parallel + reduced).str()) {
    kinds.append(parallel.size(), utils::IteratorType::parallel);
    kinds.append(reduced.size(), utils::IteratorType::reduction);
  }

  /// `body` sees the inputs' elements and then what the outputs hold. Inputs are widened to the outputs' type.
  SmallVector<Value> run(ArrayRef<std::pair<Value, StringRef>> inputs, ArrayRef<std::pair<Value, StringRef>> outputs,
                         llvm::function_ref<SmallVector<Value>(ScalarBuilder &, ValueRange, ValueRange)> body) {
    SmallVector<Value> ins, outs;
    SmallVector<AffineMap> maps;
    SmallVector<Type> types;
    for (auto [value, map] : inputs) {
      ins.push_back(value);
      maps.push_back(mapOf(map));
    }
    for (auto [value, map] : outputs) {
      outs.push_back(value);
      types.push_back(value.getType());
      maps.push_back(mapOf(map));
    }
    auto generic = linalg::GenericOp::create(
        s.b, s.loc, types, ins, outs, maps, kinds, [&](OpBuilder &b, Location loc, ValueRange arguments) {
          ScalarBuilder in{b, loc};
          Type compute = tensorType(outs.front()).getElementType();
          SmallVector<Value> elements;
          for (Value element : arguments.take_front(ins.size()))
            elements.push_back(in.cast(element, compute));
          linalg::YieldOp::create(b, loc, body(in, elements, arguments.drop_front(ins.size())));
        });
    return SmallVector<Value>(generic.getResults());
  }

private:
  AffineMap mapOf(StringRef loops) {
    SmallVector<AffineExpr> results;
    for (char name : loops)
      results.push_back(getAffineDimExpr(names.find(name), s.b.getContext()));
    return AffineMap::get(names.size(), 0, results, s.b.getContext());
  }

  ScalarBuilder &s;
  std::string names;
  SmallVector<utils::IteratorType> kinds;
};

} // namespace

static Value fill(ScalarBuilder &s, Value tensor, double value) {
  Value scalar = s.constant(tensorType(tensor).getElementType(), value);
  return linalg::FillOp::create(s.b, s.loc, scalar, tensor).getResult(0);
}

static constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// exp(x - maximum), where a maximum of nothing counts as 0.
static Value weightOf(ScalarBuilder &s, Value x, Value maximum) {
  Type type = maximum.getType();
  Value none = s.equal(maximum, s.constant(type, kLowest));
  return s.exp(s.sub(x, s.select(none, s.constant(type, 0), maximum)));
}

static Value maximum(ScalarBuilder &s, Value x, Value y) {
  return arith::MaxNumFOp::create(s.b, s.loc, x, y, kMaxFastMath);
}

/// One chunk of keys for the heads of a group.
static SmallVector<RowPiece> attendToChunk(ScalarBuilder &s, const AttentionProblem &p, const SplitPlan &plan,
                                           Value number, ValueRange outs) {
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1), group = s.b.getIndexAttr(p.group());
  OpFoldResult size = s.b.getIndexAttr(p.size), valueSize = s.b.getIndexAttr(p.valueSize);
  SmallVector<Value> rowAndChunk = delinearize(s, number, {s.product(plan.rows), plan.chunks});
  SmallVector<Value> at = delinearize(s, rowAndChunk[0], plan.rows);
  Value batch = at[0], token = at[1], kvHead = at[2], firstHead = s.mul(kvHead, s.index(p.group()));
  auto [begin, end] = visibleKeys(s, p, batch, token);
  Value first = s.mul(rowAndChunk[1], plan.keys), low = begin ? s.max(begin, first) : first;
  Value count = s.max(s.sub(s.min(end, s.add(first, plan.keys)), low), s.index(0));

  Value query = slice(s, p.query, {batch, token, firstHead, zero}, {one, one, group, size}, 2);
  Value keys = slice(s, p.keys, {batch, kvHead, low, zero}, {one, one, count, size}, 2);
  Value values = slice(s, p.values, {batch, kvHead, low, zero}, {one, one, count, valueSize}, 2);
  Type compute = tensorType(plan.maxima).getElementType();
  Value scores = empty(s, {s.b.getIndexAttr(mostKeys(p)), group}, compute);
  scores = slice(s, scores, {zero, zero}, {count, group});

  // The heads of a group side by side: they read the same key.
  scores = Loops(s, "jg", "d")
               .run({{query, "gd"}, {keys, "jd"}}, {{fill(s, scores, 0), "jg"}},
                    [](ScalarBuilder &in, ValueRange x, ValueRange sum) {
                      return SmallVector<Value>{in.fma(x[0], x[1], sum[0])};
                    })[0];
  scores = Loops(s, "jg", "").run({}, {{scores, "jg"}}, [&](ScalarBuilder &in, ValueRange, ValueRange score) {
    Value key = in.add(low, linalg::IndexOp::create(in.b, in.loc, 0));
    Value head = in.add(firstHead, linalg::IndexOp::create(in.b, in.loc, 1));
    Value scaled = in.mul(score[0], in.constant(compute, p.scale));
    return SmallVector<Value>{finishScore(in, p, scaled, {batch, head, token, key})};
  })[0];
  Dims offsets = {rowAndChunk[0], rowAndChunk[1], zero}, sizes = {one, one, group};
  Value maxima = fill(s, slice(s, outs[0], offsets, sizes, 2), kLowest);
  maxima = Loops(s, "g", "j").run({{scores, "jg"}}, {{maxima, "g"}}, [](ScalarBuilder &in, ValueRange x, ValueRange y) {
    return SmallVector<Value>{maximum(in, x[0], y[0])};
  })[0];
  scores = Loops(s, "jg", "").run({{maxima, "g"}}, {{scores, "jg"}}, [](ScalarBuilder &in, ValueRange x, ValueRange y) {
    return SmallVector<Value>{weightOf(in, y[0], x[0])};
  })[0];
  Value sums = fill(s, slice(s, outs[1], offsets, sizes, 2), 0);
  sums = Loops(s, "g", "j").run({{scores, "jg"}}, {{sums, "g"}}, [](ScalarBuilder &in, ValueRange x, ValueRange y) {
    return SmallVector<Value>{in.add(y[0], x[0])};
  })[0];
  Dims partOffsets = {rowAndChunk[0], rowAndChunk[1], zero, zero}, partSizes = {one, one, group, valueSize};
  Value parts = fill(s, slice(s, outs[2], partOffsets, partSizes, 2), 0);
  parts =
      Loops(s, "gd", "j")
          .run({{scores, "jg"}, {values, "jd"}}, {{parts, "gd"}}, [](ScalarBuilder &in, ValueRange x, ValueRange sum) {
            return SmallVector<Value>{in.fma(x[0], x[1], sum[0])};
          })[0];
  return {{maxima, offsets, sizes}, {sums, offsets, sizes}, {parts, partOffsets, partSizes}};
}

/// The chunks of a row together.
static SmallVector<RowPiece> combineChunks(ScalarBuilder &s, const AttentionProblem &p, const SplitPlan &plan,
                                           Value row, ArrayRef<Value> results, ValueRange outs) {
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1), group = s.b.getIndexAttr(p.group());
  OpFoldResult valueSize = s.b.getIndexAttr(p.valueSize);
  auto ofRow = [&](Value tensor) {
    Dims offsets(tensorType(tensor).getRank(), zero), sizes = dimsOf(s, tensor);
    offsets[0] = row;
    sizes[0] = one;
    return slice(s, tensor, offsets, sizes, 1);
  };
  Value maxima = ofRow(results[0]), sums = ofRow(results[1]), parts = ofRow(results[2]);
  Type compute = tensorType(maxima).getElementType();
  Value highest = Loops(s, "g", "c")
                      .run({{maxima, "cg"}}, {{fill(s, empty(s, {group}, compute), kLowest), "g"}},
                           [](ScalarBuilder &in, ValueRange x, ValueRange y) {
                             return SmallVector<Value>{maximum(in, x[0], y[0])};
                           })[0];
  Value sum = fill(s, empty(s, {group, valueSize}, compute), 0),
        part = fill(s, empty(s, {group, valueSize}, compute), 0);
  SmallVector<Value> totals =
      Loops(s, "gd", "c")
          .run({{maxima, "cg"}, {highest, "g"}, {sums, "cg"}, {parts, "cgd"}}, {{sum, "gd"}, {part, "gd"}},
               [](ScalarBuilder &in, ValueRange x, ValueRange total) {
                 Value weight = weightOf(in, x[0], x[1]);
                 return SmallVector<Value>{in.fma(weight, x[2], total[0]), in.fma(weight, x[3], total[1])};
               });
  SmallVector<Value> at = delinearize(s, row, plan.rows);
  Dims offsets = {at[0], at[1], s.mul(at[2], s.index(p.group())), zero}, sizes = {one, one, group, valueSize};
  Value heads = slice(s, outs[0], offsets, sizes, 2);
  Type element = tensorType(heads).getElementType();
  heads = Loops(s, "gd", "")
              .run({{totals[0], "gd"}, {totals[1], "gd"}}, {{heads, "gd"}},
                   [&](ScalarBuilder &in, ValueRange x, ValueRange) {
                     // A row of which nothing is visible is 0.
                     Value zero = in.constant(x[0].getType(), 0);
                     Value quotient = in.select(in.equal(x[0], zero), zero, in.div(x[1], x[0]));
                     return SmallVector<Value>{in.cast(quotient, element)};
                   })[0];
  return {{heads, offsets, sizes}};
}

Value attentionSplit(ScalarBuilder s, const AttentionProblem &p, const SplitPlan &plan, Value out) {
  OpFoldResult rows = s.product(plan.rows);
  SmallVector<Value> results =
      forEachRow(s, s.mul(rows, OpFoldResult(plan.chunks)), {plan.maxima, plan.sums, plan.parts},
                 [&](ScalarBuilder &in, Value row, ValueRange outs) { return attendToChunk(in, p, plan, row, outs); });
  return forEachRow(s, rows, out, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    return combineChunks(in, p, plan, row, results, outs);
  })[0];
}

} // namespace caat::lower
