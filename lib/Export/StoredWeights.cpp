// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StoredWeights.h"
#include "caat/Artifact/WeightEvaluator.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace caat;

static bool isLeaf(Operation *op) { return isa<onnx::GetInitializerOp, onnx::ConstantOp, arith::ConstantOp>(op); }

EvaluatedOps::EvaluatedOps(func::FuncOp function) {
  for (Operation &op : function.getBody().front()) {
    bool known = isLeaf(&op) || (op.getNumOperands() != 0 && llvm::all_of(op.getOperands(), [&](Value operand) {
                                   return operand.getDefiningOp() && ops.contains(operand.getDefiningOp());
                                 }));
    if (known && WeightEvaluator::supports(&op))
      ops.insert(&op);
  }
}

static int64_t bytesOf(Value value) {
  return onnx::storageBytes(cast<RankedTensorType>(value.getType())).value_or(INT64_MAX);
}

bool StoredWeights::isFolded(Operation *op, const EvaluatedOps &weights) const {
  if (isLeaf(op))
    return true;
  if (!weights.contains(op))
    return false;
  if (isa<tp::ShardOp>(op))
    return true;
  if (!isa<onnx::TransposeOp, onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::SliceOp,
           onnx::GatherOp, onnx::IdentityOp>(op))
    return false;
  Value data = op->getOperand(0);
  return data.hasOneUse() && isFolded(data.getDefiningOp(), weights) && bytesOf(op->getResult(0)) <= bytesOf(data);
}

StoredWeights::StoredWeights(func::FuncOp function) {
  EvaluatedOps weights(function);
  Block &body = function.getBody().front();
  // From the end on: an operation is a node where something needs it that is not evaluated here.
  llvm::DenseSet<Value> needed;
  for (Operation &op : llvm::reverse(body)) {
    bool hasEffect = op.hasTrait<OpTrait::IsTerminator>() || !isMemoryEffectFree(&op);
    bool isNeeded = hasEffect || llvm::any_of(op.getResults(), [&](Value result) { return needed.contains(result); });
    if (!isNeeded || isFolded(&op, weights))
      continue;
    nodes.insert(&op);
    needed.insert(op.operand_begin(), op.operand_end());
  }
  for (Operation &op : body)
    if (isFolded(&op, weights) && !nodes.contains(&op))
      for (Value result : op.getResults())
        if (needed.contains(result))
          stored.insert(result);
}
