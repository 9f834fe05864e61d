// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolution as plain loops, a kernel row per (image, output channel). It is there so that such graphs run;
// transformers have at most a small one at their input.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

/// Attributes with their defaults, one entry per spatial dimension.
struct Window {
  SmallVector<int64_t> strides, dilations;
  Dims padBefore, padAfter;
};

struct ConvPattern : OpRewritePattern<onnx::ConvOp> {
  using OpRewritePattern::OpRewritePattern;

  static SmallVector<int64_t> listOr(std::optional<ArrayRef<int64_t>> given, int64_t count, int64_t otherwise) {
    return given ? llvm::to_vector(*given) : SmallVector<int64_t>(count, otherwise);
  }

  static Window windowOf(ScalarBuilder &s, onnx::ConvOp op, ArrayRef<OpFoldResult> input,
                         ArrayRef<OpFoldResult> kernel) {
    int64_t spatial = input.size() - 2;
    Window window = {listOr(op.getStrides(), spatial, 1), listOr(op.getDilations(), spatial, 1), {}, {}};
    SmallVector<int64_t> pads = listOr(op.getPads(), 2 * spatial, 0);
    for (int64_t i = 0; i < spatial; ++i) {
      OpFoldResult before = s.b.getIndexAttr(pads[i]), after = s.b.getIndexAttr(pads[i + spatial]);
      if (op.getAutoPad().starts_with("SAME")) {
        // ceil(size / stride) outputs; an odd pad goes to the end, or to the front with SAME_LOWER.
        Value stride = s.index(window.strides[i]), size = s.value(input[i + 2]), one = s.index(1);
        Value outputs = arith::CeilDivUIOp::create(s.b, s.loc, size, stride);
        Value reach = s.add(s.mul(s.sub(s.value(kernel[i + 2]), one), s.index(window.dilations[i])), one);
        Value total = s.sub(s.add(s.mul(s.sub(outputs, one), stride), reach), size);
        total = arith::MaxSIOp::create(s.b, s.loc, total, s.index(0));
        Value half = arith::DivUIOp::create(s.b, s.loc, total, s.index(2)), rest = s.sub(total, half);
        bool lower = op.getAutoPad() == "SAME_LOWER";
        before = lower ? rest : half;
        after = lower ? half : rest;
      }
      window.padBefore.push_back(before);
      window.padAfter.push_back(after);
    }
    return window;
  }

  LogicalResult matchAndRewrite(onnx::ConvOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    Type element = type.getElementType(), compute = computeType(element);
    if (!isa<FloatType>(element))
      return rewriter.notifyMatchFailure(op, "not of floating-point numbers");
    Dims input = dimsOf(s, op.getX()), kernel = dimsOf(s, op.getW());
    int64_t rank = type.getRank(), spatial = rank - 2;
    Window window = windowOf(s, op, input, kernel);
    Dims dims = {input[0], kernel[0]};
    for (int64_t i = 0; i < spatial; ++i) { // (size + pads - dilation * (k - 1) - 1) / stride + 1
      OpFoldResult one = rewriter.getIndexAttr(1);
      OpFoldResult padded = s.add(s.add(input[i + 2], window.padBefore[i]), window.padAfter[i]);
      OpFoldResult reach =
          s.add(s.mul(s.sub(kernel[i + 2], one), OpFoldResult(rewriter.getIndexAttr(window.dilations[i]))), one);
      Value steps =
          arith::DivUIOp::create(rewriter, op.getLoc(), s.value(s.sub(padded, reach)), s.index(window.strides[i]));
      dims.push_back(s.add(steps, s.index(1)));
    }
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
                             for (auto [i, stride] : llvm::enumerate(window.strides)) {
                               Value place = body.add(body.mul(position[i], body.index(stride)),
                                                      body.mul(k[i + 1], body.index(window.dilations[i])));
                               place = body.value(body.sub(OpFoldResult(place), window.padBefore[i]));
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

} // namespace

void populateOnnxConvolutionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<ConvPattern>(patterns.getContext());
}

} // namespace caat
