// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of two activations. onnx.MatMul by a weight is left to the pass that packs weights.
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

bool isWeightProduct(Operation *op) {
  auto product = dyn_cast<onnx::MatMulOp>(op);
  return product && tensorType(product.getB()).getRank() == 2 && isWeightExpression(product.getB());
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
  auto generic = linalg::GenericOp::create(
      s.b, s.loc, type, ValueRange{a, bMatrix}, zero,
      {map(a, m, k), transposeB ? map(bMatrix, n, k) : map(bMatrix, k, n), outMap}, iterators,
      [&](OpBuilder &inner, Location loc, ValueRange args) {
        ScalarBuilder in{inner, loc};
        Value scaled = in.mul(args[0], in.constant(args[0].getType(), alpha));
        linalg::YieldOp::create(inner, loc, in.fma(scaled, args[1], args[2]));
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
    if (!isa<FloatType>(tensorType(a).getElementType()))
      return rewriter.notifyMatchFailure(op, "integer product");
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

} // namespace

void populateOnnxMatMulToLinalgPatterns(RewritePatternSet &patterns) { patterns.add<MatMulPattern>(patterns.getContext()); }

} // namespace caat
