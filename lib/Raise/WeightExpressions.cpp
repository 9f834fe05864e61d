// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/WeightExpressions.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat {

bool isEvaluatedAtCompileTime(Operation *op) {
  return isa<onnx::TransposeOp, onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::SliceOp,
             onnx::SplitOp, onnx::ConcatOp, onnx::PadOp, onnx::GatherOp, onnx::CastOp, onnx::IdentityOp, onnx::ExpandOp,
             onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::NegOp, onnx::SqrtOp, onnx::ExpOp, onnx::UnpackOp,
             onnx::DequantizeLinearOp>(op) ||
         op->getName().getStringRef() == "tp.shard";
}

} // namespace caat
