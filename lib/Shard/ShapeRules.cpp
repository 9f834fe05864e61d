// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that move dimensions or cut and join them. Cutting a dimension in parts makes it a list of segments, each dealt
// out on its own: the local dimension is again the parts' local slices one behind the other.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"
#include <limits>

using namespace mlir;

namespace caat::shard {

static LogicalResult transposeFactors(Operation *op, FactorBuilder &factors) {
  auto transpose = cast<onnx::TransposeOp>(op);
  int64_t rank = factors.operandType(0).getRank();
  for (int64_t dim = 0; dim < rank; ++dim) {
    int64_t from = transpose.getPerm() ? (*transpose.getPerm())[dim] : rank - 1 - dim;
    factors.same(factors.operand(0, from), factors.result(0, dim));
  }
  return success();
}

/// Dimensions of `longer` that are not in `axes` are those of `shorter`, in order.
static LogicalResult insertedDims(FactorBuilder &factors, ArrayRef<int64_t> axes, bool squeeze) {
  RankedTensorType longer = squeeze ? factors.operandType(0) : factors.resultType(0);
  llvm::SmallBitVector inserted(longer.getRank());
  for (int64_t axis : axes) {
    std::optional<int64_t> dim = onnx::normalizeAxis(axis, longer.getRank());
    if (!dim)
      return failure();
    inserted.set(*dim);
  }
  int64_t other = 0;
  for (int64_t dim = 0; dim < longer.getRank(); ++dim)
    if (!inserted.test(dim)) {
      if (squeeze)
        factors.same(factors.operand(0, dim), factors.result(0, other++));
      else
        factors.same(factors.operand(0, other++), factors.result(0, dim));
    }
  return success();
}

static LogicalResult squeezeFactors(Operation *op, FactorBuilder &factors) {
  auto squeeze = cast<onnx::SqueezeOp>(op);
  if (squeeze.getAxes()) {
    std::optional<SmallVector<int64_t>> axes = onnx::constantInts(squeeze.getAxes());
    return axes ? insertedDims(factors, *axes, true) : failure();
  }
  SmallVector<int64_t> ones;
  for (auto [dim, size] : llvm::enumerate(factors.operandType(0).getShape())) {
    if (ShapedType::isDynamic(size))
      return failure();
    if (size == 1)
      ones.push_back(dim);
  }
  return insertedDims(factors, ones, true);
}

static LogicalResult unsqueezeFactors(Operation *op, FactorBuilder &factors) {
  std::optional<SmallVector<int64_t>> axes = onnx::constantInts(cast<onnx::UnsqueezeOp>(op).getAxes());
  return axes ? insertedDims(factors, *axes, false) : failure();
}

static LogicalResult concatFactors(Operation *op, FactorBuilder &factors) {
  int64_t rank = factors.resultType(0).getRank();
  std::optional<int64_t> axis = onnx::normalizeAxis(cast<onnx::ConcatOp>(op).getAxis(), rank);
  if (!axis)
    return failure();
  DimLayout parts;
  for (unsigned index = 0; index < op->getNumOperands(); ++index) {
    for (int64_t dim = 0; dim < rank; ++dim)
      if (dim != *axis)
        factors.same(factors.operand(index, dim), factors.result(0, dim));
    parts.append(factors.operand(index, *axis));
  }
  if (!factors.resultType(0).isDynamicDim(*axis)) {
    factors.same(parts, factors.result(0, *axis));
    return success();
  }
  for (const DimLayout &layout : {parts, factors.result(0, *axis)})
    factors.replicate(layout, "is joined from parts of unknown size");
  return success();
}

/// Sizes of the parts of a split; empty where they are not known.
static SmallVector<int64_t> splitSizes(onnx::SplitOp split) {
  if (split.getSplit())
    return onnx::constantInts(split.getSplit()).value_or(SmallVector<int64_t>());
  SmallVector<int64_t> sizes;
  auto input = cast<RankedTensorType>(split.getInput().getType());
  std::optional<int64_t> axis = onnx::normalizeAxis(split.getAxis(), input.getRank());
  for (Value part : split.getOutputs()) {
    auto type = cast<RankedTensorType>(part.getType());
    if (!axis || type.getRank() != input.getRank() || type.isDynamicDim(*axis))
      return {};
    sizes.push_back(type.getDimSize(*axis));
  }
  return sizes;
}

static LogicalResult splitFactors(Operation *op, FactorBuilder &factors) {
  auto split = cast<onnx::SplitOp>(op);
  int64_t rank = factors.operandType(0).getRank();
  std::optional<int64_t> axis = onnx::normalizeAxis(split.getAxis(), rank);
  if (!axis)
    return failure();
  DimLayout parts;
  for (unsigned index = 0; index < op->getNumResults(); ++index) {
    for (int64_t dim = 0; dim < rank; ++dim)
      if (dim != *axis)
        factors.same(factors.operand(0, dim), factors.result(index, dim));
    parts.append(factors.result(index, *axis));
  }
  if (!splitSizes(split).empty() && !factors.operandType(0).isDynamicDim(*axis)) {
    factors.same(factors.operand(0, *axis), parts);
    return success();
  }
  factors.replicate(factors.operand(0, *axis), "is cut at places that are not known");
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    factors.replicate(factors.result(index, *axis), "is cut at places that are not known");
  return success();
}

static LogicalResult splitLocal(Operation *op, LocalShapes &local) {
  auto split = cast<onnx::SplitOp>(op);
  int64_t dim = local.operandSplit(op, 0);
  if (dim < 0 ||
      dim != onnx::normalizeAxis(split.getAxis(), cast<RankedTensorType>(split.getInput().getType()).getRank()))
    return success();
  SmallVector<int64_t> sizes;
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    sizes.push_back(local.localSize(local.resultLayout(op, index)[dim]));
  if (sizes.size() != op->getNumResults())
    return failure();
  split.getSplitMutable().assign(onnx::createInts(local.getRewriter(), op->getLoc(), sizes));
  split.removeNumOutputsAttr();
  return success();
}

namespace {
/// One sliced dimension with known bounds.
struct SlicedDim {
  unsigned position; // in starts and ends
  int64_t dim, start, end;
};
} // namespace

/// The sliced dimensions of a slice that keeps the order; failure where axes or steps are not known. `unknown` lists
/// dimensions whose bounds are computed. `shape` is that of the whole operand.
static LogicalResult readSlice(onnx::SliceOp slice, ArrayRef<int64_t> shape, SmallVectorImpl<SlicedDim> &sliced,
                               SmallVectorImpl<int64_t> &unknown) {
  auto count = cast<RankedTensorType>(slice.getStarts().getType()).getDimSize(0);
  if (ShapedType::isDynamic(count))
    return failure();
  std::optional<SmallVector<int64_t>> axes = llvm::to_vector(llvm::seq<int64_t>(0, count));
  if (slice.getAxes())
    axes = onnx::constantInts(slice.getAxes());
  std::optional<SmallVector<int64_t>> steps = SmallVector<int64_t>(count, 1);
  if (slice.getSteps())
    steps = onnx::constantInts(slice.getSteps());
  if (!axes || !steps)
    return failure();
  auto starts = onnx::constantInts(slice.getStarts()), ends = onnx::constantInts(slice.getEnds());
  for (int64_t i = 0; i < count; ++i) {
    std::optional<int64_t> dim = onnx::normalizeAxis((*axes)[i], shape.size());
    if (!dim)
      return failure();
    int64_t size = shape[*dim];
    if (!starts || !ends || (*steps)[i] != 1 || ShapedType::isDynamic(size)) {
      unknown.push_back(*dim);
      continue;
    }
    auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(bound < 0 ? bound + size : bound, 0, size); };
    int64_t start = clamp((*starts)[i]), end = std::max(start, clamp((*ends)[i]));
    sliced.push_back({unsigned(i), *dim, start, end});
  }
  return success();
}

static LogicalResult sliceFactors(Operation *op, FactorBuilder &factors) {
  SmallVector<SlicedDim> sliced;
  SmallVector<int64_t> unknown;
  if (failed(readSlice(cast<onnx::SliceOp>(op), factors.operandType(0).getShape(), sliced, unknown)))
    return failure();
  RankedTensorType from = factors.operandType(0);
  for (int64_t dim = 0; dim < from.getRank(); ++dim) {
    DimLayout whole = factors.operand(0, dim), part = factors.result(0, dim);
    if (llvm::is_contained(unknown, dim)) {
      factors.replicate(whole, "is cut at places that are not known");
      factors.replicate(part, "is cut at places that are not known");
      continue;
    }
    auto *it = llvm::find_if(sliced, [&](const SlicedDim &slice) { return slice.dim == dim; });
    if (it == sliced.end() || (it->start == 0 && it->end == from.getDimSize(dim))) {
      factors.same(whole, part);
    } else if (part.empty()) {
      factors.replicate(whole, "is cut down to one element");
    } else {
      // [before, part, after]; pieces of one element cannot be dealt out and refuse the rest.
      DimLayout segments;
      for (auto [size, layout] :
           {std::pair(it->start, factors.space().fresh(it->start)), std::pair(it->end - it->start, part),
            std::pair(from.getDimSize(dim) - it->end, factors.space().fresh(from.getDimSize(dim) - it->end))})
        segments.append(layout);
      factors.same(whole, segments);
    }
  }
  return success();
}

static LogicalResult sliceLocal(Operation *op, LocalShapes &local) {
  auto slice = cast<onnx::SliceOp>(op);
  int64_t dim = local.operandSplit(op, 0);
  if (dim < 0)
    return success();
  DimLayout terms = local.operandLayout(op, 0)[dim];
  SmallVector<int64_t> shape(cast<RankedTensorType>(slice.getData().getType()).getShape()), unknown;
  shape[dim] = local.getSpace().getSize(terms);
  SmallVector<SlicedDim> sliced;
  if (failed(readSlice(slice, shape, sliced, unknown)))
    return failure();
  for (const SlicedDim &range : sliced) {
    if (range.dim != dim)
      continue;
    // The range starts and ends between segments; count the local elements before it.
    int64_t offset = 0, localOffset = 0, localStart = -1, localEnd = -1;
    for (const Term &term : terms) {
      if (offset == range.start)
        localStart = localOffset;
      if (offset == range.end)
        localEnd = localOffset;
      offset += local.getSpace().getSize(term);
      localOffset += local.localSize(term);
    }
    if (offset == range.end)
      localEnd = localOffset;
    if (localStart < 0 || localEnd < 0)
      return failure();
    slice.getStartsMutable().assign(local.replaceElement(slice.getStarts(), range.position, localStart));
    slice.getEndsMutable().assign(local.replaceElement(slice.getEnds(), range.position, localEnd));
  }
  return success();
}

static LogicalResult expandFactors(Operation *op, FactorBuilder &factors) {
  RankedTensorType from = factors.operandType(0), to = factors.resultType(0);
  if (!canReplaceElements(cast<onnx::ExpandOp>(op).getShape()) || from.getRank() > to.getRank())
    return failure();
  factors.broadcast(0);
  return success();
}

static LogicalResult expandLocal(Operation *op, LocalShapes &local) {
  auto expand = cast<onnx::ExpandOp>(op);
  int64_t dim = local.resultSplit(op, 0);
  if (dim < 0)
    return success();
  int64_t rank = cast<RankedTensorType>(expand.getOutput().getType()).getRank();
  int64_t length = cast<RankedTensorType>(expand.getShape().getType()).getDimSize(0);
  int64_t index = dim - (rank - length);
  if (index < 0)
    return success();
  if (auto values = onnx::constantInts(expand.getShape()); values && (*values)[index] == 1)
    return success();
  Value shape = local.replaceSize(expand.getShape(), index, cast<RankedTensorType>(expand.getOutput().getType()), dim,
                                  local.resultLayout(op, 0)[dim]);
  if (!shape)
    return failure();
  expand.getShapeMutable().assign(shape);
  return success();
}

void populateShapeRules(ShardingRules &rules) {
  rules.add<onnx::TransposeOp>(transposeFactors);
  rules.add<onnx::SqueezeOp>(squeezeFactors);
  rules.add<onnx::UnsqueezeOp>(unsqueezeFactors);
  rules.add<onnx::ConcatOp>(concatFactors);
  rules.add<onnx::SplitOp>(splitFactors, splitLocal);
  rules.add<onnx::SliceOp>(sliceFactors, sliceLocal);
  rules.add<onnx::ExpandOp>(expandFactors, expandLocal);
  // Sizes that are not split, and scalars computed from them, are the same on all ranks.
  auto nothing = [](Operation *, FactorBuilder &) { return success(); };
  rules.add<arith::ConstantOp, arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::IndexCastOp, arith::FloorDivSIOp,
            arith::DivSIOp, arith::RemSIOp, arith::CeilDivSIOp, arith::MaxSIOp, arith::MinSIOp, arith::CmpIOp,
            arith::SelectOp>(nothing);
  rules.add<tensor::FromElementsOp>([](Operation *op, FactorBuilder &factors) {
    factors.replicateResult(0, "holds sizes");
    return success();
  });
  rules.add<tensor::DimOp>([](Operation *op, FactorBuilder &factors) {
    std::optional<int64_t> dim = cast<tensor::DimOp>(op).getConstantIndex();
    if (!dim)
      return failure();
    factors.replicate(factors.operand(0, *dim), "is read as a size");
    return success();
  });
}

} // namespace caat::shard
