// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that keep the elements' order: Reshape, Flatten, Squeeze, Unsqueeze. A reshape is a collapse and an expansion
// over the finest groups of dimensions whose products are equal on both sides. DepthToSpace and SpaceToDepth, which
// transpose between the two.
#include "caat/Raise/DimExpr.h"
#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/ShapeFacts.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace {

struct Grouping {
  SmallVector<ReassociationIndices> source, result;
};

} // namespace

/// Cuts both shapes wherever the products of the dimensions so far are equal. What is left over joins the last group.
static Grouping groupDims(ArrayRef<AffineExpr> source, ArrayRef<AffineExpr> result) {
  auto prefixes = [](ArrayRef<AffineExpr> dims) {
    SmallVector<AffineExpr> products;
    for (AffineExpr dim : dims)
      products.push_back(products.empty() ? normalizeDim(dim) : mulDims(products.back(), dim));
    return products;
  };
  auto sourceProducts = prefixes(source), resultProducts = prefixes(result);
  Grouping grouping;
  size_t i = 0, j = 0;
  auto push = [&](size_t nextI, size_t nextJ) {
    grouping.source.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(i, nextI)));
    grouping.result.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(j, nextJ)));
    i = nextI;
    j = nextJ;
  };
  auto cut = [&]() {
    for (size_t a = i; a < source.size(); ++a)
      for (size_t c = j; c < result.size(); ++c)
        if (sourceProducts[a] == resultProducts[c]) {
          push(a + 1, c + 1);
          return true;
        }
    return false;
  };
  while (i < source.size() && j < result.size() && cut()) {
  }
  if (grouping.source.empty()) {
    push(source.size(), result.size());
    return grouping;
  }
  for (; i < source.size(); ++i)
    grouping.source.back().push_back(i);
  for (; j < result.size(); ++j)
    grouping.result.back().push_back(j);
  return grouping;
}

static bool trivial(ArrayRef<ReassociationIndices> groups) {
  return llvm::all_of(groups, [](const ReassociationIndices &group) { return group.size() == 1; });
}

/// `value` in the shape `type` with sizes `dims`; `source` and `result` are the dimensions symbolically.
static Value reshaped(ScalarBuilder s, Value value, RankedTensorType type, ArrayRef<OpFoldResult> dims,
                      ArrayRef<AffineExpr> source, ArrayRef<AffineExpr> result) {
  if (value.getType() == type && llvm::equal(source, result))
    return value;
  auto sourceType = tensorType(value);
  Type element = type.getElementType();
  if (sourceType.getRank() == 0 || type.getRank() == 0) {
    if (sourceType.getRank() == 0 && type.getRank() == 0)
      return value;
    if (sourceType.getRank() == 0)
      return castTo(s, unsqueezed(s, value, llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()))), type);
    return squeezed(s, value, llvm::to_vector(llvm::seq<int64_t>(0, sourceType.getRank())));
  }
  Grouping grouping = groupDims(source, result);
  // Each group's size, static if either side says so.
  SmallVector<int64_t> sourceSizes, resultSizes, wanted(sourceType.getShape());
  auto sizeOf = [](ArrayRef<int64_t> shape, ArrayRef<int64_t> group) {
    int64_t size = 1;
    for (int64_t i : group)
      size = ShapedType::isDynamic(shape[i]) || ShapedType::isDynamic(size) ? ShapedType::kDynamic : size * shape[i];
    return size;
  };
  for (auto [from, to] : llvm::zip_equal(grouping.source, grouping.result)) {
    sourceSizes.push_back(sizeOf(sourceType.getShape(), from));
    resultSizes.push_back(sizeOf(type.getShape(), to));
  }
  if (!trivial(grouping.source)) {
    auto collapsedType = RankedTensorType::get(sourceSizes, element);
    value = tensor::CollapseShapeOp::create(s.b, s.loc, collapsedType, value, grouping.source);
  }
  value = castTo(s, value, RankedTensorType::get(resultSizes, element));
  if (!trivial(grouping.result))
    value = tensor::ExpandShapeOp::create(s.b, s.loc, type, value, grouping.result, refine(type, dims, s.b));
  return castTo(s, value, type);
}

/// A symbol that stands for nothing but itself.
static AffineExpr fresh(unsigned index, MLIRContext *context) { return getAffineSymbolExpr(index, context); }

static SmallVector<AffineExpr> localDims(RankedTensorType type) {
  SmallVector<AffineExpr> exprs;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    exprs.push_back(ShapedType::isDynamic(size) ? fresh(i, type.getContext())
                                                : getAffineConstantExpr(size, type.getContext()));
  return exprs;
}

namespace {

struct ReshapePattern : OpRewritePattern<onnx::ReshapeOp> {
  ReshapePattern(MLIRContext *context, const ShapeFacts *facts) : OpRewritePattern(context), facts(facts) {}

  LogicalResult matchAndRewrite(onnx::ReshapeOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    auto sourceType = tensorType(op.getData()), type = tensorType(op.getReshaped());
    MLIRContext *context = rewriter.getContext();
    Dims sourceDims = dimsOf(s, op.getData()), dims = indexElements(s, op.getShape());
    SmallVector<AffineExpr> source = localDims(sourceType), result;
    // The sizes as the shape operand gives them, each with what is known of it here.
    int64_t inferred = -1;
    for (auto [i, dim] : llvm::enumerate(dims)) {
      auto constant = getConstantIntValue(dim);
      if (constant == 0 && !op.getAllowzero()) {
        dim = sourceDims[i];
        result.push_back(source[i]);
      } else if (constant == -1) {
        inferred = i;
        result.push_back({});
      } else if (constant) {
        result.push_back(getAffineConstantExpr(*constant, context));
      } else if (!type.isDynamicDim(i)) {
        dim = rewriter.getIndexAttr(type.getDimSize(i));
        result.push_back(getAffineConstantExpr(type.getDimSize(i), context));
      } else {
        auto same = llvm::find(sourceDims, dim);
        result.push_back(same != sourceDims.end() ? source[same - sourceDims.begin()] : fresh(100 + i, context));
      }
    }
    if (inferred >= 0) {
      AffineExpr total = getAffineConstantExpr(1, context), others = total;
      for (AffineExpr dim : source)
        total = mulDims(total, dim);
      Dims otherDims;
      for (auto [i, dim] : llvm::enumerate(dims))
        if (static_cast<int64_t>(i) != inferred) {
          others = mulDims(others, result[i]);
          otherDims.push_back(dim);
        }
      AffineExpr size = divDims(total, others);
      result[inferred] = size ? size : fresh(100 + inferred, context);
      if (type.isDynamicDim(inferred)) {
        auto position = llvm::find(source, result[inferred]);
        dims[inferred] =
            position != source.end()
                ? sourceDims[position - source.begin()]
                : OpFoldResult(arith::DivUIOp::create(rewriter, op.getLoc(), s.value(s.product(sourceDims)),
                                                      s.value(s.product(otherDims)))
                                   .getResult());
      } else {
        dims[inferred] = rewriter.getIndexAttr(type.getDimSize(inferred));
        result[inferred] = getAffineConstantExpr(type.getDimSize(inferred), context);
      }
    }
    if (!constantValue(op.getShape()) && !op.getShape().getDefiningOp<tensor::FromElementsOp>())
      resolveAtRunTime(s, sourceDims, dims, op.getAllowzero());
    if (facts && facts->source(op) && facts->result(op)) {
      source = llvm::to_vector(*facts->source(op));
      result = llvm::to_vector(*facts->result(op));
      if (auto sizes = facts->sizes(op))
        dims = llvm::to_vector(*sizes);
    }
    checkElements(s, op, sourceDims, refine(type, dims, rewriter), source, result);
    rewriter.replaceOp(op, reshaped(s, op.getData(), type, dims, source, result));
    return success();
  }

  /// Both shapes have the same number of elements, which is checked where it is not known.
  static void checkElements(ScalarBuilder &s, Operation *op, ArrayRef<OpFoldResult> from, ArrayRef<OpFoldResult> to,
                            ArrayRef<AffineExpr> source, ArrayRef<AffineExpr> result) {
    AffineExpr before = s.b.getAffineConstantExpr(1), after = before;
    for (AffineExpr dim : source)
      before = mulDims(before, dim);
    for (AffineExpr dim : result)
      after = mulDims(after, dim);
    if (before && before == after)
      return;
    Value equal = s.equal(s.value(s.product(from)), s.value(s.product(to)));
    checkAtRunTime(s, op, equal, "the new shape has another number of elements");
  }

  /// The meaning of 0 and -1 for sizes that are only known when the program runs.
  static void resolveAtRunTime(ScalarBuilder &s, ArrayRef<OpFoldResult> source, Dims &dims, bool allowZero) {
    Value zero = s.index(0), product = s.index(1);
    for (auto [i, dim] : llvm::enumerate(dims)) {
      Value value = s.value(dim);
      if (!allowZero && i < source.size())
        value = s.select(s.equal(value, zero), s.value(source[i]), value);
      product = s.mul(product, value);
      dim = value;
    }
    // The product is negative if one size is -1: what remains for it is the number of elements by the others.
    Value divisor = s.select(s.less(product, zero), s.sub(zero, product), s.index(1));
    Value rest = arith::DivUIOp::create(s.b, s.loc, s.value(s.product(source)), divisor);
    for (OpFoldResult &dim : dims)
      dim = s.select(s.less(s.value(dim), zero), rest, s.value(dim));
  }

  const ShapeFacts *facts;
};

struct FlattenPattern : OpRewritePattern<onnx::FlattenOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::FlattenOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    int64_t rank = tensorType(op.getInput()).getRank(), axis = normalizeAxis(op.getAxis(), rank);
    Value value = collapsed(s, op.getInput(), axis, rank); // first, so that `axis` still counts
    value = collapsed(s, value, 0, axis);
    rewriter.replaceOp(op, castTo(s, value, op.getOutput().getType()));
    return success();
  }
};

struct SqueezePattern : OpRewritePattern<onnx::SqueezeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SqueezeOp op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getData());
    SmallVector<int64_t> axes;
    if (op.getAxes()) {
      auto constant = constantInts(op.getAxes());
      if (!constant)
        return rewriter.notifyMatchFailure(op, "axes are not constant");
      for (int64_t axis : *constant)
        axes.push_back(normalizeAxis(axis, type.getRank()));
      llvm::sort(axes);
    } else {
      for (auto [i, size] : llvm::enumerate(type.getShape()))
        if (size == 1)
          axes.push_back(i);
    }
    ScalarBuilder s{rewriter, op.getLoc()};
    rewriter.replaceOp(op, castTo(s, squeezed(s, op.getData(), axes), op.getSqueezed().getType()));
    return success();
  }
};

struct UnsqueezePattern : OpRewritePattern<onnx::UnsqueezeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::UnsqueezeOp op, PatternRewriter &rewriter) const override {
    auto axes = constantInts(op.getAxes());
    if (!axes)
      return rewriter.notifyMatchFailure(op, "axes are not constant");
    for (int64_t &axis : *axes)
      axis = normalizeAxis(axis, tensorType(op.getExpanded()).getRank());
    llvm::sort(*axes);
    ScalarBuilder s{rewriter, op.getLoc()};
    rewriter.replaceOp(op, castTo(s, unsqueezed(s, op.getData(), *axes), op.getExpanded().getType()));
    return success();
  }
};

struct DepthToSpacePattern : OpRewritePattern<onnx::DepthToSpaceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::DepthToSpaceOp op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getInput());
    int64_t b = op.getBlocksize();
    if (type.isDynamicDim(1))
      return rewriter.notifyMatchFailure(op, "the number of channels is not static");
    ScalarBuilder s{rewriter, op.getLoc()};
    OpFoldResult block = rewriter.getIndexAttr(b), depth = rewriter.getIndexAttr(type.getDimSize(1) / (b * b));
    bool depthFirst = op.getMode() == "DCR"; // block row, block column, depth
    Value x = expanded(s, op.getInput(), 1, depthFirst ? Dims{block, block, depth} : Dims{depth, block, block});
    x = transposed(s, x, depthFirst ? ArrayRef<int64_t>{0, 3, 4, 1, 5, 2} : ArrayRef<int64_t>{0, 1, 4, 2, 5, 3});
    x = collapsed(s, collapsed(s, x, 4, 6), 2, 4);
    rewriter.replaceOp(op, castTo(s, x, op.getOutput().getType()));
    return success();
  }
};

struct SpaceToDepthPattern : OpRewritePattern<onnx::SpaceToDepthOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SpaceToDepthOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    OpFoldResult block = rewriter.getIndexAttr(op.getBlocksize());
    Value x = op.getInput();
    for (int64_t dim : {3, 2}) { // later ones first
      OpFoldResult size = dimOf(s, x, dim);
      auto constant = getConstantIntValue(size);
      OpFoldResult blocks =
          constant ? OpFoldResult(rewriter.getIndexAttr(*constant / static_cast<int64_t>(op.getBlocksize())))
                   : arith::DivUIOp::create(rewriter, op.getLoc(), s.value(size), s.value(block)).getResult();
      x = expanded(s, x, dim, {blocks, block});
    }
    bool depthFirst = op.getMode() == "DCR"; // block row, block column, channel
    x = transposed(s, x, depthFirst ? ArrayRef<int64_t>{0, 3, 5, 1, 2, 4} : ArrayRef<int64_t>{0, 1, 3, 5, 2, 4});
    rewriter.replaceOp(op, castTo(s, collapsed(s, x, 1, 4), op.getOutput().getType()));
    return success();
  }
};

} // namespace

void populateOnnxReshapeToLinalgPatterns(RewritePatternSet &patterns, const ShapeFacts *facts) {
  patterns.add<ReshapePattern>(patterns.getContext(), facts);
  patterns.add<FlattenPattern, SqueezePattern, UnsqueezePattern, DepthToSpacePattern, SpaceToDepthPattern>(
      patterns.getContext());
}

} // namespace caat
