// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that read or write at given places, and those that grow dimensions: the dimensions that are indexed, padded or
// made are needed whole, the others pass through.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

static constexpr StringRef indexed = "is indexed";

/// data [b..., i..., rest...], indices [b..., lead..., count of i]: result [b..., lead..., rest...].
static LogicalResult gatherNDFactors(Operation *op, FactorBuilder &factors) {
  RankedTensorType data = factors.operandType(0), indices = factors.operandType(1);
  int64_t batch = cast<onnx::GatherNDOp>(op).getBatchDims(), lead = indices.getRank() - 1;
  if (lead < 0 || batch > lead || indices.isDynamicDim(lead))
    return failure();
  int64_t last = batch + indices.getDimSize(lead);
  if (last > data.getRank())
    return failure();
  for (int64_t dim = 0; dim < lead; ++dim) {
    factors.same(factors.operand(1, dim), factors.result(0, dim));
    if (dim < batch)
      factors.same(factors.operand(0, dim), factors.result(0, dim));
  }
  for (int64_t dim = batch; dim < last; ++dim)
    factors.replicate(factors.operand(0, dim), indexed);
  for (int64_t dim = last; dim < data.getRank(); ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, lead + dim - last));
  factors.replicate(factors.operand(1, lead), "holds the places of an index");
  return success();
}

/// data and result [i..., rest...], indices [lead..., count of i], updates [lead..., rest...].
static LogicalResult scatterNDFactors(Operation *op, FactorBuilder &factors) {
  RankedTensorType data = factors.operandType(0), indices = factors.operandType(1);
  int64_t lead = indices.getRank() - 1;
  if (lead < 0 || indices.isDynamicDim(lead) || indices.getDimSize(lead) > data.getRank())
    return failure();
  int64_t last = indices.getDimSize(lead);
  for (int64_t dim = 0; dim < data.getRank(); ++dim) {
    factors.same(factors.operand(0, dim), factors.result(0, dim));
    if (dim < last)
      factors.replicate(factors.operand(0, dim), indexed);
    else
      factors.same(factors.operand(2, lead + dim - last), factors.result(0, dim));
  }
  for (int64_t dim = 0; dim < lead; ++dim)
    factors.replicate(factors.operand(2, dim), "is scattered");
  for (int64_t dim = 0; dim <= lead; ++dim)
    factors.replicate(factors.operand(1, dim), "holds the places of an index");
  return success();
}

/// GatherElements and ScatterElements: `picked` (the indices) is as long as the data along the other dimensions, or
/// shorter, and then they are needed whole too.
static LogicalResult elementsFactors(FactorBuilder &factors, int64_t axis, ArrayRef<unsigned> like, bool scatter) {
  RankedTensorType data = factors.operandType(0), indices = factors.operandType(1);
  std::optional<int64_t> along = onnx::normalizeAxis(axis, data.getRank());
  if (!along || indices.getRank() != data.getRank())
    return failure();
  for (int64_t dim = 0; dim < data.getRank(); ++dim) {
    if (scatter)
      factors.same(factors.operand(0, dim), factors.result(0, dim));
    else
      factors.same(factors.operand(1, dim), factors.result(0, dim));
    bool passes = dim != *along && !data.isDynamicDim(dim) && data.getDimSize(dim) == indices.getDimSize(dim);
    for (unsigned operand : like) {
      if (passes)
        factors.same(factors.operand(operand, dim), factors.result(0, dim));
      else
        factors.replicate(factors.operand(operand, dim), indexed);
    }
    if (!passes)
      factors.replicate(factors.operand(0, dim), indexed);
  }
  return success();
}

static LogicalResult padFactors(Operation *op, FactorBuilder &factors) {
  auto pad = cast<onnx::PadOp>(op);
  RankedTensorType data = factors.operandType(0);
  std::optional<SmallVector<int64_t>> pads = onnx::constantInts(pad.getPads());
  std::optional<SmallVector<int64_t>> axes = llvm::to_vector(llvm::seq<int64_t>(0, data.getRank()));
  if (pad.getAxes())
    axes = onnx::constantInts(pad.getAxes());
  if (!pads || !axes || pads->size() != 2 * axes->size())
    return failure();
  llvm::SmallBitVector grows(data.getRank());
  for (auto [index, axis] : llvm::enumerate(*axes)) {
    std::optional<int64_t> dim = onnx::normalizeAxis(axis, data.getRank());
    if (!dim)
      return failure();
    if ((*pads)[index] != 0 || (*pads)[index + axes->size()] != 0)
      grows.set(*dim);
  }
  for (int64_t dim = 0; dim < data.getRank(); ++dim) {
    if (!grows.test(dim)) {
      factors.same(factors.operand(0, dim), factors.result(0, dim));
      continue;
    }
    factors.replicate(factors.operand(0, dim), "is padded");
    factors.replicate(factors.result(0, dim), "is padded");
  }
  return success();
}

/// Copies one behind the other are segments that are split alike; many of them are a dimension of their own, as are
/// those of a single element.
static LogicalResult tileFactors(Operation *op, FactorBuilder &factors) {
  constexpr int64_t maxSegments = 64;
  RankedTensorType from = factors.operandType(0), to = factors.resultType(0);
  bool replaceable = canReplaceElements(cast<onnx::TileOp>(op).getRepeats());
  for (int64_t dim = 0; dim < from.getRank(); ++dim) {
    int64_t size = from.getDimSize(dim), whole = to.getDimSize(dim);
    if (size == 1 && replaceable)
      continue;
    DimLayout part = factors.operand(0, dim), result = factors.result(0, dim);
    bool known = !ShapedType::isDynamic(size) && !ShapedType::isDynamic(whole) && size > 1 && whole % size == 0;
    // Copies as many as a batch has: each unit is in every copy.
    bool outer = !ShapedType::isDynamic(size) && size > 1 && ShapedType::isDynamic(whole) && !result.empty() &&
                 factors.space().getSize(factors.space().resolve(result)) == size;
    if (known && whole / size <= maxSegments) {
      factors.same(result, factors.space().repeated(part, whole / size));
    } else if (known && replaceable) {
      factors.merge({factors.space().fresh(whole / size), part}, {whole / size, size}, result);
    } else if (outer) {
      factors.same(result, part);
    } else {
      factors.replicate(part, "is repeated");
      factors.replicate(result, "is repeated");
    }
  }
  return success();
}

/// Where the copies are split, and not what is copied, there are fewer of them.
static LogicalResult tileLocal(Operation *op, LocalShapes &local) {
  auto tile = cast<onnx::TileOp>(op);
  int64_t dim = local.resultSplit(op, 0);
  if (dim < 0 || local.operandSplit(op, 0) == dim)
    return success();
  auto from = cast<RankedTensorType>(tile.getInput().getType()),
       to = cast<RankedTensorType>(tile.getOutput().getType());
  DimLayout layout = local.resultLayout(op, 0)[dim];
  int64_t size = from.getDimSize(dim), own = local.localSize(layout);
  Value repeats;
  if (size == 1)
    repeats = local.replaceSize(tile.getRepeats(), dim, to, dim, layout);
  else if (size > 1 && !to.isDynamicDim(dim) && own % size == 0)
    repeats = local.replaceElement(tile.getRepeats(), dim, own / size);
  if (!repeats)
    return failure();
  tile.getRepeatsMutable().assign(repeats);
  return success();
}

/// The last two dimensions say which elements stay.
static LogicalResult triluFactors(Operation *, FactorBuilder &factors) {
  int64_t rank = factors.operandType(0).getRank();
  for (int64_t dim = 0; dim < rank; ++dim) {
    factors.same(factors.operand(0, dim), factors.result(0, dim));
    if (dim >= rank - 2)
      factors.replicate(factors.operand(0, dim), "is cut along a diagonal");
  }
  return success();
}

/// Values pass through; scale and zero point are scalars, or go with the axis.
static LogicalResult quantizeFactors(Operation *op, FactorBuilder &factors, int64_t axis, int64_t block) {
  RankedTensorType x = factors.operandType(0);
  std::optional<int64_t> along = onnx::normalizeAxis(axis, x.getRank());
  for (int64_t dim = 0; dim < x.getRank(); ++dim)
    factors.same(factors.operand(0, dim), factors.result(0, dim));
  for (unsigned operand = 1; operand < op->getNumOperands(); ++operand) {
    RankedTensorType type = factors.operandType(operand);
    if (type.getRank() == 0 || (type.hasStaticShape() && type.getNumElements() == 1))
      continue;
    if (!along)
      return failure();
    if (block == 0 && type.getRank() == 1) {
      factors.same(factors.operand(operand, 0), factors.result(0, *along));
      continue;
    }
    if (type.getRank() != x.getRank())
      return failure();
    for (int64_t dim = 0; dim < x.getRank(); ++dim) {
      DimLayout layout = factors.operand(operand, dim);
      if (dim == *along && block > 0)
        factors.same(factors.result(0, dim), factors.space().scaled(layout, block));
      else
        factors.same(layout, factors.result(0, dim));
    }
  }
  return success();
}

void populateIndexRules(ShardingRules &rules) {
  rules.add<onnx::GatherNDOp>(gatherNDFactors);
  rules.add<onnx::ScatterNDOp>(scatterNDFactors);
  rules.add<onnx::GatherElementsOp>([](Operation *op, FactorBuilder &factors) {
    return elementsFactors(factors, cast<onnx::GatherElementsOp>(op).getAxis(), {0}, false);
  });
  rules.add<onnx::ScatterElementsOp>([](Operation *op, FactorBuilder &factors) {
    return elementsFactors(factors, cast<onnx::ScatterElementsOp>(op).getAxis(), {1, 2}, true);
  });
  rules.add<onnx::PadOp>(padFactors);
  rules.add<onnx::TileOp>(tileFactors, tileLocal);
  rules.add<onnx::TriluOp>(triluFactors);
  rules.add<onnx::QuantizeLinearOp>([](Operation *op, FactorBuilder &factors) {
    auto quantize = cast<onnx::QuantizeLinearOp>(op);
    return quantizeFactors(op, factors, quantize.getAxis(), quantize.getBlockSize());
  });
  rules.add<onnx::DequantizeLinearOp>([](Operation *op, FactorBuilder &factors) {
    auto dequantize = cast<onnx::DequantizeLinearOp>(op);
    return quantizeFactors(op, factors, dequantize.getAxis(), dequantize.getBlockSize());
  });
}

} // namespace caat::shard
