// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Access by index: Gather, GatherElements, GatherND, OneHot as generics that extract; ScatterElements, ScatterND and
// TensorScatter as a kernel of one row that walks the updates in order, since indices may repeat.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

static Value extractIndex(ScalarBuilder &s, Value indices, ValueRange at) {
  return s.cast(tensor::ExtractOp::create(s.b, s.loc, indices, at), s.b.getIndexType());
}

/// What `indices` of these sizes point at in an axis of `size`: there is nothing if it is empty and they are not.
static void checkAxis(ScalarBuilder s, Operation *op, OpFoldResult size, ArrayRef<OpFoldResult> indices) {
  if (getConstantIntValue(size).value_or(0) > 0)
    return;
  Value holds = s.less(s.index(0), s.value(size));
  for (OpFoldResult count : indices)
    if (!getConstantIntValue(count) || isZeroInteger(count))
      holds = arith::OrIOp::create(s.b, s.loc, holds, s.equal(s.value(count), s.index(0)));
  checkAtRunTime(s, op, holds, "an index into an axis without elements");
}

/// Whether the constants [first, first + count) are indices of an axis of `size`, where the model itself does not say.
static LogicalResult checkRun(ScalarBuilder s, onnx::GatherOp op, PatternRewriter &rewriter, OpFoldResult size,
                              int64_t first, int64_t count) {
  int64_t least = first < 0 ? -first : first + count;
  std::string message = "the index " + std::to_string(first < 0 ? first : first + count - 1) + " is outside of axis " +
                        std::to_string(op.getAxis());
  if (auto known = getConstantIntValue(size))
    return *known < least ? rewriter.notifyMatchFailure(op, message) : success();
  checkAtRunTime(s, op, arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::sle, s.index(least), s.value(size)),
                 message);
  return success();
}

namespace {

struct GatherPattern : OpRewritePattern<onnx::GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput()), dataType = tensorType(op.getData()),
         indexType = tensorType(op.getIndices());
    int64_t rank = dataType.getRank(), axis = normalizeAxis(op.getAxis(), rank), count = indexType.getRank();
    Dims dims = dimsOf(s, op.getData());
    OpFoldResult size = dims[axis];
    // Constant indices in a row are a slice.
    if (auto constant = constantInts(op.getIndices());
        constant && count <= 1 && !constant->empty() && isRun(*constant)) {
      int64_t first = constant->front();
      if (failed(checkRun(s, op, rewriter, size, first, constant->size())))
        return failure();
      Dims offsets = zeros(s, rank), sizes = dims, strides(rank, rewriter.getIndexAttr(1));
      offsets[axis] =
          first < 0 ? s.add(size, OpFoldResult(rewriter.getIndexAttr(first))) : rewriter.getIndexAttr(first);
      sizes[axis] = rewriter.getIndexAttr(constant->size());
      SmallVector<int64_t> shape(dataType.getShape());
      shape[axis] = constant->size();
      if (count == 0)
        shape.erase(shape.begin() + axis);
      auto sliceType = RankedTensorType::get(shape, type.getElementType());
      Value result =
          tensor::ExtractSliceOp::create(rewriter, op.getLoc(), sliceType, op.getData(), offsets, sizes, strides);
      rewriter.replaceOp(op, castTo(s, result, type));
      return success();
    }
    Dims indexDims = dimsOf(s, op.getIndices());
    checkAxis(s, op, size, indexDims);
    dims.erase(dims.begin() + axis);
    dims.insert(dims.begin() + axis, indexDims.begin(), indexDims.end());
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i < count; ++i)
      exprs.push_back(rewriter.getAffineDimExpr(axis + i));
    AffineMap map = AffineMap::get(type.getRank(), 0, exprs, rewriter.getContext());
    Value limit = s.value(size);
    auto body = [&](ScalarBuilder &in, Scalars x) -> Value {
      Value index = in.wrapIndex(in.cast(x[0], in.b.getIndexType()), limit);
      SmallVector<Value> at;
      for (int64_t i = 0; i < type.getRank(); ++i)
        if (i < axis || i >= axis + count)
          at.push_back(linalg::IndexOp::create(in.b, in.loc, i));
      at.insert(at.begin() + axis, index);
      return tensor::ExtractOp::create(in.b, in.loc, op.getData(), at);
    };
    rewriter.replaceOp(op, mapped(s, type, dims, op.getIndices(), map, body, /*exact=*/true));
    return success();
  }

  /// first, first + 1, ..., not passing from the end to the start.
  static bool isRun(ArrayRef<int64_t> indices) {
    for (auto [i, index] : llvm::enumerate(indices))
      if (index != indices.front() + static_cast<int64_t>(i) || (index >= 0) != (indices.front() >= 0))
        return false;
    return true;
  }
};

struct GatherElementsPattern : OpRewritePattern<onnx::GatherElementsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherElementsOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    int64_t axis = normalizeAxis(op.getAxis(), type.getRank());
    Dims indexDims = dimsOf(s, op.getIndices());
    OpFoldResult size = dimOf(s, op.getData(), axis);
    checkAxis(s, op, size, indexDims);
    Value limit = s.value(size);
    auto body = [&](ScalarBuilder &in, Scalars x) -> Value {
      SmallVector<Value> at;
      for (int64_t i = 0; i < type.getRank(); ++i)
        at.push_back(linalg::IndexOp::create(in.b, in.loc, i));
      at[axis] = in.wrapIndex(in.cast(x[0], in.b.getIndexType()), limit);
      return tensor::ExtractOp::create(in.b, in.loc, op.getData(), at);
    };
    rewriter.replaceOp(op, elementwise(s, type, indexDims, op.getIndices(), body, /*exact=*/true));
    return success();
  }
};

/// The data position that a tuple of indices [at..., 0..n) names: `batch` dims first, then the tuple, wrapped.
static SmallVector<Value> tupleIndices(ScalarBuilder &s, Value indices, ValueRange at, int64_t batch, int64_t length,
                                       Value data) {
  SmallVector<Value> position(at.take_front(batch));
  for (int64_t k = 0; k < length; ++k) {
    SmallVector<Value> from(at);
    from.push_back(s.index(k));
    position.push_back(s.wrapIndex(extractIndex(s, indices, from), s.value(dimOf(s, data, batch + k))));
  }
  return position;
}

struct GatherNDPattern : OpRewritePattern<onnx::GatherNDOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherNDOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput()), indexType = tensorType(op.getIndices());
    int64_t lead = indexType.getRank() - 1, length = indexType.getDimSize(lead), batch = op.getBatchDims();
    if (ShapedType::isDynamic(length))
      return rewriter.notifyMatchFailure(op, "the length of the index tuples is not static");
    Dims dims = dimsOf(s, op.getIndices()), dataDims = dimsOf(s, op.getData());
    dims.pop_back();
    for (int64_t k = 0; k < length; ++k)
      checkAxis(s, op, dataDims[batch + k], dims);
    dims.append(dataDims.begin() + batch + length, dataDims.end());
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
                         SmallVector<Value> position =
                             tupleIndices(in, op.getIndices(), at.take_front(lead), batch, length, op.getData());
                         position.append(at.begin() + lead, at.end());
                         return tensor::ExtractOp::create(in.b, in.loc, op.getData(), position);
                       }));
    return success();
  }
};

struct ReverseSequencePattern : OpRewritePattern<onnx::ReverseSequenceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ReverseSequenceOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getY());
    int64_t rank = type.getRank(), batch = normalizeAxis(op.getBatchAxis(), rank),
            time = normalizeAxis(op.getTimeAxis(), rank);
    Dims dims = dimsOf(s, op.getInput());
    Value size = s.value(dims[time]);
    rewriter.replaceOp(op, indexed(s, type, dims, [&](ScalarBuilder &in, Scalars at) -> Value {
                         Value length = tensor::ExtractOp::create(in.b, in.loc, op.getSequenceLens(), at[batch]);
                         length = in.cast(length, in.b.getIndexType());
                         SmallVector<Value> from(at);
                         Value mirrored = in.sub(in.sub(length, in.index(1)), at[time]);
                         from[time] = in.wrapIndex(in.select(in.less(at[time], length), mirrored, at[time]), size);
                         return tensor::ExtractOp::create(in.b, in.loc, op.getInput(), from);
                       }));
    return success();
  }
};

struct OneHotPattern : OpRewritePattern<onnx::OneHotOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::OneHotOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto type = tensorType(op.getOutput());
    int64_t axis = normalizeAxis(op.getAxis(), type.getRank());
    auto number = onnx::constantFloat(op.getDepth()); // the depth may be a float, and the indices too
    OpFoldResult depth = number && *number >= 0 && *number < 1e9
                             ? OpFoldResult(rewriter.getIndexAttr(static_cast<int64_t>(*number)))
                             : indexElements(s, op.getDepth())[0];
    Dims dims = dimsOf(s, op.getIndices());
    dims.insert(dims.begin() + axis, depth);
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (i != axis)
        exprs.push_back(rewriter.getAffineDimExpr(i));
    AffineMap map = AffineMap::get(type.getRank(), 0, exprs, rewriter.getContext());
    Value size = s.value(depth);
    Value off = tensor::ExtractOp::create(rewriter, op.getLoc(), op.getValues(), s.index(0));
    Value on = tensor::ExtractOp::create(rewriter, op.getLoc(), op.getValues(), s.index(1));
    auto body = [&](ScalarBuilder &in, Scalars x) {
      Value index = in.cast(x[0], in.b.getIndexType()); // outside [-depth, depth): off everywhere
      index = in.select(in.less(index, in.index(0)), in.add(index, size), index);
      return in.select(in.equal(index, linalg::IndexOp::create(in.b, in.loc, axis)), on, off);
    };
    rewriter.replaceOp(op, mapped(s, type, dims, op.getIndices(), map, body, /*exact=*/true));
    return success();
  }
};

} // namespace

/// The update joined with what is there.
static FailureOr<Value> joined(ScalarBuilder &s, StringRef reduction, Value there, Value update) {
  if (reduction == "none")
    return update;
  if (reduction == "add")
    return s.add(there, update);
  if (reduction == "mul")
    return s.mul(there, update);
  if (reduction == "max")
    return s.max(there, update);
  if (reduction == "min")
    return s.min(there, update);
  return failure();
}

using PositionFn = llvm::function_ref<SmallVector<Value>(ScalarBuilder &, ValueRange at)>;

/// A copy of `data` with each element of `updates` joined in at `position` of its indices, in row-major order.
static Value scattered(ScalarBuilder s, Value data, Value updates, StringRef reduction, PositionFn position) {
  Dims dims = dimsOf(s, data), offsets = zeros(s, dims.size());
  SmallVector<Value> lower, upper, steps;
  for (OpFoldResult size : dimsOf(s, updates)) {
    lower.push_back(s.index(0));
    upper.push_back(s.value(size));
    steps.push_back(s.index(1));
  }
  return forEachRow(s, s.b.getIndexAttr(1), data, [&](ScalarBuilder &in, Value, ValueRange outs) {
    auto nest = scf::buildLoopNest(
        in.b, in.loc, lower, upper, steps, outs[0],
        [&](OpBuilder &b, Location loc, ValueRange at, ValueRange state) -> scf::ValueVector {
          ScalarBuilder body{b, loc};
          SmallVector<Value> to = position(body, at);
          Value update = tensor::ExtractOp::create(b, loc, updates, at);
          Value there = reduction == "none" ? Value() : tensor::ExtractOp::create(b, loc, state[0], to).getResult();
          return {tensor::InsertOp::create(b, loc, *joined(body, reduction, there, update), state[0], to)};
        });
    Value result = nest.results.empty() ? outs[0] : nest.results[0];
    return SmallVector<RowPiece>{{result, offsets, dims}};
  })[0];
}

namespace {

struct ScatterElementsPattern : OpRewritePattern<onnx::ScatterElementsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ScatterElementsOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t axis = normalizeAxis(op.getAxis(), tensorType(op.getData()).getRank());
    OpFoldResult size = dimOf(s, op.getData(), axis);
    checkAxis(s, op, size, dimsOf(s, op.getIndices()));
    Value limit = s.value(size);
    Value result =
        scattered(s, op.getData(), op.getUpdates(), op.getReduction(), [&](ScalarBuilder &in, ValueRange at) {
          SmallVector<Value> to(at);
          to[axis] = in.wrapIndex(extractIndex(in, op.getIndices(), at), limit);
          return to;
        });
    rewriter.replaceOp(op, castTo(s, result, op.getOutput().getType()));
    return success();
  }
};

struct ScatterNDPattern : OpRewritePattern<onnx::ScatterNDOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ScatterNDOp op, PatternRewriter &rewriter) const override {
    auto indexType = tensorType(op.getIndices());
    int64_t lead = indexType.getRank() - 1, length = indexType.getDimSize(lead);
    if (ShapedType::isDynamic(length))
      return rewriter.notifyMatchFailure(op, "the length of the index tuples is not static");
    ScalarBuilder s{rewriter, op.getLoc()};
    for (int64_t k = 0; k < length; ++k)
      checkAxis(s, op, dimOf(s, op.getData(), k), dimsOf(s, op.getUpdates()));
    Value result =
        scattered(s, op.getData(), op.getUpdates(), op.getReduction(), [&](ScalarBuilder &in, ValueRange at) {
          SmallVector<Value> to = tupleIndices(in, op.getIndices(), at.take_front(lead), 0, length, op.getData());
          to.append(at.begin() + lead, at.end());
          return to;
        });
    rewriter.replaceOp(op, castTo(s, result, op.getOutput().getType()));
    return success();
  }
};

struct TensorScatterPattern : OpRewritePattern<onnx::TensorScatterOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TensorScatterOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t axis = normalizeAxis(op.getAxis(), tensorType(op.getPastCache()).getRank());
    OpFoldResult size = dimOf(s, op.getPastCache(), axis);
    checkAxis(s, op, size, dimsOf(s, op.getUpdate()));
    Value limit = s.value(size);
    bool circular = op.getMode() == "circular";
    Value result = scattered(s, op.getPastCache(), op.getUpdate(), "none", [&](ScalarBuilder &in, ValueRange at) {
      SmallVector<Value> to(at);
      if (op.getWriteIndices())
        to[axis] = in.add(at[axis], extractIndex(in, op.getWriteIndices(), at[0]));
      if (circular)
        to[axis] = arith::RemUIOp::create(in.b, in.loc, to[axis], limit);
      else
        to[axis] = in.wrapIndex(to[axis], limit);
      return to;
    });
    rewriter.replaceOp(op, castTo(s, result, op.getPresentCache().getType()));
    return success();
  }
};

} // namespace

void populateOnnxGatherToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<GatherPattern, GatherElementsPattern, GatherNDPattern, ReverseSequencePattern, OneHotPattern,
               ScatterElementsPattern, ScatterNDPattern, TensorScatterPattern>(patterns.getContext());
}

} // namespace caat
