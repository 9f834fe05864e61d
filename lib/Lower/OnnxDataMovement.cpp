// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that move or repeat elements: Identity, Transpose, Concat, Split, Slice, Expand, Tile, Pad and Trilu.
#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/ShapeFacts.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

struct IdentityPattern : OpRewritePattern<onnx::IdentityOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::IdentityOp op, PatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, castTo({rewriter, op.getLoc()}, op.getInput(), op.getOutput().getType()));
    return success();
  }
};

struct TransposePattern : OpRewritePattern<onnx::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TransposeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    SmallVector<int64_t> perm;
    if (auto given = op.getPerm())
      perm = llvm::to_vector(*given);
    else
      perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, tensorType(op.getData()).getRank())));
    rewriter.replaceOp(op, castTo(s, transposed(s, op.getData(), perm), op.getTransposed().getType()));
    return success();
  }
};

struct ConcatPattern : OpRewritePattern<onnx::ConcatOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConcatOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t axis = normalizeAxis(op.getAxis(), tensorType(op.getInputs()[0]).getRank());
    rewriter.replaceOp(op, castTo(s, concatenated(s, op.getInputs(), axis), op.getConcatResult().getType()));
    return success();
  }
};

struct SplitPattern : OpRewritePattern<onnx::SplitOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SplitOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t axis = normalizeAxis(op.getAxis(), tensorType(op.getInput()).getRank()), count = op.getNumResults();
    Dims sizes = dimsOf(s, op.getInput()), offsets = zeros(s, sizes.size()), parts;
    if (op.getSplit()) {
      parts = indexElements(s, op.getSplit());
    } else { // equal parts, rounded up; the last may be smaller
      OpFoldResult rest = sizes[axis];
      auto whole = getConstantIntValue(rest);
      OpFoldResult part =
          whole ? OpFoldResult(rewriter.getIndexAttr((*whole + count - 1) / count))
                : arith::CeilDivUIOp::create(rewriter, op.getLoc(), s.value(rest), s.index(count)).getResult();
      for (int64_t i = 0; i < count; ++i) {
        parts.push_back(i + 1 < count ? part : rest);
        rest = s.sub(rest, part);
      }
    }
    SmallVector<Value> results;
    for (auto [size, result] : llvm::zip_equal(parts, op.getOutputs())) {
      auto type = tensorType(result);
      sizes[axis] = type.isDynamicDim(axis) ? size : OpFoldResult(rewriter.getIndexAttr(type.getDimSize(axis)));
      bool none = type.getDimSize(axis) == 0; // its place may be the end, which no slice begins at
      Value part = none ? empty(s, sizes, type.getElementType()) : slice(s, op.getInput(), offsets, sizes);
      results.push_back(castTo(s, part, type));
      offsets[axis] = s.add(offsets[axis], sizes[axis]);
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

/// Start, size and step along each dimension.
struct Box {
  Dims starts, sizes;
  SmallVector<int64_t> steps;
};

struct SlicePattern : OpRewritePattern<onnx::SliceOp> {
  SlicePattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  /// `bound` made non-negative and clamped to [low, high].
  static OpFoldResult clampBound(ScalarBuilder &s, OpFoldResult bound, OpFoldResult size, int64_t low,
                                 OpFoldResult high) {
    auto constant = getConstantIntValue(bound), staticSize = getConstantIntValue(size),
         staticHigh = getConstantIntValue(high);
    if (constant && *constant >= 0 && *constant <= low)
      return s.b.getIndexAttr(low);
    if (constant && staticSize && staticHigh) {
      int64_t wrapped = *constant < 0 ? *constant + *staticSize : *constant;
      return s.b.getIndexAttr(std::clamp(wrapped, low, std::max(low, *staticHigh)));
    }
    if (constant && *constant >= (int64_t(1) << 31) - 1) // "to the end"
      return high;
    Value value = s.value(bound);
    if (!constant)
      value = s.select(s.less(value, s.index(0)), s.add(value, s.value(size)), value);
    else if (*constant < 0)
      value = s.add(value, s.value(size));
    value = s.min(value, s.value(high));
    return arith::MaxSIOp::create(s.b, s.loc, value, s.index(low)).getResult();
  }

  /// Number of elements from start to before end: ceil((end - start) / step), at least 0.
  static OpFoldResult count(ScalarBuilder &s, OpFoldResult start, OpFoldResult end, int64_t step) {
    OpFoldResult span = step > 0 ? s.sub(end, start) : s.sub(start, end);
    int64_t stride = std::abs(step);
    if (auto constant = getConstantIntValue(span))
      return s.b.getIndexAttr((std::max<int64_t>(*constant, 0) + stride - 1) / stride);
    Value length = s.value(span);
    if (!isZeroInteger(start) || step < 0)
      length = arith::MaxSIOp::create(s.b, s.loc, length, s.index(0));
    if (stride == 1)
      return length;
    return arith::CeilDivUIOp::create(s.b, s.loc, length, s.index(stride)).getResult();
  }

  LogicalResult matchAndRewrite(onnx::SliceOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    int64_t rank = type.getRank();
    Dims dims = dimsOf(s, op.getData());
    Dims starts = indexElements(s, op.getStarts()), ends = indexElements(s, op.getEnds());
    SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, starts.size())), steps(starts.size(), 1);
    if (op.getAxes()) {
      auto constant = constantInts(op.getAxes());
      if (!constant)
        return rewriter.notifyMatchFailure(op, "axes are not constant");
      axes = *constant;
    }
    if (op.getSteps()) {
      auto constant = constantInts(op.getSteps());
      if (!constant)
        return rewriter.notifyMatchFailure(op, "steps are not constant");
      steps = *constant;
    }
    Box box = {zeros(s, rank), dims, SmallVector<int64_t>(rank, 1)};
    bool backwards = false;
    for (auto [i, axis] : llvm::enumerate(axes)) {
      axis = normalizeAxis(axis, rank);
      int64_t step = steps[i];
      OpFoldResult size = dims[axis], last = s.sub(size, OpFoldResult(rewriter.getIndexAttr(1)));
      if (step > 0) {
        box.starts[axis] = clampBound(s, starts[i], size, 0, size);
        box.sizes[axis] = count(s, box.starts[axis], clampBound(s, ends[i], size, 0, size), step);
      } else {
        backwards = true;
        OpFoldResult end = ends[i];
        auto constant = getConstantIntValue(end);
        // An end far below -size means "before the first element", which is -1.
        if (constant && *constant <= -(int64_t(1) << 31))
          end = rewriter.getIndexAttr(-1);
        else
          end = clampBound(s, end, size, -1, last);
        box.starts[axis] = clampBound(s, starts[i], size, 0, last);
        box.sizes[axis] = count(s, box.starts[axis], end, step);
      }
      box.steps[axis] = step;
    }
    box.sizes = resultSizes(facts, op, type, rewriter, [&] { return box.sizes; });
    Value result = backwards ? reversed(s, op.getData(), type, box) : forward(s, op.getData(), box);
    rewriter.replaceOp(op, castTo(s, result, type));
    return success();
  }

  static Value forward(ScalarBuilder &s, Value data, const Box &box) {
    Dims strides = llvm::map_to_vector(box.steps, [&](int64_t step) -> OpFoldResult { return s.b.getIndexAttr(step); });
    return tensor::ExtractSliceOp::create(s.b, s.loc, data, box.starts, box.sizes, strides);
  }

  static Value reversed(ScalarBuilder &s, Value data, RankedTensorType type, const Box &box) {
    return indexed(s, type, box.sizes, [&](ScalarBuilder &in, Scalars at) -> Value {
      SmallVector<Value> from;
      for (auto [i, index] : llvm::enumerate(at))
        from.push_back(in.add(in.value(box.starts[i]), in.mul(index, in.index(box.steps[i]))));
      return tensor::ExtractOp::create(in.b, in.loc, data, from);
    });
  }

  const ShapeFacts *facts;
};

struct ExpandPattern : OpRewritePattern<onnx::ExpandOp> {
  ExpandPattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  /// Whether the operand's dimension may be 1 and the result's another size, or does not fit it at all.
  bool mayDiffer(onnx::ExpandOp op, int64_t from, int64_t to) const {
    int64_t size = tensorType(op.getInput()).getDimSize(from);
    if (size == 1 || (!ShapedType::isDynamic(size) && size == tensorType(op.getOutput()).getDimSize(to)))
      return false;
    auto source = facts ? facts->source(op) : std::nullopt, result = facts ? facts->result(op) : std::nullopt;
    return !source || !result || (*source)[from] != (*result)[to];
  }

  LogicalResult matchAndRewrite(onnx::ExpandOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    Dims source = dimsOf(s, op.getInput()), shape = indexElements(s, op.getShape()), whole(type.getRank());
    int64_t rank = type.getRank(), lead = rank - source.size(), missing = rank - shape.size();
    SmallVector<bool> chosen(source.size());
    for (int64_t i = 0; i < rank; ++i) {
      OpFoldResult size = i >= missing ? shape[i - missing] : OpFoldResult(rewriter.getIndexAttr(1));
      if (i < lead) {
        whole[i] = size;
        continue;
      }
      OpFoldResult own = source[i - lead];
      chosen[i - lead] = !isOneInteger(size) && mayDiffer(op, i - lead, i);
      if (isOneInteger(own))
        whole[i] = size;
      else
        whole[i] = chosen[i - lead] ? broadcastSize(s, own, size) : own;
    }
    Dims dims = resultSizes(facts, op, type, rewriter, [&] { return whole; });
    Value input = op.getInput();
    if (llvm::none_of(chosen, [](bool choice) { return choice; })) {
      rewriter.replaceOp(op, elementwise(
                                 s, type, dims, input, [](ScalarBuilder &, Scalars x) { return x[0]; },
                                 /*exact=*/true));
      return success();
    }
    SmallVector<Value> isOne(source.size());
    for (auto [i, choice] : llvm::enumerate(chosen))
      if (choice) {
        isOne[i] = checkFits(s, op, source[i], dims[lead + i], lead + i);
        checkFits(s, op, shape[lead + i - missing], dims[lead + i], lead + i);
      }
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
                         SmallVector<Value> from;
                         for (auto [index, one] : llvm::zip_equal(at.drop_front(lead), isOne))
                           from.push_back(one ? in.select(one, in.index(0), index) : index);
                         return extract(in, input, from);
                       }));
    return success();
  }

  /// Fails the run where `size` is neither 1 nor `whole`; whether it is 1.
  static Value checkFits(ScalarBuilder &s, Operation *op, OpFoldResult size, OpFoldResult whole, int64_t dim) {
    Value isOne = s.equal(s.value(size), s.index(1));
    Value fits = s.bitOr(isOne, s.equal(s.value(size), s.value(whole)));
    checkAtRunTime(s, op, fits,
                   "sizes of dimension " + Twine(dim) + " cannot be broadcast: they are neither equal nor 1");
    return isOne;
  }

  static OpFoldResult broadcastSize(ScalarBuilder &s, OpFoldResult size, OpFoldResult other) {
    Value isOne = s.equal(s.value(size), s.index(1));
    return s.select(isOne, s.value(other), s.value(size));
  }

  const ShapeFacts *facts;
};

struct TilePattern : OpRewritePattern<onnx::TileOp> {
  TilePattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  LogicalResult matchAndRewrite(onnx::TileOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    Dims source = dimsOf(s, op.getInput());
    Dims dims = resultSizes(facts, op, type, rewriter, [&] {
      Dims result;
      for (auto [size, repeat] : llvm::zip_equal(source, indexElements(s, op.getRepeats())))
        result.push_back(s.mul(size, repeat));
      return result;
    });
    SmallVector<Value> sizes = llvm::map_to_vector(source, [&](OpFoldResult size) { return s.value(size); });
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
                         SmallVector<Value> from;
                         for (auto [index, size] : llvm::zip_equal(at, sizes))
                           from.push_back(arith::RemUIOp::create(in.b, in.loc, index, size));
                         return tensor::ExtractOp::create(in.b, in.loc, op.getInput(), from);
                       }));
    return success();
  }

  const ShapeFacts *facts;
};

struct PadPattern : OpRewritePattern<onnx::PadOp> {
  PadPattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  /// Where result position `i` (before the pad is taken off) reads along a dimension of `size`.
  static Value fold(ScalarBuilder &s, StringRef mode, Value i, Value size) {
    Value zero = s.index(0), last = s.sub(size, s.index(1));
    if (mode == "edge")
      return arith::MaxSIOp::create(s.b, s.loc, zero, s.min(i, last));
    if (mode == "wrap")
      return arith::RemUIOp::create(s.b, s.loc, s.add(arith::RemSIOp::create(s.b, s.loc, i, size), size), size);
    Value mirrored = s.select(s.less(i, zero), s.sub(zero, i), i); // reflect: the edge itself is not repeated
    return s.select(s.less(last, mirrored), s.sub(s.mul(last, s.index(2)), mirrored), mirrored);
  }

  LogicalResult matchAndRewrite(onnx::PadOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    int64_t rank = type.getRank();
    SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    if (op.getAxes()) {
      auto constant = constantInts(op.getAxes());
      if (!constant)
        return rewriter.notifyMatchFailure(op, "axes are not constant");
      axes = *constant;
    }
    Dims pads = indexElements(s, op.getPads()), source = dimsOf(s, op.getData()), before = zeros(s, rank),
         dims = source;
    for (auto [i, axis] : llvm::enumerate(axes)) {
      axis = normalizeAxis(axis, rank);
      before[axis] = pads[i];
      dims[axis] = s.add(s.add(source[axis], pads[i]), pads[i + axes.size()]);
    }
    dims = resultSizes(facts, op, type, rewriter, [&] { return dims; });
    bool constantMode = op.getMode() == "constant";
    Value padding;
    if (constantMode)
      padding = op.getConstantValue() ? scalarOf(s, op.getConstantValue()) : s.constant(type.getElementType(), 0);
    bool positive = llvm::all_of(pads, [](OpFoldResult pad) {
      auto constant = getConstantIntValue(pad);
      return constant && *constant >= 0;
    });
    if (constantMode && positive) {
      Value result = insert(s, op.getData(), filled(s, dims, padding), before);
      rewriter.replaceOp(op, castTo(s, result, type));
      return success();
    }
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
                         SmallVector<Value> from;
                         Value inside;
                         for (int64_t i = 0; i < rank; ++i) {
                           Value index = in.value(in.sub(OpFoldResult(at[i]), before[i])), size = in.value(source[i]);
                           if (!constantMode) {
                             from.push_back(fold(in, op.getMode(), index, size));
                             continue;
                           }
                           // As unsigned numbers, negative ones are out of range too.
                           Value valid = arith::CmpIOp::create(in.b, in.loc, arith::CmpIPredicate::ult, index, size);
                           inside = inside ? arith::AndIOp::create(in.b, in.loc, inside, valid).getResult() : valid;
                           from.push_back(in.wrapIndex(index, size));
                         }
                         Value x = tensor::ExtractOp::create(in.b, in.loc, op.getData(), from);
                         return inside ? in.select(inside, x, padding) : x;
                       }));
    return success();
  }

  const ShapeFacts *facts;
};

struct TriluPattern : OpRewritePattern<onnx::TriluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TriluOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    int64_t rank = type.getRank();
    Value diagonal = op.getK() ? s.cast(scalarOf(s, op.getK()), rewriter.getIndexType()) : s.index(0);
    bool upper = op.getUpper();
    auto body = [&](ScalarBuilder &in, Scalars x) -> Value {
      Value row = linalg::IndexOp::create(in.b, in.loc, rank - 2),
            column = linalg::IndexOp::create(in.b, in.loc, rank - 1);
      Value border = in.add(row, diagonal);
      Value kept = in.logicalNot(upper ? in.less(column, border) : in.less(border, column));
      return in.select(kept, x[0], in.constant(x[0].getType(), 0));
    };
    rewriter.replaceOp(op, elementwise(s, type, dimsOf(s, op.getInput()), op.getInput(), body, /*exact=*/true));
    return success();
  }
};

} // namespace

void populateOnnxDataMovementToLinalgPatterns(RewritePatternSet &patterns, const ShapeFacts *facts) {
  MLIRContext *context = patterns.getContext();
  patterns.add<SlicePattern, ExpandPattern, TilePattern, PadPattern>(context, facts);
  patterns.add<IdentityPattern, TransposePattern, ConcatPattern, SplitPattern, TriluPattern>(context);
}

} // namespace caat
