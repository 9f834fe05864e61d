// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SplitProducts.h"
#include "mlir/IR/IRMapping.h"

using namespace caat;
using namespace mlir;

/// The target shape of a reshape that leaves the last dimension, of known size, as it is; nothing where it does not, or
/// where the shape is computed.
static std::optional<SmallVector<int64_t>> keptLast(onnx::ReshapeOp op) {
  auto from = dyn_cast<RankedTensorType>(op.getData().getType()), to = dyn_cast<RankedTensorType>(op.getType());
  std::optional<SmallVector<int64_t>> shape = onnx::constantInts(op.getShape());
  if (!from || !to || !shape || from.getRank() == 0 || to.getRank() == 0 || shape->empty() ||
      ShapedType::isDynamic(to.getShape().back()) || from.getShape().back() != to.getShape().back() ||
      shape->back() != to.getShape().back())
    return std::nullopt;
  return shape;
}

bool ProductSplitter::hasChannels(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.getShape().back() == split.channels;
}

/// Ops between a product and its sum that are looked through: a few adds, factors and reshapes; recursion needs a
/// bound.
static constexpr int mostOps = 16;

bool ProductSplitter::splits(Value value, int depth) {
  Operation *op = value.getDefiningOp();
  if (!op || depth > mostOps || !value.hasOneUse() || !hasChannels(value))
    return false;
  if (auto product = dyn_cast<onnx::MatMulOp>(op))
    return weights.contains(product.getB()) && !weights.contains(product.getA()) &&
           cast<RankedTensorType>(product.getB().getType()).getRank() == 2;
  if (isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp>(op))
    return splits(op->getOperand(0), depth + 1) || splits(op->getOperand(1), depth + 1);
  auto reshape = dyn_cast<onnx::ReshapeOp>(op);
  return reshape && keptLast(reshape) && splits(reshape.getData(), depth + 1);
}

Value ProductSplitter::compute(Value value, bool shared, int depth) {
  if (!hasChannels(value)) // the same for all channels
    return value;
  auto take = [&](Value whole) { return shared ? channel.takeShared(whole, split) : channel.takeRest(whole, split); };
  if (!splits(value, depth))
    return take(value);
  Operation *op = value.getDefiningOp();
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = shared ? split.shared : split.getRest();
  IRMapping mapping;
  if (auto product = dyn_cast<onnx::MatMulOp>(op)) {
    mapping.map(product.getB(), take(product.getB()));
  } else if (auto reshape = dyn_cast<onnx::ReshapeOp>(op)) {
    SmallVector<int64_t> target = *keptLast(reshape);
    target.back() = shape.back();
    mapping.map(reshape.getData(), compute(reshape.getData(), shared, depth + 1));
    mapping.map(reshape.getShape(), onnx::createInts(builder, op->getLoc(), target));
  } else {
    for (Value operand : op->getOperands())
      mapping.map(operand, compute(operand, shared, depth + 1));
  }
  Operation *part = builder.clone(*op, mapping);
  part->getResult(0).setType(type.clone(shape));
  return part->getResult(0);
}
