// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reshapes: both shapes are cut from the right into groups of equal size. A dimension against one is passed through,
// one against several is a split or merge (heads times head size, or the [3, heads, head size] of a fused projection).
#include "caat/Raise/DimExpr.h"
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

/// Links dimensions [inFirst, inLast) of the operand with [outFirst, outLast) of the result, all of known size.
static void linkGroup(FactorBuilder &factors, int64_t inFirst, int64_t inLast, int64_t outFirst, int64_t outLast) {
  struct Dim {
    DimLayout layout;
    int64_t size;
  };
  SmallVector<Dim> in, out;
  for (int64_t dim = inFirst; dim < inLast; ++dim)
    if (int64_t size = factors.operandType(0).getDimSize(dim); size != 1)
      in.push_back({factors.operand(0, dim), size});
  for (int64_t dim = outFirst; dim < outLast; ++dim)
    if (int64_t size = factors.resultType(0).getDimSize(dim); size != 1)
      out.push_back({factors.result(0, dim), size});
  if (in.empty() || out.empty())
    return;
  if (in.size() == 1 && out.size() == 1)
    return factors.same(in[0].layout, out[0].layout);
  if (in.size() == 1 || out.size() == 1) {
    SmallVector<DimLayout> parts;
    SmallVector<int64_t> sizes;
    for (const Dim &dim : in.size() == 1 ? out : in) {
      parts.push_back(dim.layout);
      sizes.push_back(dim.size);
    }
    return factors.merge(parts, sizes, in.size() == 1 ? in[0].layout : out[0].layout);
  }
  // [24, 16] to [12, 32]: the outer ones agree in larger units, the inner ones are mixed.
  Dim &a = in.front(), &b = out.front();
  if (a.size % b.size == 0)
    factors.same(a.layout, factors.space().scaled(b.layout, a.size / b.size));
  else if (b.size % a.size == 0)
    factors.same(b.layout, factors.space().scaled(a.layout, b.size / a.size));
  else
    for (const Dim &dim : {a, b})
      factors.replicate(dim.layout, "is mixed with others by a reshape");
  for (ArrayRef<Dim> rest : {ArrayRef(in).drop_front(), ArrayRef(out).drop_front()})
    for (const Dim &dim : rest)
      factors.replicate(dim.layout, "is mixed with others by a reshape");
}

namespace {
/// Dimensions of one side of a reshape.
struct Side {
  FactorBuilder &factors;
  bool input;
  RankedTensorType type() const { return input ? factors.operandType(0) : factors.resultType(0); }
  DimLayout layout(int64_t dim) const { return input ? factors.operand(0, dim) : factors.result(0, dim); }
  AffineExpr size(int64_t dim) const { return input ? factors.operandSize(0, dim) : factors.resultSize(0, dim); }
};
} // namespace

/// `whole` ends before `wholeEnd` with a dimension of unknown size; finds the dimensions of `parts` before `partsEnd`
/// whose product it is, and links the innermost one if that is of known size: batch * heads. False where there are
/// none.
static bool linkUnknownGroup(const Side &whole, int64_t &wholeEnd, const Side &parts, int64_t &partsEnd) {
  AffineExpr size = whole.size(wholeEnd - 1), product;
  int64_t first = partsEnd;
  while (size && first > 0 && product != size) {
    AffineExpr part = parts.size(--first);
    if (!part)
      return false;
    product = product ? mulDims(product, part) : part;
  }
  if (!size || product != size)
    return false;
  DimLayout merged = whole.layout(wholeEnd - 1), inner = parts.layout(partsEnd - 1);
  DimSpace &space = whole.factors.space();
  bool fits = partsEnd - first == 1 || (!parts.type().isDynamicDim(partsEnd - 1) && !merged.empty() && !inner.empty() &&
                                        space.getSize(space.resolve(merged)) == space.getSize(space.resolve(inner)));
  if (fits)
    whole.factors.same(merged, inner);
  else
    whole.factors.replicate(merged, "is mixed with a dimension of unknown size by a reshape");
  for (int64_t dim = first; dim < partsEnd - (fits ? 1 : 0); ++dim)
    whole.factors.replicate(parts.layout(dim), "is mixed with a dimension of unknown size by a reshape");
  --wholeEnd;
  partsEnd = first;
  return true;
}

/// Groups from the right as long as sizes are known, as numbers or as expressions; equal leading dimensions from the
/// left; the rest is needed whole.
static void linkReshape(FactorBuilder &factors, function_ref<bool(int64_t)> copiesDim) {
  ArrayRef<int64_t> in = factors.operandType(0).getShape(), out = factors.resultType(0).getShape();
  int64_t i = in.size(), j = out.size();
  Side operand{factors, true}, result{factors, false};
  while (i > 0 && j > 0) {
    int64_t firstIn = i - 1, firstOut = j - 1;
    if (ShapedType::isDynamic(in[firstIn]) || ShapedType::isDynamic(out[firstOut])) {
      bool linked = (ShapedType::isDynamic(out[firstOut]) && linkUnknownGroup(result, j, operand, i)) ||
                    (ShapedType::isDynamic(in[firstIn]) && linkUnknownGroup(operand, i, result, j));
      if (!linked)
        break;
      continue;
    }
    int64_t sizeIn = in[firstIn], sizeOut = out[firstOut];
    bool stuck = false;
    while (sizeIn != sizeOut && !stuck) {
      int64_t &first = sizeIn < sizeOut ? firstIn : firstOut;
      ArrayRef<int64_t> shape = sizeIn < sizeOut ? in : out;
      stuck = first == 0 || ShapedType::isDynamic(shape[first - 1]) || shape[first - 1] == 0;
      if (!stuck)
        (sizeIn < sizeOut ? sizeIn : sizeOut) *= shape[--first];
    }
    if (stuck)
      break;
    linkGroup(factors, firstIn, i, firstOut, j);
    i = firstIn;
    j = firstOut;
  }
  int64_t dim = 0;
  for (; dim < std::min(i, j); ++dim) {
    if (ShapedType::isDynamic(in[dim]) && ShapedType::isDynamic(out[dim]) && copiesDim(dim))
      continue;
    if (ShapedType::isDynamic(in[dim]) || in[dim] != out[dim])
      break;
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  }
  for (int64_t rest = dim; rest < i; ++rest)
    factors.replicate(factors.operand(0, rest), "is mixed with a dimension of unknown size by a reshape");
  for (int64_t rest = dim; rest < j; ++rest)
    factors.replicate(factors.result(0, rest), "is mixed with a dimension of unknown size by a reshape");
}

static LogicalResult reshapeFactors(Operation *op, FactorBuilder &factors) {
  auto reshape = cast<onnx::ReshapeOp>(op);
  if (!canReplaceElements(reshape.getShape()))
    return failure();
  std::optional<SmallVector<int64_t>> shape = onnx::constantInts(reshape.getShape());
  linkReshape(factors, [&](int64_t dim) { return shape && !reshape.getAllowzero() && (*shape)[dim] == 0; });
  return success();
}

static LogicalResult reshapeLocal(Operation *op, LocalShapes &local) {
  auto reshape = cast<onnx::ReshapeOp>(op);
  int64_t dim = local.resultSplit(op, 0);
  if (dim < 0)
    return success();
  std::optional<SmallVector<int64_t>> shape = onnx::constantInts(reshape.getShape());
  if (shape && (*shape)[dim] == -1)
    return success();
  Value replaced = local.replaceSize(reshape.getShape(), dim, cast<RankedTensorType>(reshape.getReshaped().getType()),
                                     dim, local.resultLayout(op, 0)[dim]);
  if (!replaced)
    return failure();
  reshape.getShapeMutable().assign(replaced);
  return success();
}

void populateReshapeRules(ShardingRules &rules) {
  rules.add<onnx::ReshapeOp>(reshapeFactors, reshapeLocal);
  rules.add<onnx::FlattenOp>([](Operation *op, FactorBuilder &factors) {
    linkReshape(factors, [](int64_t) { return false; });
    return success();
  });
}

} // namespace caat::shard
