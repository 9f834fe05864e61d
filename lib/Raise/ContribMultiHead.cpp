// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MultiHeadAttention and Attention of com.microsoft: the packed forms of ONNX Runtime's transformer optimizer.
#include "Contrib.h"

using namespace mlir;

namespace caat {

/// A part of a packed tensor: element `index` of `axis`, without that dimension.
static Value part(OnnxBuilder &b, Value packed, int64_t axis, int64_t index) {
  return b.make<onnx::GatherOp>(packed, b.scalar(index, b.getI64Type()), axis);
}

/// Positions 0, 1, ... below `size`, as i64 [size]; null if the size is not computable.
static Value positionsBelow(OnnxBuilder &b, AffineExpr size) {
  Value limit = b.sizeScalar(size);
  return limit ? b.make<onnx::RangeOp>(b.scalar(0, b.getI64Type()), limit, b.scalar(1, b.getI64Type())) : Value();
}

static Value asInt64(OnnxBuilder &b, Value x) {
  return getElementTypeOrSelf(x).isInteger(64)
             ? x
             : b.makeOf<onnx::CastOp>(b.getI64Type(), x, TypeAttr::get(b.getI64Type()));
}

/// Which keys the queries see by a mask in one of ONNX Runtime's forms: a boolean that is broadcast to [B, H, S, T];
/// null where the form is not known. [B]: keys before a row's length; [2 * B]: ends, then starts; [B, T] and [B, S, T]:
/// 1 where visible.
static FailureOr<Value> visibleKeys(const ContribOp &c, Value mask, AffineExpr batch, AffineExpr keys) {
  OnnxBuilder &b = c.b;
  auto rank = c.shapes.getRank(mask);
  if (rank == 2 || rank == 3) {
    Value visible = b.makeOf<onnx::CastOp>(b.getI1Type(), mask, TypeAttr::get(b.getI1Type()));
    return rank == 2 ? b.unsqueeze(visible, {1, 2}) : b.unsqueeze(visible, {1});
  }
  Value places = rank == 1 ? positionsBelow(b, keys) : Value();
  if (!places)
    return c.missed("the mask must have rank 1, 2 or 3 and the number of keys be the size of an argument");
  AffineExpr length = c.shapes.getDim(mask, 0);
  auto below = [&](Value bound) { // [B] -> [B, 1, 1, T]
    return b.makeOf<onnx::LessOp>(b.getI1Type(), places, b.unsqueeze(asInt64(b, bound), {1, 2, 3}));
  };
  auto twice = c.shapes.constant(2);
  if (length == c.shapes.resolve(batch))
    return below(mask);
  if (length == mulDims(twice, c.shapes.resolve(batch))) {
    Value halves = b.make<onnx::ReshapeOp>(mask, b.ints({2, -1}));
    Value beforeStart = below(part(b, halves, 0, 1));
    return b.makeOf<onnx::AndOp>(b.getI1Type(), below(part(b, halves, 0, 0)),
                                 b.makeOf<onnx::NotOp>(b.getI1Type(), beforeStart));
  }
  return c.missed("a mask of rank 1 must have as many elements as the batch has rows, or twice as many");
}

/// The visible keys and the numbers to add, either of which may be null, as one mask.
static Value joinMasks(const ContribOp &c, Value visible, Value added) {
  if (!visible || !added)
    return visible ? visible : added;
  OnnxBuilder &b = c.b;
  Type element = getElementTypeOrSelf(added);
  Value hidden = b.scalar(c.number("mask_filter_value", -10000.0f), element);
  return b.make<onnx::AddOp>(added, b.makeOf<onnx::WhereOp>(element, visible, b.scalar(0, element), hidden));
}

LogicalResult convertMultiHeadAttention(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value query = c.input(0), key = c.input(1), value = c.input(2), bias = c.input(3), padding = c.input(4);
  Value added = c.input(5), pastKey = c.input(6), pastValue = c.input(7);
  int64_t heads = c.integer("num_heads", 0);
  if (!query || heads <= 0 || heads > kMaxCount)
    return c.missed("query or num_heads is missing");
  if (c.input(8) || c.input(9))
    return c.missed("a shared cache and beams are not supported");
  if (c.hasUsedOutput(3))
    return c.missed("the products of queries and keys are an output");
  if (!pastKey != !pastValue)
    return c.missed("past_key and past_value come together");

  // [B, S, H, 3, D] holds all three, key [B, T, H, 2, D] two; the others are [B, S, H * D], or heads already [B, H, T,
  // D].
  auto merged = [&](Value packed, int64_t index) -> Value { // [B, S, H, D] -> [B, S, H * D]
    auto size = c.shapes.getStaticDim(packed, 4);
    return size ? b.reshape(part(b, packed, 3, index), {0, 0, heads * *size}) : Value();
  };
  if (c.shapes.getRank(query) == 5 && !key && !value) {
    Value packed = query;
    query = merged(packed, 0), key = merged(packed, 1), value = merged(packed, 2);
  } else if (key && c.shapes.getRank(key) == 5 && !value) {
    Value packed = key;
    key = merged(packed, 0), value = merged(packed, 1);
  }
  if (!query || !key || !value)
    return c.missed("key and value are missing, or the head size of the packed form is not known");
  bool splitKeys = c.shapes.getRank(key) == 4 && c.shapes.getRank(value) == 4;
  if (c.shapes.getRank(query) != 3 || (!splitKeys && (c.shapes.getRank(key) != 3 || c.shapes.getRank(value) != 3)))
    return c.missed("query, key and value must have rank 3, or be packed with rank 5");
  SmallVector<int64_t> widths;
  for (Value operand : {query, key, value}) {
    auto width = c.shapes.getStaticDim(operand, -1);
    if (width && c.shapes.getRank(operand) == 4)
      width = *width * heads;
    if (!width || *width % heads != 0)
      return c.missed("the width of each operand must be a known multiple of num_heads");
    widths.push_back(*width);
  }
  if (bias) {
    // Slices, not a Split: each is a weight of its own.
    auto biased = [&](Value x, int64_t start, int64_t width) {
      return b.make<onnx::AddOp>(x, b.slice(bias, 0, start, start + width));
    };
    query = biased(query, 0, widths[0]);
    if (!splitKeys) {
      key = biased(key, widths[0], widths[1]);
      value = biased(value, widths[0] + widths[1], widths[2]);
    }
  }
  query = b.splitHeads(query, heads, widths[0] / heads);
  if (!splitKeys) {
    key = b.splitHeads(key, heads, widths[1] / heads);
    value = b.splitHeads(value, heads, widths[2] / heads);
  }
  Value visible;
  if (padding) {
    AffineExpr keys = c.shapes.getDim(key, 2);
    if (pastKey)
      keys = addDims(keys, c.shapes.getDim(pastKey, 2));
    FailureOr<Value> mask = visibleKeys(c, padding, c.shapes.getDim(query, 0), keys);
    if (failed(mask))
      return failure();
    visible = *mask;
  }
  auto attention = b.attention({.q = query,
                                .k = key,
                                .v = value,
                                .mask = joinMasks(c, visible, added),
                                .pastKey = pastKey,
                                .pastValue = pastValue,
                                .causal = c.integer("unidirectional", 0) != 0,
                                .scale = c.number("scale", 0)});
  c.replace(0, b.joinHeads(attention.getY(), widths[2]));
  c.replace(1, pastKey ? attention.getPresentKey() : key);
  c.replace(2, pastValue ? attention.getPresentValue() : value);
  return success();
}

/// The product with the packed weight is inside: input [B, S, C], weights [C, q | k | v].
LogicalResult convertPackedAttention(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value input = c.input(0), weights = c.input(1), bias = c.input(2), maskIndex = c.input(3), past = c.input(4);
  Value added = c.input(5);
  int64_t heads = c.integer("num_heads", 0);
  if (!input || !weights || heads <= 0 || heads > kMaxCount || c.shapes.getRank(input) != 3)
    return c.missed("an operand or num_heads is missing, or the input has not rank 3");
  if (c.integer("do_rotary", 0) || c.integer("past_present_share_buffer", 0) || c.input(6))
    return c.missed("do_rotary and a shared cache are not supported");
  auto width = c.shapes.getStaticDim(weights, 1);
  if (!width)
    return c.missed("the width of the weights is not known");
  SmallVector<int64_t> widths(3, *width / 3);
  if (auto sizes = c.op.getNodeAttributes().getAs<DenseI64ArrayAttr>("qkv_hidden_sizes"))
    widths.assign(sizes.asArrayRef().begin(), sizes.asArrayRef().end());
  if (widths.size() != 3 || llvm::any_of(widths, [&](int64_t size) { return size > *width; }) ||
      widths[0] + widths[1] + widths[2] != *width ||
      llvm::any_of(widths, [&](int64_t size) { return size <= 0 || size % heads != 0; }))
    return c.missed(
        "the widths of query, key and value must be multiples of num_heads and add up to that of the weights");

  Value packed = b.make<onnx::MatMulOp>(input, weights);
  if (bias)
    packed = b.make<onnx::AddOp>(packed, bias);
  SmallVector<Value> parts = b.split(packed, 2, widths);
  for (auto [value, size] : llvm::zip_equal(parts, widths))
    value = b.splitHeads(value, heads, size / heads);
  Value pastKey, pastValue;
  AffineExpr keys = c.shapes.getDim(input, 1);
  if (past) { // [2, B, H, P, D]
    pastKey = part(b, past, 0, 0);
    pastValue = part(b, past, 0, 1);
    keys = addDims(keys, c.shapes.getDim(past, 3));
  }
  Value visible;
  if (maskIndex) {
    FailureOr<Value> mask = visibleKeys(c, maskIndex, c.shapes.getDim(input, 0), keys);
    if (failed(mask))
      return failure();
    visible = *mask;
  }
  auto attention = b.attention({.q = parts[0],
                                .k = parts[1],
                                .v = parts[2],
                                .mask = joinMasks(c, visible, added),
                                .pastKey = pastKey,
                                .pastValue = pastValue,
                                .causal = c.integer("unidirectional", 0) != 0,
                                .scale = c.number("scale", 0)});
  c.replace(0, b.joinHeads(attention.getY(), widths[2]));
  if (c.hasUsedOutput(1)) {
    SmallVector<Value> present = {past ? attention.getPresentKey() : parts[1],
                                  past ? attention.getPresentValue() : parts[2]};
    for (Value &value : present)
      value = b.unsqueeze(value, {0});
    c.replace(1, b.concat(present, 0));
  }
  return success();
}

} // namespace caat
