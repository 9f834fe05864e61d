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

/// Whether a zero can be added to `value`.
static bool takesZero(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.getElementType().isIntOrFloat() && !type.getElementType().isInteger(1);
}

/// The uses of an input or result that the condition does not depend on.
static SmallVector<OpOperand *> guardedUses(Value value, const SetVector<Operation *> &condition) {
  SmallVector<OpOperand *> uses;
  if (takesZero(value))
    for (OpOperand &use : value.getUses())
      if (!condition.contains(use.getOwner()) && !isa<onnx::ShapeOp, onnx::SizeOp>(use.getOwner()))
        uses.push_back(&use);
  return uses;
}

/// Adds to `value`, where `uses` read it, a zero that cannot be computed where the check fails.
static void carry(onnx::CheckOp check, Value value, ArrayRef<OpOperand *> uses) {
  auto type = cast<RankedTensorType>(value.getType());
  OpBuilder builder(check);
  Location loc = NameLoc::get(builder.getStringAttr("check: " + check.getMessage()), check.getLoc());
  auto list = RankedTensorType::get({1}, builder.getI64Type());
  Value good = onnx::createInts(builder, check.getLoc(), {1}), bad = onnx::createInts(builder, check.getLoc(), {2});
  Value shape = onnx::WhereOp::create(builder, check.getLoc(), list, check.getCondition(), good, bad);
  auto zeroType = RankedTensorType::get({1}, type.getElementType());
  Value zero = onnx::ConstantOp::create(builder, check.getLoc(),
                                        DenseElementsAttr::get(zeroType, builder.getZeroAttr(type.getElementType())));
  Value fits = onnx::ReshapeOp::create(builder, loc, zeroType, zero, shape);
  if (Operation *op = value.getDefiningOp())
    builder.setInsertionPointAfter(op->isBeforeInBlock(check) ? check : op);
  Value guarded = onnx::AddOp::create(builder, check.getLoc(), type, value, fits);
  for (OpOperand *use : uses)
    use->set(guarded);
  check.erase();
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
  for (BlockArgument argument : arguments)
    if (SmallVector<OpOperand *> uses = guardedUses(argument, condition); !uses.empty())
      return carry(check, argument, uses), success();
  // The sizes of computed values depend on every input: then a result.
  for (OpOperand &result : function.getBody().front().getTerminator()->getOpOperands())
    if (takesZero(result.get()))
      return carry(check, result.get(), &result), success();
  return check.emitError() << "cannot be written to ONNX: no input or result can carry the check '"
                           << check.getMessage() << "'";
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
