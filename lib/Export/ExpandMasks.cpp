// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-expand-masks: see Passes.td.
#include "caat/Export/Passes.h"
#include "caat/Raise/SymbolicShapes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXEXPANDMASKSPASS
#include "caat/Export/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The number of queries of an attention as an index.
static Value queriesOf(OpBuilder &builder, onnx::AttentionOp op, SymbolicShapes &shapes) {
  int64_t axis = cast<RankedTensorType>(op.getQ().getType()).getRank() - 2;
  if (AffineExpr size = shapes.getDim(op.getQ(), axis))
    if (Value index = shapes.materialize(builder, op.getLoc(), size))
      return index;
  return tensor::DimOp::create(builder, op.getLoc(), op.getQ(), axis);
}

namespace {
struct ExpandMasks : caat::impl::ONNXExpandMasksPassBase<ExpandMasks> {
  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    SymbolicShapes shapes = SymbolicShapes::ofArguments(getOperation());
    for (Operation &op : llvm::make_early_inc_range(getOperation().getBody().front())) {
      if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        expand(attention, shapes);
      shapes.visit(&op);
      // What is reduced keeps its shape, so that all layers have one number of queries.
      if (auto reduce = dyn_cast<tp::AllReduceOp>(op))
        if (auto dims = shapes.getDims(reduce.getInput()))
          shapes.setDims(reduce.getResult(), *dims);
    }
  }

  static void expand(onnx::AttentionOp op, SymbolicShapes &shapes) {
    Value mask = op.getAttnMask();
    auto type = mask ? dyn_cast<RankedTensorType>(mask.getType()) : RankedTensorType();
    auto queries = dyn_cast<RankedTensorType>(op.getQ().getType());
    if (!type || type.getRank() < 2 || !queries || queries.getRank() < 3)
      return;
    int64_t axis = type.getRank() - 2, number = queries.getDimSize(queries.getRank() - 2);
    if (type.getDimSize(axis) != 1 || number == 1)
      return;
    OpBuilder builder(op);
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = number;
    Value one = arith::ConstantIntOp::create(builder, op.getLoc(), 1, 64);
    SmallVector<Value> sizes(type.getRank(), one);
    sizes[axis] =
        arith::IndexCastOp::create(builder, op.getLoc(), builder.getI64Type(), queriesOf(builder, op, shapes));
    Value target = tensor::FromElementsOp::create(builder, op.getLoc(),
                                                  RankedTensorType::get({type.getRank()}, builder.getI64Type()), sizes);
    Value wide = onnx::ExpandOp::create(builder, op.getLoc(), type.clone(shape), mask, target);
    op.getAttnMaskMutable().assign(wide);
  }
};
} // namespace
