// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TokenCost.h"
#include "dialects/onnx/ONNX.h"
#include <cmath>

using namespace mlir;

namespace caat::shard {

TokenCost::TokenCost(ShardingAnalysis &analysis) : shapes(analysis.getShapes()) {
  for (BlockArgument argument : analysis.getFunction().getArguments())
    if (shapes.getRank(argument).value_or(0) > 1)
      if (AffineExpr dim = shapes.getDim(argument, 0))
        batches.insert(dim);
  for (Operation *op : analysis.getOps()) {
    bool product = isa<onnx::MatMulOp, onnx::GemmOp, onnx::ConvOp>(op) && analysis.isWeight(op->getOperand(1));
    auto type = product ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : RankedTensorType();
    if (!type || type.getRank() < 2)
      continue;
    int64_t width = type.getDimSize(isa<onnx::ConvOp>(op) ? 1 : type.getRank() - 1);
    if (!ShapedType::isDynamic(width) && width != 0)
      tokens = std::max(tokens, elements(op->getResult(0)) / width);
  }
}

double TokenCost::evaluate(AffineExpr expr) const {
  if (!expr)
    return typicalLength;
  if (batches.contains(expr))
    return 1;
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return typicalLength;
  double a = evaluate(binary.getLHS()), b = evaluate(binary.getRHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return a + b;
  case AffineExprKind::Mul:
    return a * b;
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv:
    return b == 0 ? a : std::ceil(a / b);
  default:
    return b;
  }
}

double TokenCost::elements(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return 0;
  double count = 1;
  for (auto [dim, size] : llvm::enumerate(type.getShape()))
    count *= ShapedType::isDynamic(size) ? std::max(0.0, evaluate(shapes.getDim(value, dim))) : double(size);
  return count;
}

int64_t TokenCost::bytes(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.getElementType().isIntOrFloat())
    return 0;
  double width = std::max(1u, type.getElementTypeBitWidth() / 8);
  return std::max<int64_t>(1, std::llround(elements(value) * width / tokens));
}

} // namespace caat::shard
