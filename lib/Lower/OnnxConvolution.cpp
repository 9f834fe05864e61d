// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolution as plain loops, a kernel row per (image, output channel). It is there so that such graphs run;
// transformers have at most a small one at their input.
#include "lib/Lower/Window.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

struct ConvPattern : OpRewritePattern<onnx::ConvOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConvOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Type element = type.getElementType(), compute = computeType(element);
    Dims input = dimsOf(s, op.getX()), kernel = dimsOf(s, op.getW());
    int64_t rank = type.getRank(), spatial = rank - 2;
    Window window = windowOf(s, op, ArrayRef(input).drop_front(2), ArrayRef(kernel).drop_front(2));
    Dims dims = {input[0], kernel[0]};
    for (int64_t i = 0; i < spatial; ++i)
      dims.push_back(windowCount(s, window, i, input[i + 2]));
    dims = refine(type, dims, rewriter);
    Value channelsOfGroup = s.value(kernel[1]);
    Value outputsOfGroup = arith::DivUIOp::create(rewriter, op.getLoc(), s.value(kernel[0]), s.index(op.getGroup()));

    Value init = empty(s, dims, element);
    Dims lines = {dims[0], dims[1]}, plane(dims.begin() + 2, dims.end());
    auto result = forEachRow(s, s.product(lines), init, [&](ScalarBuilder &in, Value row, ValueRange outs) {
      SmallVector<Value> at = delinearize(in, row, lines); // image, output channel
      Value firstChannel = in.mul(arith::DivUIOp::create(in.b, in.loc, at[1], outputsOfGroup), channelsOfGroup);
      Value start = in.constant(compute, 0);
      if (op.getB())
        start = in.cast(tensor::ExtractOp::create(in.b, in.loc, op.getB(), at[1]), compute);
      Dims offsets = {at[0], at[1]}, sizes(2, in.b.getIndexAttr(1));
      offsets.append(zeros(in, spatial));
      sizes.append(plane);
      Value zero = in.index(0), one = in.index(1);
      SmallVector<Value> upper = llvm::map_to_vector(plane, [&](OpFoldResult size) { return in.value(size); });
      auto nest = scf::buildLoopNest(
          in.b, in.loc, SmallVector<Value>(spatial, zero), upper, SmallVector<Value>(spatial, one),
          slice(in, outs[0], offsets, sizes, 2),
          [&](OpBuilder &b, Location loc, ValueRange position, ValueRange state) -> scf::ValueVector {
            ScalarBuilder body{b, loc};
            Value sum = windowSum(body, op, window, kernel, input, at, firstChannel, position, start);
            return {tensor::InsertOp::create(b, loc, body.cast(sum, element), state[0], position)};
          });
      return SmallVector<RowPiece>{{nest.results[0], offsets, sizes}};
    })[0];
    rewriter.replaceOp(op, castTo(s, result, type));
    return success();
  }

  /// start + the sum over channels and kernel positions; positions in the padding count as 0.
  static Value windowSum(ScalarBuilder &s, onnx::ConvOp op, const Window &window, ArrayRef<OpFoldResult> kernel,
                         ArrayRef<OpFoldResult> input, ArrayRef<Value> at, Value firstChannel, ValueRange position,
                         Value start) {
    SmallVector<Value> lower, upper, steps;
    for (OpFoldResult size : kernel.drop_front()) {
      lower.push_back(s.index(0));
      upper.push_back(s.value(size));
      steps.push_back(s.index(1));
    }
    auto nest =
        scf::buildLoopNest(s.b, s.loc, lower, upper, steps, start,
                           [&](OpBuilder &b, Location loc, ValueRange k, ValueRange sum) -> scf::ValueVector {
                             ScalarBuilder body{b, loc};
                             SmallVector<Value> from = {at[0], body.add(firstChannel, k[0])}, weight = {at[1]};
                             llvm::append_range(weight, k);
                             Value inside = body.constant(b.getI1Type(), 1);
                             for (int64_t i = 0; i < window.rank(); ++i) {
                               Value place = windowPlace(body, window, i, position[i], k[i + 1]);
                               Value size = body.value(input[i + 2]);
                               Value valid = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, place, size);
                               inside = arith::AndIOp::create(b, loc, inside, valid);
                               from.push_back(body.select(valid, place, body.index(0)));
                             }
                             Value x = body.cast(tensor::ExtractOp::create(b, loc, op.getX(), from), start.getType());
                             Value w = body.cast(tensor::ExtractOp::create(b, loc, op.getW(), weight), start.getType());
                             return {body.select(inside, body.fma(x, w, sum[0]), sum[0])};
                           });
    return nest.results[0];
  }
};

/// Each output element gathers the inputs whose windows reach it.
struct ConvTransposePattern : OpRewritePattern<onnx::ConvTransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  /// Pads before each dimension, which follow from the output's size where that is given or follows from auto_pad.
  static std::optional<SmallVector<int64_t>> padsOf(onnx::ConvTransposeOp op, ArrayRef<int64_t> input,
                                                    ArrayRef<int64_t> output, ArrayRef<int64_t> kernel) {
    int64_t spatial = input.size();
    if (op.getAutoPad() == "VALID" || (op.getAutoPad() == "NOTSET" && !op.getOutputShape()))
      return listOr(op.getAutoPad() == "VALID" ? std::nullopt : op.getPads(), 2 * spatial, 0);
    auto strides = listOr(op.getStrides(), spatial, 1), dilations = listOr(op.getDilations(), spatial, 1),
         extra = listOr(op.getOutputPadding(), spatial, 0);
    SmallVector<int64_t> pads;
    for (int64_t i = 0; i < spatial; ++i) {
      if (ShapedType::isDynamic(input[i]) || ShapedType::isDynamic(output[i]) || ShapedType::isDynamic(kernel[i]))
        return std::nullopt;
      int64_t total = strides[i] * (input[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - output[i];
      total = std::max<int64_t>(total, 0);
      pads.push_back(op.getAutoPad() == "SAME_UPPER" ? total / 2 : total - total / 2);
    }
    return pads;
  }

  LogicalResult matchAndRewrite(onnx::ConvTransposeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY()), xType = tensorType(op.getX()), wType = tensorType(op.getW());
    Type element = type.getElementType(), compute = computeType(element);
    int64_t spatial = type.getRank() - 2;
    auto pads =
        padsOf(op, xType.getShape().drop_front(2), type.getShape().drop_front(2), wType.getShape().drop_front(2));
    if (!pads || !type.hasStaticShape())
      return rewriter.notifyMatchFailure(op, "the sizes of the images are not static");
    auto strides = listOr(op.getStrides(), spatial, 1), dilations = listOr(op.getDilations(), spatial, 1);
    Dims input = dimsOf(s, op.getX()), kernel = dimsOf(s, op.getW());
    int64_t channels = xType.getDimSize(1) / op.getGroup(), outputs = type.getDimSize(1) / op.getGroup();
    SmallVector<Value> lower(spatial + 1, s.index(0)), upper = {s.index(channels)}, steps(spatial + 1, s.index(1));
    for (OpFoldResult size : ArrayRef(kernel).drop_front(2))
      upper.push_back(s.value(size));
    auto sum = [&](ScalarBuilder &in, Scalars at) -> Value {
      Value group = arith::DivUIOp::create(in.b, in.loc, at[1], in.index(outputs));
      Value first = in.mul(group, in.index(channels)), column = in.sub(at[1], in.mul(group, in.index(outputs)));
      Value start = in.constant(compute, 0);
      if (op.getB())
        start = in.cast(tensor::ExtractOp::create(in.b, in.loc, op.getB(), at[1]), compute);
      auto term = [&](OpBuilder &b, Location loc, ValueRange k, ValueRange state) -> scf::ValueVector {
        ScalarBuilder body{b, loc};
        Value channel = body.add(first, k[0]), inside = body.constant(b.getI1Type(), 1);
        SmallVector<Value> from = {at[0], channel}, weight = {channel, column};
        for (int64_t i = 0; i < spatial; ++i) {
          weight.push_back(k[i + 1]);
          Value place =
              body.sub(body.add(at[i + 2], body.index((*pads)[i])), body.mul(k[i + 1], body.index(dilations[i])));
          Value stride = body.index(strides[i]);
          Value quotient = arith::DivSIOp::create(b, loc, place, stride);
          Value exact = body.equal(body.mul(quotient, stride), place);
          Value size = body.value(input[i + 2]);
          Value valid = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, quotient, size);
          valid = body.bitAnd(body.bitAnd(valid, exact), body.logicalNot(body.less(place, body.index(0))));
          inside = body.bitAnd(inside, valid);
          from.push_back(body.select(valid, quotient, body.index(0)));
        }
        Value x = body.cast(tensor::ExtractOp::create(b, loc, op.getX(), from), compute);
        Value w = body.cast(tensor::ExtractOp::create(b, loc, op.getW(), weight), compute);
        return {body.select(inside, body.fma(x, w, state[0]), state[0])};
      };
      return in.cast(scf::buildLoopNest(in.b, in.loc, lower, upper, steps, start, term).results[0], element);
    };
    rewriter.replaceOp(op, indexed(s, type, dimsOf(s, op.getY()), sum));
    return success();
  }
};

} // namespace

void populateOnnxConvolutionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<ConvPattern, ConvTransposePattern>(patterns.getContext());
  populateOnnxPoolingToLinalgPatterns(patterns);
}

} // namespace caat
