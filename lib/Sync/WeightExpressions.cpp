// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightExpressions.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

bool caat::WeightExpressions::contains(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  auto [entry, isNew] = known.try_emplace(op, false);
  if (!isNew)
    return entry->second;
  bool isLeaf = isa<onnx::GetInitializerOp, onnx::ConstantOp>(op);
  bool result = isLeaf || (op->getNumOperands() > 0 && op->getNumRegions() == 0 && isMemoryEffectFree(op) &&
                           llvm::all_of(op->getOperands(), [&](Value operand) { return contains(operand); }));
  return known[op] = result;
}
