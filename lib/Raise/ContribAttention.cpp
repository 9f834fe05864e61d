// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ONNX Runtime's attention operators: GroupQueryAttention, MultiHeadAttention, RotaryEmbedding.
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

/// Rows append at the same place of the cache: once it holds anything, every seqlens_k + 1 has to be past + S.
static LogicalResult checkEqualRows(const ContribOp &c, Value lengths, AffineExpr past, AffineExpr sequence) {
  OnnxBuilder &b = c.b;
  if (llvm::any_of(lengths.getUsers(), [](Operation *user) { return user->hasAttr("caat.checked"); }))
    return success(); // by the layer before
  Value first = b.sizeScalar(past), last = b.sizeScalar(addDims(past, addDims(sequence, c.shapes.constant(-1))));
  if (!first || !last)
    return failure();
  Value wide = b.makeOf<onnx::CastOp>(b.getI64Type(), lengths, TypeAttr::get(b.getI64Type()));
  wide.getDefiningOp()->setAttr("caat.checked", b.getUnitAttr());
  Value off = b.make<onnx::AbsOp>(b.make<onnx::SubOp>(wide, last)); // 0 where a row ends with the others
  Value off0 = b.make<onnx::MulOp>(off, first);                     // and everywhere without a past
  Value sum = b.make<onnx::ReduceSumOp>(off0, Value(), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
  Value equal = b.makeOf<onnx::EqualOp>(b.getI1Type(), sum, b.scalar(0, b.getI64Type()));
  onnx::CheckOp::create(
      b, b.getLocation(), equal,
      "GroupQueryAttention: rows of different lengths (seqlens_k) on a filled cache are not supported; "
      "run rows of one length together");
  return success();
}

LogicalResult convertGroupQueryAttention(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value query = c.input(0), key = c.input(1), value = c.input(2), pastKey = c.input(3), pastValue = c.input(4);
  Value cos = c.input(7), sin = c.input(8), ids = c.input(9);
  int64_t heads = c.integer("num_heads", 0), groups = c.integer("kv_num_heads", 0);
  if (!query || heads <= 0 || groups <= 0 || heads % groups != 0)
    return c.missed("num_heads must be a multiple of kv_num_heads, got " + Twine(heads) + " and " + Twine(groups));
  if (int64_t window = c.integer("local_window_size", -1); window != -1)
    return c.missed("local_window_size is " + Twine(window) + ", only -1 is supported");
  if (c.integer("smooth_softmax", 0) > 0 || c.input(11))
    return c.missed("a sink in the softmax is not supported");
  if (c.integer("qk_output", 0) != 0 || c.hasUsedOutput(3))
    return c.missed("the products of queries and keys are an output");
  if (c.input(12) || c.input(13))
    return c.missed("a quantised cache is not supported");
  if (!pastKey != !pastValue)
    return c.missed("past_key and past_value come together");
  bool packed = !key;
  if (packed != !value)
    return c.missed("key and value come together");
  auto width = c.shapes.getStaticDim(query, 2);
  int64_t parts = packed ? heads + 2 * groups : heads;
  if (c.shapes.getRank(query) != 3 || !width || *width % parts != 0)
    return c.missed("query must have rank 3 and a known last dimension that is a multiple of " + Twine(parts));
  int64_t size = *width / parts;
  if (packed) {
    SmallVector<Value> split = b.split(query, 2, {heads * size, groups * size, groups * size});
    query = split[0];
    key = split[1];
    value = split[2];
  }
  query = b.splitHeads(query, heads, size);
  key = b.splitHeads(key, groups, size);
  value = b.splitHeads(value, groups, size);

  if (c.integer("do_rotary", 0)) {
    if (!cos || !sin)
      return c.missed("do_rotary is set without caches");
    AffineExpr past = pastKey ? c.shapes.getDim(pastKey, 2) : c.shapes.constant(0);
    if (!ids)
      ids = positions(c, c.shapes.getDim(query, 0), c.shapes.getDim(query, 2), past);
    if (!ids)
      return c.missed("the length of the cache is not the size of an argument");
    bool interleaved = c.integer("rotary_interleaved", 0);
    query = rotate(c, query, cos, sin, ids, size, interleaved);
    key = rotate(c, key, cos, sin, ids, size, interleaved);
  }

  if (Value lengths = c.input(5); lengths && pastKey)
    if (failed(checkEqualRows(c, lengths, c.shapes.getDim(pastKey, 2), c.shapes.getDim(query, 2))))
      return c.missed("the length of the cache is not the size of an argument");
  auto attention = b.attention({.q = query,
                                .k = key,
                                .v = value,
                                .mask = c.input(10),
                                .pastKey = pastKey,
                                .pastValue = pastValue,
                                .causal = true,
                                .scale = c.number("scale", 0),
                                .softcap = c.number("softcap", 0)});
  c.replace(0, b.joinHeads(attention.getY(), heads * size));
  c.replace(1, pastKey ? attention.getPresentKey() : key);
  c.replace(2, pastValue ? attention.getPresentValue() : value);
  remarkPassed(
      c.op, "group-query-attention",
      "positions follow from the length of the cache: rows that are shorter than others (seqlens_k) are taken as "
      "a first prompt, and refused at run time when the cache goes on");
  return success();
}

LogicalResult convertMultiHeadAttention(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value query = c.input(0), key = c.input(1), value = c.input(2), bias = c.input(3), padding = c.input(4);
  Value mask = c.input(5), pastKey = c.input(6), pastValue = c.input(7);
  int64_t heads = c.integer("num_heads", 0);
  if (!query || !key || !value)
    return c.missed("packed query, key and value are not supported");
  if (heads <= 0 || c.shapes.getRank(query) != 3 || c.shapes.getRank(key) != 3 || c.shapes.getRank(value) != 3)
    return c.missed("query, key and value must have rank 3");
  if (padding && (mask || c.shapes.getRank(padding) != 2))
    return c.missed("key_padding_mask must have rank 2 and stand alone");
  if (!pastKey != !pastValue || c.hasUsedOutput(3))
    return c.missed("past_key and past_value come together");
  SmallVector<int64_t> widths;
  for (Value operand : {query, key, value}) {
    auto width = c.shapes.getStaticDim(operand, 2);
    if (!width || *width % heads != 0)
      return c.missed("the width of each operand must be a known multiple of num_heads");
    widths.push_back(*width);
  }
  if (bias) {
    SmallVector<Value> parts = b.split(bias, 0, widths);
    query = b.make<onnx::AddOp>(query, parts[0]);
    key = b.make<onnx::AddOp>(key, parts[1]);
    value = b.make<onnx::AddOp>(value, parts[2]);
  }
  if (padding) { // 1 where a key is valid
    Value visible = b.makeOf<onnx::CastOp>(b.getI1Type(), padding, TypeAttr::get(b.getI1Type()));
    mask = b.unsqueeze(visible, {1, 2});
  }
  key = b.splitHeads(key, heads, widths[1] / heads);
  value = b.splitHeads(value, heads, widths[2] / heads);
  query = b.splitHeads(query, heads, widths[0] / heads);
  auto attention = b.attention({.q = query,
                                .k = key,
                                .v = value,
                                .mask = mask,
                                .pastKey = pastKey,
                                .pastValue = pastValue,
                                .causal = c.integer("unidirectional", 0) != 0,
                                .scale = c.number("scale", 0)});
  c.replace(0, b.joinHeads(attention.getY(), widths[2]));
  c.replace(1, pastKey ? attention.getPresentKey() : key);
  c.replace(2, pastValue ? attention.getPresentValue() : value);
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
