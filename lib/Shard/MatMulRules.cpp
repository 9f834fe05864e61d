// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products: "...mk,...kn->...mn". Split columns (n) give split results, split rows (k) partial sums.
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat::shard {

static LogicalResult matMulFactors(Operation *op, FactorBuilder &factors) {
  int64_t rankA = factors.operandType(0).getRank(), rankB = factors.operandType(1).getRank();
  if (rankA < 2 || rankB < 2)
    return failure();
  for (int64_t dim = 3; dim <= std::max(rankA, rankB); ++dim)
    for (unsigned operand : {0, 1}) {
      RankedTensorType type = factors.operandType(operand);
      if (dim <= type.getRank())
        factors.broadcastDim(operand, dim, 0);
    }
  factors.same(factors.operand(0, -2), factors.result(0, -2));
  factors.same(factors.operand(1, -1), factors.result(0, -1));
  DimLayout inner = factors.operand(0, -1);
  factors.contract(inner, factors.operand(1, -2));
  // Padding meets zero rows only where one side is a weight.
  if (!factors.isWeight(0) && !factors.isWeight(1))
    factors.space().forbidPadding(inner, "is summed over in a product of two activations");
  return success();
}

/// What Raise leaves of Gemm: only columns of B are split, since a bias must be added once.
static LogicalResult gemmFactors(Operation *op, FactorBuilder &factors) {
  auto gemm = cast<onnx::GemmOp>(op);
  bool transA = gemm.getTransA(), transB = gemm.getTransB();
  factors.same(factors.operand(0, transA ? 1 : 0), factors.result(0, 0));
  factors.same(factors.operand(1, transB ? 0 : 1), factors.result(0, 1));
  DimLayout inner = factors.operand(0, transA ? 0 : 1), rows = factors.operand(1, transB ? 1 : 0);
  if (gemm.getC()) {
    factors.broadcast(2);
    factors.replicate(inner, "is summed over in a product with a bias");
    factors.replicate(rows, "is summed over in a product with a bias");
  } else {
    factors.contract(inner, rows);
  }
  return success();
}

void populateMatMulRules(ShardingRules &rules) {
  rules.add<onnx::MatMulOp>(matMulFactors);
  rules.add<onnx::GemmOp>(gemmFactors);
}

} // namespace caat::shard
