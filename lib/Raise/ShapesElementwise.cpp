// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shapes of ops that broadcast their operands, and of those that keep the shape of one operand.
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat {

bool inferElementwiseShape(Operation *op, SymbolicShapes &shapes) {
  if (op->hasTrait<onnx::BroadcastElementwise>()) {
    SymbolicShapes::Dims result;
    for (Value operand : op->getOperands()) {
      auto dims = shapes.getDims(operand);
      if (!dims)
        return false;
      result = shapes.broadcastShapes(result, *dims);
    }
    shapes.setDims(op->getResult(0), result);
    return true;
  }

  // All results have the first operand's shape.
  if (isa<onnx::CastLikeOp, onnx::QuantizeLinearOp, onnx::DequantizeLinearOp, onnx::SoftmaxOp, onnx::LogSoftmaxOp,
          onnx::CumSumOp, onnx::CumProdOp, onnx::ReverseSequenceOp, onnx::TriluOp, onnx::ScatterNDOp,
          onnx::ScatterElementsOp, onnx::TensorScatterOp, onnx::RMSNormalizationOp, onnx::GroupNormalizationOp,
          onnx::RotaryEmbeddingOp>(op)) {
    auto dims = shapes.getDims(op->getOperand(0));
    if (!dims)
      return false;
    shapes.setDims(op->getResult(0), *dims);
    return true;
  }
  return false;
}

} // namespace caat
