// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/SoftmaxRows.h"

using namespace mlir;

namespace caat::lower {

using LoopFn = llvm::function_ref<SmallVector<Value>(ScalarBuilder &, Value j, ValueRange state)>;

static SmallVector<Value> loop(ScalarBuilder &s, Value begin, Value end, ValueRange init, LoopFn body) {
  auto forOp = scf::ForOp::create(s.b, s.loc, begin, end, s.index(1), init,
                                  [&](OpBuilder &b, Location loc, Value j, ValueRange state) {
                                    ScalarBuilder in{b, loc};
                                    scf::YieldOp::create(b, loc, body(in, j, state));
                                  });
  return SmallVector<Value>(forOp.getResults());
}

static Value load(ScalarBuilder &s, Value row, Value j) {
  Value x = tensor::ExtractOp::create(s.b, s.loc, row, j);
  return s.cast(x, computeType(x.getType()));
}

static Value store(ScalarBuilder &s, Value x, Value row, Value j) {
  return tensor::InsertOp::create(s.b, s.loc, s.cast(x, tensorType(row).getElementType()), row, j);
}

namespace {
/// The row after its first sweep: where to read scores from, their maximum, and whether there is none above -inf. The
/// maximum is then 0, so that nothing becomes NaN.
struct Scored {
  Value begin, end, source, dest, maximum, empty;
};
} // namespace

static Scored scored(ScalarBuilder &s, Value begin, Value end, Value source, Value dest, Value maximum) {
  Type type = maximum.getType();
  Value empty = s.equal(maximum, s.constant(type, -std::numeric_limits<double>::infinity()));
  return {begin, end, source, dest, s.select(empty, s.constant(type, 0), maximum), empty};
}

/// The score of position j of `row`, with what there is to do to it.
static Value finished(ScalarBuilder &s, Value row, Value j, const SoftmaxRow &options) {
  Value x = load(s, row, j);
  return options.score ? options.score(s, x, j) : x;
}

/// Whether `dest` rounds what is stored in it.
static bool isNarrow(Value dest) {
  Type element = tensorType(dest).getElementType();
  return element != computeType(element);
}

/// Scores into `dest` where there is something to do to them and it does not round them, and their maximum.
static Scored scoreRow(ScalarBuilder &s, Value source, Value dest, const SoftmaxRow &options) {
  Value begin = options.begin ? options.begin : s.index(0);
  Value end = options.end ? options.end : s.value(dimOf(s, dest, 0));
  Type compute = computeType(tensorType(dest).getElementType());
  Value lowest = s.constant(compute, -std::numeric_limits<double>::infinity());
  auto maximum = [](ScalarBuilder &in, Value x, Value y) -> Value {
    return arith::MaxNumFOp::create(in.b, in.loc, x, y, kMaxFastMath);
  };
  if (!options.score || isNarrow(dest)) {
    Value from = source ? source : dest;
    auto state = loop(s, begin, end, lowest, [&](ScalarBuilder &in, Value j, ValueRange state) {
      return SmallVector<Value>{maximum(in, finished(in, from, j, options), state[0])};
    });
    return scored(s, begin, end, source, dest, state[0]);
  }
  auto state = loop(s, begin, end, {dest, lowest}, [&](ScalarBuilder &in, Value j, ValueRange state) {
    Value x = options.score(in, load(in, source ? source : state[0], j), j);
    return SmallVector<Value>{store(in, x, state[0], j), maximum(in, x, state[1])};
  });
  return scored(s, begin, end, Value(), state[0], state[1]);
}

std::pair<Value, Value> exponentialRow(ScalarBuilder &s, Value source, Value dest, const SoftmaxRow &options) {
  Scored row = scoreRow(s, source, dest, options);
  Type compute = row.maximum.getType();
  Value zero = s.constant(compute, 0);
  bool again = options.score && isNarrow(dest);
  auto state = loop(s, row.begin, row.end, {row.dest, zero}, [&](ScalarBuilder &in, Value j, ValueRange state) {
    Value from = row.source ? row.source : state[0];
    Value x = again ? finished(in, from, j, options) : load(in, from, j);
    Value e = in.exp(in.sub(x, row.maximum));
    return SmallVector<Value>{store(in, e, state[0], j), in.add(state[1], e)};
  });
  // A row of which nothing is visible is 0: the sum is not, since exp never is.
  Value none = s.bitOr(row.empty, s.equal(state[1], zero));
  Value inverse = s.select(none, zero, s.div(s.constant(compute, 1), state[1]));
  return {state[0], inverse};
}

static Value logRow(ScalarBuilder &s, Value source, Value dest, const SoftmaxRow &options) {
  Scored row = scoreRow(s, source, dest, options);
  Value zero = s.constant(row.maximum.getType(), 0), from = row.source ? row.source : row.dest;
  auto sum = loop(s, row.begin, row.end, zero, [&](ScalarBuilder &in, Value j, ValueRange state) {
    return SmallVector<Value>{in.add(state[0], in.exp(in.sub(load(in, from, j), row.maximum)))};
  });
  Value shift = s.add(row.maximum, math::LogOp::create(s.b, s.loc, sum[0], kFastMath));
  return loop(s, row.begin, row.end, row.dest, [&](ScalarBuilder &in, Value j, ValueRange state) {
    Value x = load(in, row.source ? row.source : state[0], j);
    return SmallVector<Value>{store(in, in.sub(x, shift), state[0], j)};
  })[0];
}

Value softmaxRow(ScalarBuilder &s, Value source, Value dest, const SoftmaxRow &options) {
  if (options.isLog)
    return logRow(s, source, dest, options);
  auto [row, inverse] = exponentialRow(s, source, dest, options);
  Value begin = options.begin ? options.begin : s.index(0);
  Value end = options.end ? options.end : s.value(dimOf(s, dest, 0));
  auto scale = [&](ScalarBuilder &in, Value j, ValueRange state) {
    return SmallVector<Value>{store(in, in.mul(load(in, state[0], j), inverse), state[0], j)};
  };
  return clearOutside(s, loop(s, begin, end, row, scale)[0], options);
}

Value clearOutside(ScalarBuilder &s, Value row, const SoftmaxRow &options) {
  auto clear = [&](ScalarBuilder &in, Value j, ValueRange state) {
    return SmallVector<Value>{store(in, in.constant(tensorType(row).getElementType(), 0), state[0], j)};
  };
  if (options.begin)
    row = loop(s, s.index(0), options.begin, row, clear)[0];
  if (options.end)
    row = loop(s, options.end, s.value(dimOf(s, row, 0)), row, clear)[0];
  return row;
}

} // namespace caat::lower
