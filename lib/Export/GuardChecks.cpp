// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-guard-checks: see Passes.td.
#include "caat/Export/Passes.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Analysis/TopologicalSortUtils.h"

namespace caat {
#define GEN_PASS_DEF_ONNXGUARDCHECKSPASS
#include "caat/Export/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The uses of `argument` that the condition does not depend on; none where a zero cannot be added to it.
static SmallVector<OpOperand *> guardedUses(BlockArgument argument, const SetVector<Operation *> &condition) {
  auto type = dyn_cast<RankedTensorType>(argument.getType());
  SmallVector<OpOperand *> uses;
  if (!type || type.getRank() == 0 || !type.getElementType().isIntOrFloat() || type.getElementType().isInteger(1))
    return uses;
  for (OpOperand &use : argument.getUses())
    if (!condition.contains(use.getOwner()) && !isa<onnx::ShapeOp, onnx::SizeOp>(use.getOwner()))
      uses.push_back(&use);
  return uses;
}

static LogicalResult guard(onnx::CheckOp check, func::FuncOp function) {
  SetVector<Operation *> condition;
  BackwardSliceOptions options;
  options.omitBlockArguments = true;
  (void)getBackwardSlice(check.getCondition(), &condition, options);
  if (Operation *op = check.getCondition().getDefiningOp())
    condition.insert(op);

  // Integers first: token numbers are small, and nothing is rounded.
  SmallVector<BlockArgument> arguments, floats;
  for (BlockArgument argument : function.getArguments())
    (isa<FloatType>(getElementTypeOrSelf(argument.getType())) ? floats : arguments).push_back(argument);
  arguments.append(floats);
  for (BlockArgument argument : arguments) {
    SmallVector<OpOperand *> uses = guardedUses(argument, condition);
    if (uses.empty())
      continue;
    auto type = cast<RankedTensorType>(argument.getType());
    OpBuilder builder(check);
    Location loc = NameLoc::get(builder.getStringAttr("check: " + check.getMessage()), check.getLoc());
    auto list = RankedTensorType::get({1}, builder.getI64Type());
    Value good = onnx::createInts(builder, check.getLoc(), {1}), bad = onnx::createInts(builder, check.getLoc(), {2});
    Value shape = onnx::WhereOp::create(builder, check.getLoc(), list, check.getCondition(), good, bad);
    auto zeroType = RankedTensorType::get({1}, type.getElementType());
    Value zero = onnx::ConstantOp::create(builder, check.getLoc(),
                                          DenseElementsAttr::get(zeroType, builder.getZeroAttr(type.getElementType())));
    Value fits = onnx::ReshapeOp::create(builder, loc, zeroType, zero, shape);
    Value guarded = onnx::AddOp::create(builder, check.getLoc(), type, argument, fits);
    for (OpOperand *use : uses)
      use->set(guarded);
    check.erase();
    return success();
  }
  return check.emitError() << "cannot be written to ONNX: no input can carry the check '" << check.getMessage() << "'";
}

namespace {
struct GuardChecks : caat::impl::ONNXGuardChecksPassBase<GuardChecks> {
  void runOnOperation() override {
    SmallVector<onnx::CheckOp> checks(getOperation().getOps<onnx::CheckOp>());
    for (onnx::CheckOp check : checks)
      if (failed(guard(check, getOperation())))
        return signalPassFailure();
    if (!checks.empty()) // the guards stand behind uses of what they guard
      (void)sortTopologically(&getOperation().getBody().front());
  }
};
} // namespace
