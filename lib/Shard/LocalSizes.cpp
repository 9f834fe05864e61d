// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/LocalSizes.h"
#include "dialects/tp/TP.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace caat::shard {

LocalSizes::LocalSizes(func::FuncOp function) : shapes(SymbolicShapes::ofArguments(function)) {
  for (Operation &op : function.getBody().front())
    visit(&op);
}

/// Adds to what the Raise stage knows the ops of the tp dialect.
void LocalSizes::visit(Operation *op) {
  auto copy = [&](Value from) {
    if (auto dims = shapes.getDims(from))
      for (Value result : op->getResults())
        shapes.setDims(result, *dims);
  };
  if (auto gather = dyn_cast<tp::AllGatherOp>(op)) {
    auto dims = shapes.getDims(gather.getInput());
    if (!dims)
      return;
    AffineExpr &dim = (*dims)[gather.getDim()];
    dim = mulDims(dim, shapes.constant(gather.getGroupSize()));
    shapes.setDims(op->getResult(0), *dims);
  } else if (auto site = dyn_cast<tp::SyncPointOp>(op)) {
    copy(site.getPartial());
  } else if (isa<tp::AllReduceOp, tp::BroadcastOp, tp::PermuteOp, tp::ReadStreamOp>(op)) {
    copy(op->getOperand(0));
  } else {
    shapes.visit(op);
  }
}

int64_t LocalSizes::evaluate(AffineExpr expr, const Dims &dims) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (isa<AffineSymbolExpr>(expr)) {
    auto known = dims.find(shapes.print(expr));
    return known == dims.end() ? 1 : known->second;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return 1;
  int64_t a = evaluate(binary.getLHS(), dims), b = evaluate(binary.getRHS(), dims);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return a + b;
  case AffineExprKind::Mul:
    return a * b;
  case AffineExprKind::FloorDiv:
    return b == 0 ? 0 : llvm::divideFloorSigned(a, b);
  case AffineExprKind::CeilDiv:
    return b == 0 ? 0 : llvm::divideCeilSigned(a, b);
  default:
    return b == 0 ? 0 : a - b * llvm::divideFloorSigned(a, b);
  }
}

int64_t LocalSizes::getBytes(Value value, const Dims &dims) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  auto known = shapes.getDims(value);
  if (!type || !known || !type.getElementType().isIntOrFloat())
    return 0;
  int64_t count = 1;
  for (AffineExpr dim : *known)
    count *= std::max<int64_t>(0, evaluate(dim, dims));
  return llvm::divideCeil(count * type.getElementTypeBitWidth(), 8);
}

bool parseDimValue(StringRef text, LocalSizes::Dims &dims) {
  auto [name, value] = text.split('=');
  int64_t number;
  if (name.empty() || value.getAsInteger(10, number) || number < 0)
    return false;
  dims[name] = number;
  return true;
}

} // namespace caat::shard
