// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/onnx/ONNX.h"

using namespace mlir;
using namespace caat::onnx;

LogicalResult caat::onnx::detail::verifyBroadcastElementwise(Operation *op) { return success(); }
LogicalResult MatMulOp::verify() { return success(); }
LogicalResult GemmOp::verify() { return success(); }
LogicalResult EinsumOp::verify() { return success(); }
LogicalResult ConvOp::verify() { return success(); }
LogicalResult LayerNormalizationOp::verify() { return success(); }
LogicalResult RMSNormalizationOp::verify() { return success(); }
LogicalResult GroupNormalizationOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }
LogicalResult RotaryEmbeddingOp::verify() { return success(); }
LogicalResult DepthToSpaceOp::verify() { return success(); }
LogicalResult SpaceToDepthOp::verify() { return success(); }
LogicalResult ReduceSumOp::verify() { return success(); }
LogicalResult ReduceMeanOp::verify() { return success(); }
LogicalResult ReduceMaxOp::verify() { return success(); }
LogicalResult ReduceMinOp::verify() { return success(); }
LogicalResult ReduceProdOp::verify() { return success(); }
LogicalResult ReduceL1Op::verify() { return success(); }
LogicalResult ReduceL2Op::verify() { return success(); }
LogicalResult ReduceSumSquareOp::verify() { return success(); }
LogicalResult ReduceLogSumOp::verify() { return success(); }
LogicalResult ReduceLogSumExpOp::verify() { return success(); }
LogicalResult ArgMaxOp::verify() { return success(); }
LogicalResult ArgMinOp::verify() { return success(); }
LogicalResult TopKOp::verify() { return success(); }
LogicalResult SoftmaxOp::verify() { return success(); }
LogicalResult LogSoftmaxOp::verify() { return success(); }
LogicalResult ReshapeOp::verify() { return success(); }
LogicalResult FlattenOp::verify() { return success(); }
LogicalResult TransposeOp::verify() { return success(); }
LogicalResult SqueezeOp::verify() { return success(); }
LogicalResult UnsqueezeOp::verify() { return success(); }
LogicalResult ConcatOp::verify() { return success(); }
LogicalResult SplitOp::verify() { return success(); }
LogicalResult SliceOp::verify() { return success(); }
LogicalResult ExpandOp::verify() { return success(); }
LogicalResult TileOp::verify() { return success(); }
LogicalResult PadOp::verify() { return success(); }
LogicalResult GatherOp::verify() { return success(); }
LogicalResult GatherElementsOp::verify() { return success(); }
LogicalResult GatherNDOp::verify() { return success(); }
LogicalResult ScatterNDOp::verify() { return success(); }
LogicalResult ScatterElementsOp::verify() { return success(); }
LogicalResult TensorScatterOp::verify() { return success(); }
LogicalResult RangeOp::verify() { return success(); }
LogicalResult ConstantOfShapeOp::verify() { return success(); }
LogicalResult ShapeOp::verify() { return success(); }
LogicalResult OneHotOp::verify() { return success(); }
LogicalResult InitializerOp::verify() { return success(); }
LogicalResult GeluOp::verify() { return success(); }
LogicalResult CastOp::verify() { return success(); }
