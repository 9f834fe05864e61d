// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention and RotaryEmbedding (opset 23) in operators of opset 13.
#include "LowerOpset.h"

using namespace mlir;
using namespace caat;

static Type elementOf(Value value) { return getElementTypeOrSelf(value.getType()); }

static LogicalResult refuse(StringRef &why, StringRef reason) {
  why = reason;
  return failure();
}

static Value concat(OnnxBuilder &b, ArrayRef<Value> parts, int64_t axis) {
  return b.makeOf<onnx::ConcatOp>(elementOf(parts[0]), ValueRange(parts), axis);
}

LogicalResult caat::lowerRotaryEmbedding(onnx::RotaryEmbeddingOp op, OnnxBuilder &b, StringRef &why) {
  SymbolicShapes &shapes = b.getShapes();
  Value x = op.getX(), cos = op.getCosCache(), sin = op.getSinCache();
  std::optional<int64_t> rank = shapes.getRank(x);
  if (!rank)
    return refuse(why, "the rank of its operand is not known");
  bool isFlat = *rank == 3;
  if (isFlat)
    x = b.reshape(x, {0, 0, op.getNumHeads(), -1});
  std::optional<int64_t> half = shapes.getStaticDim(cos, -1), headSize = shapes.getStaticDim(x, 3);
  if (!half || !headSize)
    return refuse(why, "its head size is not known");
  if (Value positions = op.getPositionIds()) {
    cos = b.make<onnx::GatherOp>(cos, positions, 0);
    sin = b.make<onnx::GatherOp>(sin, positions, 0);
  }
  int64_t headAxis = isFlat ? 2 : 1;
  cos = b.unsqueeze(cos, {headAxis});
  sin = b.unsqueeze(sin, {headAxis});

  int64_t rotated = 2 * *half;
  bool interleaved = op.getInterleaved();
  Value first, second;
  if (interleaved) {
    auto every = [&](int64_t start) {
      return b.make<onnx::SliceOp>(x, b.ints({start}), b.ints({rotated}), b.ints({3}), b.ints({2}));
    };
    first = every(0);
    second = every(1);
  } else {
    first = b.slice(x, 3, 0, *half);
    second = b.slice(x, 3, *half, rotated);
  }
  auto mul = [&](Value l, Value r) { return b.make<onnx::MulOp>(l, r); };
  Value real = b.make<onnx::SubOp>(mul(first, cos), mul(second, sin));
  Value imaginary = b.make<onnx::AddOp>(mul(first, sin), mul(second, cos));
  SmallVector<Value> parts;
  if (interleaved)
    parts.push_back(b.reshape(concat(b, {b.unsqueeze(real, {4}), b.unsqueeze(imaginary, {4})}, 4), {0, 0, 0, rotated}));
  else
    parts = {real, imaginary};
  if (rotated < *headSize)
    parts.push_back(b.slice(x, 3, rotated, *headSize));
  Value result = parts.size() == 1 ? parts[0] : concat(b, parts, 3);
  if (isFlat)
    result = b.reshape(result, {0, 0, op.getNumHeads() * *headSize});
  op.getResult().replaceAllUsesWith(result);
  return success();
}

namespace {

/// Builds the attention of 4-D operands step by step.
class AttentionLowering {
public:
  AttentionLowering(onnx::AttentionOp op, OnnxBuilder &b) : op(op), b(b) {}
  LogicalResult run(StringRef &why);

private:
  Value sizeOf(Value x, int64_t axis) {
    return b.makeOf<onnx::ShapeOp>(b.getI64Type(), x, b.getI64IntegerAttr(axis + 1), axis);
  }
  /// 0, 1, … as many as `size` [1] says.
  Value count(Value size) {
    Value zero = integer(0), one = integer(1);
    return b.make<onnx::RangeOp>(zero, b.make<onnx::SqueezeOp>(size, b.ints({0})), one);
  }
  Value integer(int64_t value) {
    auto type = RankedTensorType::get({}, b.getI64Type());
    return b.learn(onnx::ConstantOp::create(b, b.getLocation(), DenseElementsAttr::get(type, value)).getResult());
  }
  Value heads(Value x, std::optional<int64_t> number) {
    return b.transpose(b.reshape(x, {0, 0, number.value_or(1), -1}), {0, 2, 1, 3});
  }
  Value visible(Value q, Value k);
  void both(Value &all, Value other) { all = all ? b.makeOf<onnx::AndOp>(b.getI1Type(), all, other) : other; }

  onnx::AttentionOp op;
  OnnxBuilder &b;
};

/// Which keys each query may see by its position, [S, T]; null for all.
Value AttentionLowering::visible(Value q, Value k) {
  int64_t left = op.getLeftWindowSize(), right = op.getIsCausal() ? 0 : op.getRightWindowSize();
  if (left < 0 && right < 0)
    return {};
  Value keys = count(sizeOf(k, 2)), queries = count(sizeOf(q, 2));
  if (op.getPastKey())
    queries = b.make<onnx::AddOp>(queries, sizeOf(op.getPastKey(), 2));
  queries = b.unsqueeze(queries, {1});
  Value all;
  if (right >= 0)
    both(all, b.makeOf<onnx::LessOrEqualOp>(b.getI1Type(), keys,
                                            right ? b.make<onnx::AddOp>(queries, integer(right)) : queries));
  if (left >= 0)
    both(all, b.makeOf<onnx::GreaterOrEqualOp>(b.getI1Type(), keys,
                                               left ? b.make<onnx::SubOp>(queries, integer(left)) : queries));
  return all;
}

LogicalResult AttentionLowering::run(StringRef &why) {
  SymbolicShapes &shapes = b.getShapes();
  if (op.getNonpadKvSeqlen())
    return refuse(why, "it takes lengths of rows (nonpad_kv_seqlen)");
  if (op.getQkMatmulOutput() && !op.getQkMatmulOutput().use_empty())
    return refuse(why, "its scores are a result");
  Value q = op.getQ(), k = op.getK(), v = op.getV();
  std::optional<int64_t> rank = shapes.getRank(q);
  if (!rank)
    return refuse(why, "the rank of its operands is not known");
  bool isFlat = *rank == 3;
  if (isFlat) {
    q = heads(q, op.getQNumHeads());
    k = heads(k, op.getKvNumHeads());
    v = heads(v, op.getKvNumHeads());
  }
  std::optional<int64_t> queryHeads = shapes.getStaticDim(q, 1), keyHeads = shapes.getStaticDim(k, 1),
                         size = shapes.getStaticDim(q, 3), valueSize = shapes.getStaticDim(v, 3);
  if (!queryHeads || !keyHeads || !size || !valueSize || *keyHeads == 0)
    return refuse(why, "its numbers of heads or their size are not known");
  if (op.getPastKey()) {
    k = concat(b, {op.getPastKey(), k}, 2);
    v = concat(b, {op.getPastValue(), v}, 2);
  }
  if (op.getPresentKey())
    op.getPresentKey().replaceAllUsesWith(k);
  if (op.getPresentValue())
    op.getPresentValue().replaceAllUsesWith(v);
  if (int64_t group = *queryHeads / *keyHeads; group > 1) {
    auto repeat = [&](Value x, int64_t width) {
      Value wide = b.make<onnx::ExpandOp>(b.unsqueeze(x, {2}), b.ints({1, 1, group, 1, 1}));
      return b.reshape(wide, {0, *queryHeads, -1, width});
    };
    k = repeat(k, *size);
    v = repeat(v, *valueSize);
  }

  Type element = elementOf(q);
  double scale = op.getScale() ? op.getScale()->convertToFloat() : 1 / std::sqrt(double(*size));
  Value scores = b.make<onnx::MatMulOp>(b.make<onnx::MulOp>(q, b.scalar(scale, element)), b.transpose(k, {0, 1, 3, 2}));
  if (double cap = op.getSoftcap().convertToFloat(); cap > 0) {
    Value number = b.scalar(cap, element);
    scores = b.make<onnx::MulOp>(b.make<onnx::TanhOp>(b.make<onnx::DivOp>(scores, number)), number);
  }
  Value keep = visible(q, k), mask = op.getAttnMask();
  if (mask && elementOf(mask).isInteger(1))
    both(keep, mask);
  else if (mask)
    scores = b.make<onnx::AddOp>(scores, castTo(b, mask, element));
  if (keep)
    scores =
        b.makeOf<onnx::WhereOp>(element, keep, scores, b.scalar(-std::numeric_limits<double>::infinity(), element));
  // FLOAT is 1, the only precision above the operands' that ONNX Runtime has for them.
  bool inFloat = op.getSoftmaxPrecision() == 1 && !element.isF32() && !element.isF64();
  Value rows = castTo(b, scores, inFloat ? Type(b.getF32Type()) : element);
  Value weights = b.make<onnx::SoftmaxOp>(rows, /*axis=*/-1);
  if (keep || mask) { // a row that sees nothing is zero, not the mean of nothing
    Value top = b.make<onnx::ReduceMaxOp>(rows, b.ints({-1}));
    Value blind = b.makeOf<onnx::IsInfOp>(b.getI1Type(), top, /*detect_negative=*/1, /*detect_positive=*/0);
    weights = b.makeOf<onnx::WhereOp>(elementOf(weights), blind, b.scalar(0, elementOf(weights)), weights);
  }
  Value result = b.make<onnx::MatMulOp>(castTo(b, weights, element), v);
  if (isFlat)
    result = b.reshape(b.transpose(result, {0, 2, 1, 3}), {0, 0, *queryHeads * *valueSize});
  op.getY().replaceAllUsesWith(result);
  return success();
}

} // namespace

LogicalResult caat::lowerAttention(onnx::AttentionOp op, OnnxBuilder &b, StringRef &why) {
  return AttentionLowering(op, b).run(why);
}
