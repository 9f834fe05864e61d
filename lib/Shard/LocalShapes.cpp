// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/LocalShapes.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

bool canReplaceElements(Value shape) {
  return onnx::constantInts(shape) || shape.getDefiningOp<tensor::FromElementsOp>();
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
