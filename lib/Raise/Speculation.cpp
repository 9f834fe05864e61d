// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Speculation.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

using Dims = SymbolicShapes::Dims;

static bool isStatic(Value value, const SymbolicShapes &shapes) {
  auto dims = shapes.getDims(value);
  return !isa<TensorType>(value.getType()) ||
         (dims && llvm::all_of(*dims, [](AffineExpr dim) { return constantDim(dim).has_value(); }));
}

/// Whether all sizes follow from values before `op` and none can be negative.
static bool hasSizes(Value result, Operation *op, const SymbolicShapes &shapes) {
  OpBuilder builder(op);
  auto dims = shapes.getDims(result);
  return dims && llvm::all_of(*dims, [&](AffineExpr dim) {
           return dim && shapes.canMaterialize(builder, dim) && shapes.isGreaterEqual(dim, shapes.constant(0));
         });
}

/// Whether `operand` is broadcast to the shape of `result` for certain; both without their last `skipped` dimensions.
static bool fits(Value operand, Value result, const SymbolicShapes &shapes, size_t skipped = 0) {
  if (!isa<TensorType>(operand.getType()))
    return true;
  auto from = shapes.getDims(operand), to = shapes.getDims(result);
  if (!from || !to || from->size() > to->size())
    return false;
  for (size_t i = skipped + 1; i <= from->size(); ++i) {
    AffineExpr own = shapes.resolve((*from)[from->size() - i]), whole = shapes.resolve((*to)[to->size() - i]);
    if (own != whole && constantDim(own) != 1)
      return false;
  }
  return true;
}

static bool allFit(Operation *op, const SymbolicShapes &shapes) {
  return llvm::all_of(op->getOperands(), [&](Value operand) { return fits(operand, op->getResult(0), shapes); });
}

static AffineExpr countElements(Value value, const SymbolicShapes &shapes) {
  AffineExpr count = shapes.constant(1);
  for (AffineExpr dim : shapes.getDims(value).value_or(Dims{AffineExpr()}))
    count = mulDims(count, dim);
  return count;
}

/// Indices are moved into the dimension when they are read, unless they are constant; then none may lie outside.
static bool isInside(onnx::GatherOp op, const SymbolicShapes &shapes) {
  AffineExpr size = shapes.getDim(op.getData(), op.getAxis());
  auto indices = shapes.getConstants(op.getIndices());
  if (!indices && op.getIndices().getDefiningOp<onnx::ConstantOp>()) // more than are looked at
    return constantDim(size).has_value();
  return llvm::all_of(indices.value_or(SmallVector<int64_t>{0}), [&](int64_t index) {
    return shapes.isGreaterEqual(size, shapes.constant(index < 0 ? -index : index + 1));
  });
}

/// Whether nothing but the sizes of its results can be wrong with `op`, given that it assumes no sizes to be equal.
static bool needsNoMore(Operation *op, const SymbolicShapes &shapes) {
  if (op->hasTrait<onnx::BroadcastElementwise>())
    return allFit(op, shapes);
  return TypeSwitch<Operation *, bool>(op)
      .Case<onnx::ShapeOp, onnx::SizeOp, onnx::TransposeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::FlattenOp,
            onnx::ConcatOp, onnx::SplitOp, onnx::TileOp, onnx::RangeOp, onnx::ConstantOfShapeOp, onnx::TriluOp>(
          [](auto) { return true; })
      .Case<onnx::ReduceSumOp, onnx::ReduceMeanOp, onnx::ReduceMaxOp, onnx::ReduceMinOp, onnx::ReduceProdOp,
            onnx::ReduceL1Op, onnx::ReduceL2Op, onnx::ReduceSumSquareOp, onnx::ReduceLogSumOp, onnx::ReduceLogSumExpOp,
            onnx::CumSumOp, onnx::SoftmaxOp, onnx::LogSoftmaxOp>([](auto) { return true; })
      .Case<onnx::LayerNormalizationOp, onnx::RMSNormalizationOp>([&](auto) { return allFit(op, shapes); })
      .Case([&](onnx::ExpandOp op) { return fits(op.getInput(), op.getOutput(), shapes); })
      .Case([&](onnx::MatMulOp op) {
        return fits(op.getA(), op.getY(), shapes, 2) && fits(op.getB(), op.getY(), shapes, 2);
      })
      .Case([&](onnx::GemmOp op) { return !op.getC() || fits(op.getC(), op.getY(), shapes); })
      .Case([&](onnx::ReshapeOp op) {
        AffineExpr before = countElements(op.getData(), shapes);
        return before && before == countElements(op.getReshaped(), shapes);
      })
      // A part of a table is taken to lie inside it: see sliceLength() in ShapesMovement.cpp.
      .Case([&](onnx::SliceOp op) {
        return !isTable(op.getData()) || (shapes.getConstants(op.getStarts()) && shapes.getConstants(op.getEnds()));
      })
      .Case([&](onnx::GatherOp op) { return isInside(op, shapes); })
      .Default([&](Operation *op) {
        return llvm::all_of(op->getOperands(), [&](Value operand) { return isStatic(operand, shapes); });
      });
}

bool canAlwaysRun(Operation *op, const SymbolicShapes &shapes) {
  auto assumes = [&](const SymbolicShapes::Assumption &assumption) { return assumption.op == op; };
  return llvm::none_of(shapes.getAssumptions(), assumes) &&
         llvm::all_of(op->getResults(),
                      [&](Value result) { return isStatic(result, shapes) || hasSizes(result, op, shapes); }) &&
         needsNoMore(op, shapes);
}

} // namespace caat
