// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who generates text reads one row of logits of a whole prompt's. Here is found which products make results and nothing
// else; rt-skip-unread leaves out their other rows.
#include "caat/Lower/Conversions.h"
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace caat {
#define GEN_PASS_DEF_RTMARKRESULTSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Whether row [b, t] of `op`'s result needs no other row [b, t] of its operands. (One token that is repeated is no
/// other: of one, none is left out.)
static bool keepsRows(Operation *op) {
  if (!op->hasTrait<onnx::BroadcastElementwise>() && !isa<tensor::CastOp>(op))
    return false;
  auto result = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  return result && result.getRank() == 3;
}

/// Whether `value` becomes results of `function` row by row, and nothing else.
static bool makesOnlyResults(Value value, func::FuncOp function) {
  SmallVector<Value> values{value};
  DenseSet<Value> seen{value};
  while (!values.empty())
    for (OpOperand &use : values.pop_back_val().getUses()) {
      Operation *user = use.getOwner();
      if (isa<tensor::DimOp>(user))
        continue;
      if (isa<func::ReturnOp>(user)) {
        if (function.getResultAttr(use.getOperandNumber(), kCacheArgAttr)) // later tokens read it
          return false;
      } else if (!keepsRows(user)) {
        return false;
      } else if (Value result = user->getResult(0); seen.insert(result).second) {
        values.push_back(result);
      }
    }
  return true;
}

namespace {

struct MarkResultsPass : caat::impl::RTMarkResultsPassBase<MarkResultsPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return;
    for (auto linear : function.getBody().front().getOps<rt::LinearOp>()) {
      auto y = cast<RankedTensorType>(linear.getInit().getType());
      bool fits = y.getRank() == 3 && !linear.getShard() && !linear.getAccumulate() && !linear->use_empty();
      if (fits && makesOnlyResults(linear->getResult(0), function))
        linear.setOnlyResults(true);
    }
  }
};

} // namespace
