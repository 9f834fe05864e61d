// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/LocalShapes.h"
#include "Annotations.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

bool canReplaceElements(Value shape) {
  return onnx::constantInts(shape) || shape.getDefiningOp<tensor::FromElementsOp>();
}

Value LocalShapes::replaceSize(Value shape, int64_t index, RankedTensorType type, int64_t dim, ArrayRef<Term> layout) {
  int64_t own = localSize(layout), global = getSpace().getSize(layout);
  if (!type.isDynamicDim(dim))
    return replaceElement(shape, index, own);
  if (onnx::constantInts(shape))
    return shape; // -1 or 0: what is left, or the operand's
  auto elements = shape.getDefiningOp<tensor::FromElementsOp>();
  if (!elements)
    return {};
  SmallVector<Value> values(elements.getElements());
  Location loc = shape.getLoc();
  Type element = values[index].getType();
  if (auto constant = values[index].getDefiningOp<arith::ConstantOp>())
    if (auto number = dyn_cast<IntegerAttr>(constant.getValue()); number && number.getInt() <= 0)
      return shape;
  auto number = [&](int64_t value) {
    return arith::ConstantOp::create(rewriter, loc, rewriter.getIntegerAttr(element, value));
  };
  Value outer = arith::DivSIOp::create(rewriter, loc, values[index], number(global));
  values[index] = arith::MulIOp::create(rewriter, loc, outer, number(own));
  return tensor::FromElementsOp::create(rewriter, loc, elements.getType(), values);
}

Value LocalShapes::allReduce(Value partial, StringRef name) {
  unsigned number = sites[name]++;
  StringAttr site = rewriter.getStringAttr(number == 0 ? Twine(name) : name + "." + Twine(number));
  return tp::AllReduceOp::create(rewriter, partial.getLoc(), partial.getType(), partial, mesh,
                                 rewriter.getStrArrayAttr({axisName}), site)
      .getResult();
}

/// A constant of ones that is cut as the value is: zeros are then where padding is.
Value LocalShapes::zeroPadding(Value value, int64_t dim, ArrayRef<Term> layout) {
  int64_t global = getSpace().getSize(layout), own = localSize(layout);
  if (own * split.getSize() == global)
    return value;
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getRank() - dim, 1);
  shape[0] = global;
  auto onesType = RankedTensorType::get(shape, type.getElementType());
  Value ones = onnx::ConstantOp::create(
      rewriter, value.getLoc(), DenseElementsAttr::get(onesType, rewriter.getFloatAttr(type.getElementType(), 1.0)));
  shape[0] = own;
  Value mask = tp::ShardOp::create(rewriter, value.getLoc(), onesType.clone(shape), ones, 0,
                                   split.piecesAttr(rewriter.getContext(), layout), own);
  return onnx::MulOp::create(rewriter, value.getLoc(), type, value, mask);
}

void LocalShapes::replaceResult(Value result, Value value) {
  Value current = getReplacement(result);
  rewriter.replaceAllUsesExcept(current, value, value.getDefiningOp());
  analysis.copyLayout(result, value);
  replaced[result] = value;
}

Value LocalShapes::replaceElement(Value shape, int64_t index, int64_t value) {
  Location loc = shape.getLoc();
  if (std::optional<SmallVector<int64_t>> values = onnx::constantInts(shape)) {
    (*values)[index] = value;
    return onnx::createInts(rewriter, loc, *values);
  }
  auto elements = shape.getDefiningOp<tensor::FromElementsOp>();
  if (!elements)
    return {};
  SmallVector<Value> values(elements.getElements());
  values[index] = arith::ConstantOp::create(rewriter, loc, rewriter.getIntegerAttr(values[index].getType(), value));
  return tensor::FromElementsOp::create(rewriter, loc, elements.getType(), values);
}

} // namespace caat::shard
