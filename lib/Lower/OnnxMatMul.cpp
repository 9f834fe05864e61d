// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of two activations. onnx.MatMul by a weight is left to the pass that packs weights.
#include "dialects/onnx/Einsum.h"
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

bool isWeightProduct(Operation *op) {
  auto product = dyn_cast<onnx::MatMulOp>(op);
  if (!product)
    return false;
  auto type = dyn_cast<RankedTensorType>(product.getB().getType()); // unranked behind an op that has no lowering
  return type && type.getRank() == 2 && isa<FloatType>(type.getElementType()) &&
         isWeightExpression(withoutHeld(product.getB()));
}

namespace lower {

Value generatedProduct(ScalarBuilder s, Value a, Value bMatrix, Value out, bool transposeB, float alpha) {
  auto type = tensorType(out);
  int64_t batch = type.getRank() - 2;
  AffineExpr m = s.b.getAffineDimExpr(batch), n = s.b.getAffineDimExpr(batch + 1), k = s.b.getAffineDimExpr(batch + 2);
  auto map = [&](Value operand, AffineExpr row, AffineExpr column) {
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i < batch; ++i)
      exprs.push_back(tensorType(operand).getDimSize(i) == 1 ? s.b.getAffineConstantExpr(0) : s.b.getAffineDimExpr(i));
    exprs.append({row, column});
    return AffineMap::get(batch + 3, 0, exprs, s.b.getContext());
  };
  SmallVector<utils::IteratorType> iterators(batch + 2, utils::IteratorType::parallel);
  iterators.push_back(utils::IteratorType::reduction);
  Value zero = linalg::FillOp::create(s.b, s.loc, s.constant(type.getElementType(), 0), out).getResult(0);
  AffineMap outMap = AffineMap::getMultiDimIdentityMap(batch + 3, s.b.getContext()).getMajorSubMap(batch + 2);
  auto generic = linalg::GenericOp::create(s.b, s.loc, type, ValueRange{a, bMatrix}, zero,
                                           {map(a, m, k), transposeB ? map(bMatrix, n, k) : map(bMatrix, k, n), outMap},
                                           iterators, [&](OpBuilder &inner, Location loc, ValueRange args) {
                                             ScalarBuilder in{inner, loc};
                                             Type sum = args[2].getType();
                                             Value scaled = in.mul(in.cast(args[0], sum), in.constant(sum, alpha));
                                             Value other = in.cast(args[1], sum);
                                             linalg::YieldOp::create(inner, loc, in.fma(scaled, other, args[2]));
                                           });
  return generic.getResult(0);
}

} // namespace lower

/// `value` with units in front until it has `rank` dimensions.
static Value padRank(ScalarBuilder s, Value value, int64_t rank) {
  int64_t missing = rank - tensorType(value).getRank();
  if (missing == 0)
    return value;
  return unsqueezed(s, value, llvm::to_vector(llvm::seq<int64_t>(0, missing)));
}

namespace {

struct MatMulPattern : OpRewritePattern<onnx::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MatMulOp op, PatternRewriter &rewriter) const override {
    if (isWeightProduct(op))
      return failure();
    ScalarBuilder s{rewriter, op.getLoc()};
    Value a = op.getA(), b = op.getB();
    // A vector is a matrix of one row (A) or one column (B) whose dimension is dropped again.
    bool row = tensorType(a).getRank() == 1, column = tensorType(b).getRank() == 1;
    if (row)
      a = unsqueezed(s, a, 0);
    if (column)
      b = unsqueezed(s, b, 1);
    int64_t rank = std::max(tensorType(a).getRank(), tensorType(b).getRank());
    // One matrix for all of A's rows: a single product.
    bool flat = tensorType(b).getRank() == 2 && rank > 2;
    Dims rows = dimsOf(s, a);
    rows.pop_back();
    if (flat)
      a = collapsed(s, a, 0, rank - 1);
    else {
      a = padRank(s, a, rank);
      b = padRank(s, b, rank);
    }
    auto aType = tensorType(a);
    int64_t last = aType.getRank() - 1;
    Dims dims;
    for (int64_t i = 0; i < last - 1; ++i)
      dims.push_back(aType.getDimSize(i) == 1 ? dimOf(s, b, i) : dimOf(s, a, i));
    dims.push_back(dimOf(s, a, last - 1));
    dims.push_back(dimOf(s, b, last));
    Value y = batchMatmul(s, a, b, empty(s, dims, aType.getElementType()), /*transposeB=*/false);
    if (flat)
      y = expanded(s, y, 0, rows);
    SmallVector<int64_t> dropped;
    if (row)
      dropped.push_back(tensorType(y).getRank() - 2);
    if (column)
      dropped.push_back(tensorType(y).getRank() - 1);
    rewriter.replaceOp(op, castTo(s, squeezed(s, y, dropped), op.getY().getType()));
    return success();
  }
};

struct GemmPattern : OpRewritePattern<onnx::GemmOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GemmOp op, PatternRewriter &rewriter) const override {
    auto type = tensorType(op.getY());
    ScalarBuilder s{rewriter, op.getLoc()};
    Value a = op.getTransA() ? transposed(s, op.getA(), {1, 0}) : op.getA();
    Dims dims = {dimOf(s, a, 0), dimOf(s, op.getB(), op.getTransB() ? 0 : 1)};
    Value y = batchMatmul(s, a, op.getB(), empty(s, dims, type.getElementType()), op.getTransB(),
                          op.getAlpha().convertToFloat());
    double beta = op.getBeta().convertToDouble();
    if (op.getC() && beta != 0)
      y = elementwise(s, type, dims, {y, op.getC()}, [&](ScalarBuilder &in, Scalars x) {
        return in.add(x[0], beta == 1 ? x[1] : in.mul(in.constant(x[1].getType(), beta), x[1]));
      });
    rewriter.replaceOp(op, castTo(s, y, type));
    return success();
  }
};

/// One loop for each letter and each dimension of an ellipsis.
struct EinsumPattern : OpRewritePattern<onnx::EinsumOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::EinsumOp op, PatternRewriter &rewriter) const override {
    SmallVector<int64_t> ranks;
    for (Value input : op.getInputs())
      ranks.push_back(tensorType(input).getRank());
    auto terms = onnx::parseEinsum(op.getEquation(), ranks);
    if (!terms)
      return rewriter.notifyMatchFailure(op, "the equation does not fit the operands");
    ScalarBuilder s{rewriter, op.getLoc()};
    Dims dims(terms->labels, rewriter.getIndexAttr(1));
    for (auto [term, input] : llvm::zip_equal(terms->inputs, op.getInputs()))
      for (auto [i, label] : llvm::enumerate(term))
        if (OpFoldResult size = dimOf(s, input, i); !isOneInteger(size))
          dims[label] = size;
    SmallVector<AffineMap> maps;
    for (auto [term, input] : llvm::zip_equal(terms->inputs, op.getInputs())) {
      SmallVector<AffineExpr> exprs;
      for (auto [i, label] : llvm::enumerate(term)) {
        bool repeated = tensorType(input).getDimSize(i) == 1 && !isOneInteger(dims[label]);
        exprs.push_back(repeated ? rewriter.getAffineConstantExpr(0) : rewriter.getAffineDimExpr(label));
      }
      maps.push_back(AffineMap::get(terms->labels, 0, exprs, rewriter.getContext()));
    }
    auto type = tensorType(op.getOutput());
    Type compute = computeType(type.getElementType());
    auto axes = llvm::to_vector(llvm::seq<int64_t>(terms->outputs, terms->labels));
    Value y = reduce(s, op.getInputs(), maps, dims, axes, s.constant(compute, 0), [](ScalarBuilder &in, Scalars x) {
      Value product = x[0];
      for (Value factor : x.drop_front().drop_back())
        product = in.mul(product, factor);
      return in.add(x.back(), product);
    });
    if (compute != type.getElementType()) {
      auto narrow = RankedTensorType::get(tensorType(y).getShape(), type.getElementType());
      y = elementwise(s, narrow, dimsOf(s, y), y, [](ScalarBuilder &, Scalars x) { return x[0]; });
    }
    rewriter.replaceOp(op, castTo(s, y, type));
    return success();
  }
};

} // namespace

void populateOnnxMatMulToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<MatMulPattern, GemmPattern, EinsumPattern>(patterns.getContext());
}

} // namespace caat
