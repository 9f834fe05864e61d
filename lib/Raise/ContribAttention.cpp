// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ONNX Runtime's operators for decoders: GroupQueryAttention, RotaryEmbedding.
#include "Contrib.h"

using namespace mlir;

namespace caat {

/// Positions past, past + 1, ... of every row: [B, S]. Null if a size is not computable.
static Value positions(const ContribOp &c, AffineExpr batch, AffineExpr sequence, AffineExpr past) {
  OnnxBuilder &b = c.b;
  Value start = b.sizeScalar(past), limit = b.sizeScalar(addDims(past, sequence));
  Value shape = b.sizeVector({batch, sequence});
  if (!start || !limit || !shape)
    return {};
  Value range = b.make<onnx::RangeOp>(start, limit, b.scalar(1, b.getI64Type()));
  return b.make<onnx::ExpandOp>(range, shape);
}

/// onnx.RotaryEmbedding on [B, H, S, D], for as many channels of each head as the caches cover.
static Value rotate(const ContribOp &c, Value x, Value cos, Value sin, Value ids, int64_t headSize, bool interleaved) {
  OnnxBuilder &b = c.b;
  int64_t half = c.shapes.getStaticDim(cos, -1).value_or(headSize / 2);
  int64_t rotated = 2 * half == headSize ? 0 : 2 * half;
  return b.make<onnx::RotaryEmbeddingOp>(x, cos, sin, ids, b.getI64IntegerAttr(interleaved), b.getI64IntegerAttr(0),
                                         b.getI64IntegerAttr(rotated));
}

/// What seqlens_k says: the keys of each row, new ones included, [B], and where the new ones begin. Both are null where
/// a size is not computable.
struct RowLengths {
  Value total, start;
};

static RowLengths rowLengths(const ContribOp &c, Value lengths, AffineExpr sequence) {
  OnnxBuilder &b = c.b;
  Value count = b.sizeScalar(sequence);
  if (!count)
    return {};
  Value wide = b.makeOf<onnx::CastOp>(b.getI64Type(), lengths, TypeAttr::get(b.getI64Type()));
  Value total = b.make<onnx::AddOp>(wide, b.scalar(1, b.getI64Type()));
  Value operands[] = {b.make<onnx::SubOp>(total, count), b.scalar(0, b.getI64Type())};
  auto start = onnx::MaxOp::create(b, b.getLocation(), UnrankedTensorType::get(b.getI64Type()), operands);
  return {total, b.learn(start.getMax())};
}

/// Whether a layer before has checked `lengths`; if not, this one does.
static bool isChecked(const ContribOp &c, Value lengths) {
  if (llvm::any_of(lengths.getUsers(), [](Operation *user) { return user->hasAttr("caat.checked"); }))
    return true;
  OnnxBuilder &b = c.b;
  Value mark = b.makeOf<onnx::CastOp>(b.getI64Type(), lengths, TypeAttr::get(b.getI64Type()));
  mark.getDefiningOp()->setAttr("caat.checked", b.getUnitAttr());
  return false;
}

/// No row may have more keys than the cache and the new tokens together, or none.
static LogicalResult checkRowLengths(const ContribOp &c, Value lengths, Value total, AffineExpr past,
                                     AffineExpr sequence) {
  OnnxBuilder &b = c.b;
  if (isChecked(c, lengths))
    return success();
  Value room = b.sizeScalar(addDims(past, sequence));
  if (!room)
    return failure();
  Value zero = b.scalar(0, b.getI64Type());
  auto reduced = [&](auto op, Value x) {
    return b.make<decltype(op)>(x, Value(), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
  };
  Value most = reduced(onnx::ReduceMaxOp(), total), least = reduced(onnx::ReduceMinOp(), total);
  Value holds = b.makeOf<onnx::AndOp>(b.getI1Type(), b.makeOf<onnx::LessOrEqualOp>(b.getI1Type(), most, room),
                                      b.makeOf<onnx::GreaterOp>(b.getI1Type(), least, zero));
  onnx::CheckOp::create(b, b.getLocation(), holds,
                        "GroupQueryAttention: a row's length (seqlens_k + 1) is not in 1 to the cache's length plus "
                        "the number of new tokens");
  return success();
}

/// Rows append at the same place of the cache: once it holds anything, every seqlens_k + 1 has to be past + S.
static LogicalResult checkEqualRows(const ContribOp &c, Value lengths, AffineExpr past, AffineExpr sequence) {
  OnnxBuilder &b = c.b;
  if (isChecked(c, lengths))
    return success();
  Value first = b.sizeScalar(past), last = b.sizeScalar(addDims(past, addDims(sequence, c.shapes.constant(-1))));
  if (!first || !last)
    return failure();
  Value wide = b.makeOf<onnx::CastOp>(b.getI64Type(), lengths, TypeAttr::get(b.getI64Type()));
  Value off = b.make<onnx::AbsOp>(b.make<onnx::SubOp>(wide, last)); // 0 where a row ends with the others
  Value off0 = b.make<onnx::MulOp>(off, first);                     // and everywhere without a past
  Value sum = b.make<onnx::ReduceSumOp>(off0, Value(), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
  Value equal = b.makeOf<onnx::EqualOp>(b.getI1Type(), sum, b.scalar(0, b.getI64Type()));
  onnx::CheckOp::create(
      b, b.getLocation(), equal,
      "GroupQueryAttention: rows of different lengths (seqlens_k) on a filled cache are not supported; "
      "run rows of one length together, or compile with --row-lengths",
      /*late=*/true); // places follow from the cache's length alone
  return success();
}

namespace {
/// GroupQueryAttention on its way to an Attention of four dimensions. What a part of it cannot convert it says by
/// ContribOp::missed.
struct GroupQueryAttention {
  const ContribOp &c;
  OnnxBuilder &b = c.b;
  int64_t heads = c.integer("num_heads", 0), groups = c.integer("kv_num_heads", 0), size = 0;
  int64_t window = c.integer("local_window_size", -1);
  Value query = c.input(0), key = c.input(1), value = c.input(2), pastKey = c.input(3), pastValue = c.input(4);
  AffineExpr past = {}, sequence = {};
  RowLengths rows = {};

  LogicalResult check();
  LogicalResult splitHeads();
  void normalizeHeads();
  LogicalResult takeLengths();
  LogicalResult rotateHeads();
  void finish();
};
} // namespace

LogicalResult GroupQueryAttention::check() {
  if (!query || heads <= 0 || heads > kMaxCount || groups <= 0 || heads % groups != 0)
    return c.missed("num_heads must be a multiple of kv_num_heads, got " + Twine(heads) + " and " + Twine(groups));
  if (window != -1 && window < 1)
    return c.missed("local_window_size is " + Twine(window) + ", which is no size");
  if (c.integer("sliding_window_cache", 0) || c.input(16))
    return c.missed("a cache that forgets, and rows of new tokens of different length, are not supported");
  if (c.integer("smooth_softmax", 0) > 0 || c.input(11))
    return c.missed("a sink in the softmax is not supported");
  if (c.integer("qk_output", 0) != 0 || c.hasUsedOutput(3))
    return c.missed("the products of queries and keys are an output");
  if (c.input(12) || c.input(13) || c.integer("kv_cache_bit_width", 0))
    return c.missed("a quantised cache is not supported");
  if (!pastKey != !pastValue)
    return c.missed("past_key and past_value come together");
  if (!key != !value)
    return c.missed("key and value come together");
  return success();
}

/// [B, S, heads * size], or one of them that holds all three, -> [B, heads, S, size].
LogicalResult GroupQueryAttention::splitHeads() {
  bool packed = !key;
  auto width = c.shapes.getStaticDim(query, 2);
  int64_t parts = packed ? heads + 2 * groups : heads;
  if (c.shapes.getRank(query) != 3 || !width || *width % parts != 0)
    return c.missed("query must have rank 3 and a known last dimension that is a multiple of " + Twine(parts));
  size = *width / parts;
  if (packed) {
    SmallVector<Value> split = b.split(query, 2, {heads * size, groups * size, groups * size});
    query = split[0];
    key = split[1];
    value = split[2];
  }
  query = b.splitHeads(query, heads, size);
  key = b.splitHeads(key, groups, size);
  value = b.splitHeads(value, groups, size);
  past = pastKey ? c.shapes.getDim(pastKey, 2) : c.shapes.constant(0);
  sequence = c.shapes.getDim(query, 2);
  return success();
}

/// Norms of each head of queries and keys, before they are rotated.
void GroupQueryAttention::normalizeHeads() {
  float epsilon = c.number("qk_norm_epsilon", 1e-6f);
  auto normalize = [&](Value x, Value weight, StringRef name) {
    return b.make<onnx::RMSNormalizationOp>(x, weight, b.getI64IntegerAttr(-1),
                                            b.getF32FloatAttr(c.number(name, epsilon)), b.getI64IntegerAttr(1));
  };
  if (Value weight = c.input(14))
    query = normalize(query, weight, "q_norm_epsilon");
  if (Value weight = c.input(15))
    key = normalize(key, weight, "k_norm_epsilon");
}

LogicalResult GroupQueryAttention::takeLengths() {
  Value lengths = c.input(5);
  if (!lengths || !pastKey)
    return success();
  if (c.rowLengths)
    rows = rowLengths(c, lengths, sequence);
  LogicalResult checked =
      rows.total ? checkRowLengths(c, lengths, rows.total, past, sequence) : checkEqualRows(c, lengths, past, sequence);
  if (failed(checked))
    return c.missed("the length of the cache is not the size of an argument");
  return success();
}

LogicalResult GroupQueryAttention::rotateHeads() {
  if (!c.integer("do_rotary", 0))
    return success();
  Value cos = c.input(7), sin = c.input(8), ids = c.input(9);
  if (!cos || !sin)
    return c.missed("do_rotary is set without caches");
  if (!ids) {
    ids = positions(c, c.shapes.getDim(query, 0), sequence, rows.start ? c.shapes.constant(0) : past);
    if (ids && rows.start)
      ids = b.make<onnx::AddOp>(ids, b.unsqueeze(rows.start, {1}));
  }
  if (!ids)
    return c.missed("the length of the cache is not the size of an argument");
  bool interleaved = c.integer("rotary_interleaved", 0);
  query = rotate(c, query, cos, sin, ids, size, interleaved);
  key = rotate(c, key, cos, sin, ids, size, interleaved);
  return success();
}

void GroupQueryAttention::finish() {
  auto attention = b.attention({.q = query,
                                .k = key,
                                .v = value,
                                .mask = c.input(10),
                                .pastKey = pastKey,
                                .pastValue = pastValue,
                                .causal = c.integer("causal", 1) != 0,
                                .scale = c.number("scale", 0),
                                .softcap = c.number("softcap", 0),
                                .left = window == -1 ? -1 : window - 1,
                                .lengths = rows.total});
  c.replace(0, b.joinHeads(attention.getY(), heads * size));
  c.replace(1, pastKey ? attention.getPresentKey() : key);
  c.replace(2, pastValue ? attention.getPresentValue() : value);
  remarkPassed(c.op, "group-query-attention",
               rows.total
                   ? "each row goes on behind its own past (seqlens_k)"
                   : "positions follow from the length of the cache: rows that are shorter than others (seqlens_k) are "
                     "taken as a first prompt, and refused at run time when the cache goes on");
}

LogicalResult convertGroupQueryAttention(const ContribOp &c) {
  GroupQueryAttention op{c};
  if (failed(op.check()) || failed(op.splitHeads()))
    return failure();
  op.normalizeHeads();
  if (failed(op.takeLengths()) || failed(op.rotateHeads()))
    return failure();
  op.finish();
  return success();
}

LogicalResult convertRotaryEmbedding(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value x = c.input(0), ids = c.input(1), cos = c.input(2), sin = c.input(3);
  auto rank = c.shapes.getRank(x), half = x ? c.shapes.getStaticDim(cos, 1) : std::nullopt;
  if (!x || !ids || !cos || !sin || !half)
    return c.missed("an operand is missing, or the caches' size is not known");
  if (c.integer("is_packed_batching", 0) || c.number("scale", 1.0f) != 1.0f)
    return c.missed("packed batches and a scale are not supported");
  int64_t heads = c.integer("num_heads", 0), width = c.shapes.getStaticDim(x, -1).value_or(0);
  if (rank == 3 && width > 0) {
    int64_t size = heads > 0 ? width / heads : 2 * *half;
    heads = width / size;
    x = b.splitHeads(x, heads, size);
  } else if (rank != 4) {
    return c.missed("the input must have rank 4, or 3 with a known width");
  }
  if (c.shapes.getRank(ids) != 2) { // one offset for all rows
    Value offsets = positions(c, c.shapes.getDim(x, 0), c.shapes.getDim(x, 2), c.shapes.constant(0));
    if (!offsets)
      return c.missed("the sizes of batch and sequence are not those of an argument");
    ids = b.make<onnx::AddOp>(offsets, ids);
  }
  int64_t size = c.shapes.getStaticDim(x, 3).value_or(2 * *half);
  Value rotated = rotate(c, x, cos, sin, ids, size, c.integer("interleaved", 0) != 0);
  c.replace(0, rank == 3 ? b.joinHeads(rotated, width) : rotated);
  return success();
}

} // namespace caat
