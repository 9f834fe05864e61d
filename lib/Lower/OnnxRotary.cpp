// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rotary position embedding as one kernel with a row per token. It works on [B, S, H, D], the order in which products
// write heads: transposes before and after it cancel against the graph's own.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

/// The channels [offset, offset + stride * count) of all heads of a token [H, D].
struct Half {
  int64_t offset, count, stride;
};

} // namespace

static Value takeHalf(ScalarBuilder &s, Value token, Half half) {
  auto heads = dimOf(s, token, 0);
  Dims offsets = {s.b.getIndexAttr(0), s.b.getIndexAttr(half.offset)}, sizes = {heads, s.b.getIndexAttr(half.count)};
  Dims strides = {s.b.getIndexAttr(1), s.b.getIndexAttr(half.stride)};
  return tensor::ExtractSliceOp::create(s.b, s.loc, token, offsets, sizes, strides);
}

static Value putHalf(ScalarBuilder &s, Value part, Value token, Half half) {
  auto heads = dimOf(s, token, 0);
  Dims offsets = {s.b.getIndexAttr(0), s.b.getIndexAttr(half.offset)}, sizes = {heads, s.b.getIndexAttr(half.count)};
  Dims strides = {s.b.getIndexAttr(1), s.b.getIndexAttr(half.stride)};
  return tensor::InsertSliceOp::create(s.b, s.loc, part, token, offsets, sizes, strides);
}

/// dest = a * cos + sign * b * sin, where a and b are [H, R/2] and cos and sin [R/2].
static Value rotate(ScalarBuilder &s, Value a, Value b, Value cos, Value sin, bool minus, Value dest) {
  MLIRContext *context = s.b.getContext();
  AffineMap identity = AffineMap::getMultiDimIdentityMap(2, context);
  AffineMap channel = AffineMap::get(2, 0, getAffineDimExpr(1, context), context);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      s.b, s.loc, dest.getType(), ValueRange{a, b, cos, sin}, dest, {identity, identity, channel, channel, identity},
      iterators, [&](OpBuilder &inner, Location loc, ValueRange args) {
        ScalarBuilder in{inner, loc};
        Type element = args[4].getType(), compute = computeType(element);
        SmallVector<Value> v = llvm::map_to_vector(args, [&](Value x) { return in.cast(x, compute); });
        Value x = in.mul(v[0], v[2]), y = in.mul(v[1], v[3]);
        linalg::YieldOp::create(inner, loc, in.cast(minus ? in.sub(x, y) : in.add(x, y), element));
      });
  return generic.getResult(0);
}

namespace {

struct RotaryPattern : OpRewritePattern<onnx::RotaryEmbeddingOp> {
  RotaryPattern(MLIRContext *context, bool forGPU) : OpRewritePattern(context), forGPU(forGPU) {}

  /// Whether the result is only put into a larger tensor, a cache: then it is made as that has it, [B, H, S, D], and
  /// nothing needs to be copied.
  static bool isAppended(onnx::RotaryEmbeddingOp op) {
    if (!op.getY().hasOneUse())
      return false;
    OpOperand &use = *op.getY().use_begin();
    auto attention = dyn_cast<onnx::AttentionOp>(use.getOwner());
    if (attention)
      return attention.getK() == op.getY() && attention.getPastKey() && !attention.getNonpadKvSeqlen();
    auto insert = dyn_cast<tensor::InsertSliceOp>(use.getOwner());
    return insert && insert.getSource() == op.getY();
  }

  LogicalResult matchAndRewrite(onnx::RotaryEmbeddingOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getX());
    bool flat = type.getRank() == 3;
    int64_t width = type.getShape().back();
    if (ShapedType::isDynamic(width))
      return rewriter.notifyMatchFailure(op, "the head size is not static");
    int64_t size = flat ? width / op.getNumHeads() : width;
    int64_t rotated = op.getRotaryEmbeddingDim() ? op.getRotaryEmbeddingDim() : size;
    Value x = flat ? expanded(s, op.getX(), 2, {rewriter.getIndexAttr(op.getNumHeads()), rewriter.getIndexAttr(size)})
                   : transposed(s, op.getX(), {0, 2, 1, 3});
    Dims dims = dimsOf(s, x);
    bool interleaved = op.getInterleaved();
    Half first = {0, rotated / 2, interleaved ? 2 : 1};
    Half second = {interleaved ? 1 : rotated / 2, rotated / 2, interleaved ? 2 : 1};
    Value cosCache = op.getCosCache(), sinCache = op.getSinCache(), positions = op.getPositionIds();
    bool headMajor = forGPU && !flat && isAppended(op);
    auto byHead = [&](Dims of) -> Dims {
      if (headMajor)
        std::swap(of[1], of[2]);
      return of;
    };
    Value init = empty(s, byHead(dims), tensorType(op.getY()).getElementType());
    OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1),
                 half = rewriter.getIndexAttr(rotated / 2);

    auto body = [&](ScalarBuilder &in, Value row, ValueRange outs) {
      SmallVector<Value> at = delinearize(in, row, ArrayRef(dims).take_front(2));
      Dims offsets = {at[0], at[1], zero, zero}, sizes = {one, one, dims[2], dims[3]};
      Value source = slice(in, x, offsets, sizes, 2);
      auto token = RankedTensorType::get(tensorType(source).getShape(), tensorType(init).getElementType());
      Value dest = tensor::ExtractSliceOp::create(in.b, in.loc, token, outs[0], byHead(offsets), byHead(sizes),
                                                  Dims(sizes.size(), one));
      Dims angleOffsets, angleSizes;
      if (positions) {
        Value position = in.cast(extract(in, positions, at), in.b.getIndexType());
        angleOffsets = {in.wrapIndex(position, in.value(dimOf(in, cosCache, 0))), zero};
        angleSizes = {one, half};
      } else {
        bool shared = tensorType(cosCache).getDimSize(0) == 1; // one row of angles for the whole batch
        angleOffsets = {shared ? zero : OpFoldResult(at[0]), at[1], zero};
        angleSizes = {one, one, half};
      }
      Value cos = slice(in, cosCache, angleOffsets, angleSizes, angleSizes.size() - 1);
      Value sin = slice(in, sinCache, angleOffsets, angleSizes, angleSizes.size() - 1);
      Value a = takeHalf(in, source, first), b = takeHalf(in, source, second);
      // The second destination is taken from the token with the first already in place: no copy is needed then.
      dest = putHalf(in, rotate(in, a, b, cos, sin, /*minus=*/true, takeHalf(in, dest, first)), dest, first);
      dest = putHalf(in, rotate(in, b, a, cos, sin, /*minus=*/false, takeHalf(in, dest, second)), dest, second);
      if (rotated < size) {
        Half rest = {rotated, size - rotated, 1};
        Value copy =
            linalg::CopyOp::create(in.b, in.loc, takeHalf(in, source, rest), takeHalf(in, dest, rest)).getResult(0);
        dest = putHalf(in, copy, dest, rest);
      }
      return SmallVector<RowPiece>{{dest, byHead(offsets), byHead(sizes)}};
    };
    Value result = forEachRow(s, s.mul(dims[0], dims[1]), init, body)[0];
    if (!headMajor)
      result = flat ? collapsed(s, result, 2, 4) : transposed(s, result, {0, 2, 1, 3});
    rewriter.replaceOp(op, castTo(s, result, op.getY().getType()));
    return success();
  }

  bool forGPU;
};

} // namespace

void populateOnnxRotaryToLinalgPatterns(RewritePatternSet &patterns, bool forGPU) {
  patterns.add<RotaryPattern>(patterns.getContext(), forGPU);
}

} // namespace caat
