// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element-wise ops pass every dimension through. Padding is harmless as long as the op makes no infinity or NaN of
// zeros: the rows of the next weight that meet padded elements are zero, and only 0 * finite is 0.
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

static LogicalResult passThrough(Operation *op, FactorBuilder &factors) {
  if (op->getNumResults() != 1)
    return failure();
  for (unsigned index = 0; index < op->getNumOperands(); ++index)
    factors.broadcast(index);
  return success();
}

static void forbidPadding(FactorBuilder &factors, unsigned operand, StringRef reason) {
  RankedTensorType type = factors.operandType(operand);
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    factors.space().forbidPadding(factors.operand(operand, dim), reason);
}

void populateElementwiseRules(ShardingRules &rules, ShardingRules::Rule &elementwise) {
  elementwise.factors = passThrough;

  rules.add<onnx::DivOp>([](Operation *op, FactorBuilder &factors) {
    if (failed(passThrough(op, factors)))
      return failure();
    forbidPadding(factors, 1, "divides by a split value");
    return success();
  });
  rules.add<onnx::ReciprocalOp, onnx::LogOp, onnx::AcoshOp>([](Operation *op, FactorBuilder &factors) {
    if (failed(passThrough(op, factors)))
      return failure();
    forbidPadding(factors, 0, "is not finite at zero");
    return success();
  });
  rules.add<onnx::PowOp>([](Operation *op, FactorBuilder &factors) {
    if (failed(passThrough(op, factors)))
      return failure();
    std::optional<double> exponent = onnx::constantFloat(op->getOperand(1));
    if (!exponent || *exponent < 0)
      forbidPadding(factors, 0, "is raised to a power that may be negative");
    return success();
  });
  rules.add<onnx::CastLikeOp>([](Operation *op, FactorBuilder &factors) {
    factors.broadcast(0);
    return success();
  });
}

} // namespace caat::shard
