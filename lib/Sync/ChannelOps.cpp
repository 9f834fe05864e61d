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

Value ChannelBuilder::take(Value value, const ChannelSplit &split, int64_t first, int64_t count) {
  RankedTensorType type = withChannels(value.getType(), count);
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

Value ChannelBuilder::join(Value shared, Value rest, const ChannelSplit &split) {
  RankedTensorType type = withChannels(shared.getType(), split.channels);
  Value joined = onnx::ConcatOp::create(builder, loc, type, ValueRange{shared, rest}, lastAxis(shared));
  if (split.order.empty())
    return joined;
  SmallVector<int64_t> inverse(split.channels);
  for (auto [place, channel] : llvm::enumerate(split.order))
    inverse[channel] = place;
  Value indices = onnx::createInts(builder, loc, inverse);
  return onnx::GatherOp::create(builder, loc, type, joined, indices, lastAxis(joined));
}

/// Which channels are shared, or are not.
static DenseElementsAttr maskOf(OpBuilder &builder, const ChannelSplit &split, bool shared) {
  SmallVector<bool> mask(split.channels, !shared);
  for (int64_t place = 0; place < split.shared; ++place)
    mask[split.channelAt(place)] = shared;
  return DenseElementsAttr::get(RankedTensorType::get({split.channels}, builder.getI1Type()), mask);
}

Value ChannelBuilder::spread(Value shared, Value others, const ChannelSplit &split) {
  SmallVector<int64_t> places(split.channels, 0); // any place does for the others
  for (int64_t place = 0; place < split.shared; ++place)
    places[split.channelAt(place)] = place;
  RankedTensorType type = withChannels(shared.getType(), split.channels);
  Value indices = onnx::createInts(builder, loc, places);
  Value everywhere = onnx::GatherOp::create(builder, loc, type, shared, indices, lastAxis(shared));
  Value mask = constant(builder, loc, maskOf(builder, split, /*shared=*/true));
  if (!others)
    others = scalar(builder, loc, type.getElementType(), 0.0);
  return onnx::WhereOp::create(builder, loc, type, mask, everywhere, others);
}

Value ChannelBuilder::clearShared(Value value, const ChannelSplit &split) {
  // A selection, not a product with zero: what is not finite must go as well.
  Value mask = constant(builder, loc, maskOf(builder, split, /*shared=*/false));
  Value zero = scalar(builder, loc, getElementTypeOrSelf(value.getType()), 0.0);
  return onnx::WhereOp::create(builder, loc, value.getType(), mask, value, zero);
}

Value ChannelBuilder::takeRow(DenseElementsAttr matrix, Type elementType) {
  int64_t ranks = matrix.getType().getShape()[0], channels = matrix.getType().getShape()[1];
  SmallVector<SmallVector<tp::Piece>> pieces(ranks);
  for (int64_t rank = 0; rank < ranks; ++rank)
    pieces[rank].push_back({rank, 1});
  Type sourceType = matrix.getElementType();
  Value value = constant(builder, loc, matrix);
  value = tp::ShardOp::create(builder, loc, RankedTensorType::get({1, channels}, sourceType), value, uint64_t(0),
                              tp::getPiecesAttr(builder.getContext(), pieces), uint64_t(1));
  Value shape = onnx::createInts(builder, loc, {channels});
  value = onnx::ReshapeOp::create(builder, loc, RankedTensorType::get({channels}, sourceType), value, shape);
  if (sourceType == elementType)
    return value;
  return onnx::CastOp::create(builder, loc, value, elementType);
}
