// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChannelOps.h"

using namespace caat;
using namespace mlir;

/// `type` with another number of channels.
static RankedTensorType withChannels(Type type, int64_t channels) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape.back() = channels;
  return tensor.clone(shape);
}

static int64_t lastAxis(Value value) { return cast<RankedTensorType>(value.getType()).getRank() - 1; }

static Value constant(OpBuilder &builder, Location loc, DenseElementsAttr value) {
  return onnx::ConstantOp::create(builder, loc, value.getType(), value);
}

/// A constant of one element and rank 0, of a floating-point type.
static Value scalar(OpBuilder &builder, Location loc, Type elementType, double value) {
  return constant(
      builder, loc,
      DenseElementsAttr::get(RankedTensorType::get({}, elementType), builder.getFloatAttr(elementType, value)));
}

Value ChannelBuilder::add(Value lhs, Value rhs) {
  if (!lhs || !rhs)
    return lhs ? lhs : rhs;
  bool broadcastsLeft = lastAxis(lhs) < lastAxis(rhs);
  return onnx::AddOp::create(builder, loc, broadcastsLeft ? rhs.getType() : lhs.getType(), lhs, rhs);
}

Value ChannelBuilder::scale(Value value, double factor) {
  if (factor == 1.0)
    return value;
  Value number = scalar(builder, loc, getElementTypeOrSelf(value.getType()), factor);
  return onnx::MulOp::create(builder, loc, value.getType(), value, number);
}

Value ChannelBuilder::multiplyRow(Value value, Value row) {
  return onnx::MulOp::create(builder, loc, value.getType(), value, row);
}

Value ChannelBuilder::take(Value value, const ChannelSplit &split, int64_t first, int64_t count) {
  RankedTensorType type = withChannels(value.getType(), count);
  if (split.order.empty() && count == split.channels)
    return value;
  if (split.order.empty()) {
    Value start = onnx::createInts(builder, loc, {first}), end = onnx::createInts(builder, loc, {first + count});
    Value axis = onnx::createInts(builder, loc, {lastAxis(value)});
    return onnx::SliceOp::create(builder, loc, type, value, start, end, axis, Value());
  }
  Value indices = onnx::createInts(builder, loc, split.order.slice(first, count));
  return onnx::GatherOp::create(builder, loc, type, value, indices, lastAxis(value));
}

Value ChannelBuilder::takeShared(Value value, const ChannelSplit &split) {
  return value ? take(value, split, 0, split.shared) : Value();
}

Value ChannelBuilder::takeRest(Value value, const ChannelSplit &split) {
  return value ? take(value, split, split.shared, split.getRest()) : Value();
}

/// For each channel its place among `count` of the order from `first` on; any of these places for the others.
static Value placesOf(OpBuilder &builder, Location loc, const ChannelSplit &split, int64_t first, int64_t count) {
  SmallVector<int64_t> inverse(split.channels, 0);
  for (int64_t place = 0; place < count; ++place)
    inverse[split.channelAt(first + place)] = place;
  return onnx::createInts(builder, loc, inverse);
}

Value ChannelBuilder::join(Value shared, Value rest, const ChannelSplit &split) {
  RankedTensorType type = withChannels(shared.getType(), split.channels);
  Value joined = onnx::ConcatOp::create(builder, loc, type, ValueRange{shared, rest}, lastAxis(shared));
  if (split.order.empty())
    return joined;
  return onnx::GatherOp::create(builder, loc, type, joined, placesOf(builder, loc, split, 0, split.channels),
                                lastAxis(joined));
}

/// Which channels are shared, or are not.
static DenseElementsAttr maskOf(OpBuilder &builder, const ChannelSplit &split, bool shared) {
  SmallVector<bool> mask(split.channels, !shared);
  for (int64_t place = 0; place < split.shared; ++place)
    mask[split.channelAt(place)] = shared;
  return DenseElementsAttr::get(RankedTensorType::get({split.channels}, builder.getI1Type()), mask);
}

Value ChannelBuilder::spread(Value shared, Value others, const ChannelSplit &split) {
  bool isAll = split.shared == split.channels;
  if (!shared || (isAll && split.order.empty()))
    return shared;
  RankedTensorType type = withChannels(shared.getType(), split.channels);
  Value everywhere = onnx::GatherOp::create(builder, loc, type, shared, placesOf(builder, loc, split, 0, split.shared),
                                            lastAxis(shared));
  if (isAll)
    return everywhere;
  Value mask = constant(builder, loc, maskOf(builder, split, /*shared=*/true));
  if (!others)
    others = scalar(builder, loc, type.getElementType(), 0.0);
  return onnx::WhereOp::create(builder, loc, type, mask, everywhere, others);
}

Value ChannelBuilder::spreadRest(Value rest, const ChannelSplit &split) {
  Value places = placesOf(builder, loc, split, split.shared, split.getRest());
  return onnx::GatherOp::create(builder, loc, withChannels(rest.getType(), split.channels), rest, places,
                                lastAxis(rest));
}

Value ChannelBuilder::clearShared(Value value, const ChannelSplit &split) {
  // A selection, not a product with zero: what is not finite must go as well.
  Value mask = constant(builder, loc, maskOf(builder, split, /*shared=*/false));
  Value zero = scalar(builder, loc, getElementTypeOrSelf(value.getType()), 0.0);
  return onnx::WhereOp::create(builder, loc, value.getType(), mask, value, zero);
}

Value ChannelBuilder::takeRank(DenseElementsAttr attr) {
  ShapedType type = attr.getType();
  SmallVector<SmallVector<tp::Piece>> pieces(type.getDimSize(0));
  for (auto [rank, own] : llvm::enumerate(pieces))
    own.push_back({int64_t(rank), 1});
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = 1;
  Value value = constant(builder, loc, attr);
  value = tp::ShardOp::create(builder, loc, RankedTensorType::get(shape, type.getElementType()), value, uint64_t(0),
                              tp::getPiecesAttr(builder.getContext(), pieces), uint64_t(1));
  ArrayRef<int64_t> own = type.getShape().drop_front();
  return onnx::ReshapeOp::create(builder, loc, RankedTensorType::get(own, type.getElementType()), value,
                                 onnx::createInts(builder, loc, own));
}

Value ChannelBuilder::castTo(Value value, Type elementType) {
  if (getElementTypeOrSelf(value.getType()) == elementType)
    return value;
  return onnx::CastOp::create(builder, loc, value, elementType);
}

Value ChannelBuilder::takeRow(DenseElementsAttr matrix, Type elementType) {
  return castTo(takeRank(matrix), elementType);
}

Value ChannelBuilder::multiply(Value value, DenseElementsAttr matrices, int64_t first) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t k = type.getShape().back(), n = matrices.getType().getShape()[1];
  Value matrix = takeRank(matrices); // [n, …]
  auto matrixType = cast<RankedTensorType>(matrix.getType());
  if (matrixType.getDimSize(1) != k) {
    Value start = onnx::createInts(builder, loc, {first}), end = onnx::createInts(builder, loc, {first + k});
    matrix = onnx::SliceOp::create(builder, loc, matrixType.clone({n, k}), matrix, start, end,
                                   onnx::createInts(builder, loc, {1}), Value());
  }
  matrix =
      onnx::TransposeOp::create(builder, loc, matrixType.clone({k, n}), matrix, builder.getDenseI64ArrayAttr({1, 0}));
  return onnx::MatMulOp::create(builder, loc, withChannels(type, n), value, castTo(matrix, type.getElementType()));
}
