// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-check-divisors: see Passes.td.
#include "Divisors.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
#include "caat/Raise/WeightExpressions.h"
#include "mlir/Analysis/SliceAnalysis.h"

namespace caat {
#define GEN_PASS_DEF_ONNXCHECKDIVISORSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Whether no element of `divisor` is zero, as a scalar.
static Value hasNoZero(OnnxBuilder &b, Value divisor) {
  Type i1 = b.getI1Type(), i32 = b.getI32Type();
  Value isZero = b.makeOf<onnx::EqualOp>(i1, divisor, b.scalar(0, getElementTypeOrSelf(divisor)));
  Value counted = b.makeOf<onnx::CastOp>(i32, isZero, TypeAttr::get(i32), IntegerAttr(), StringAttr());
  Value most = b.make<onnx::ReduceMaxOp>(counted, Value(), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
  return b.makeOf<onnx::LessOrEqualOp>(i1, most, b.scalar(0, i32)); // of no element the lowest number is the most
}

/// Whether the artifact's writer evaluates `op`, which then sees a zero itself.
static bool isEvaluatedWhenWritten(Operation *op) {
  SetVector<Operation *> slice;
  BackwardSliceOptions options;
  options.inclusive = true;
  if (!isEvaluatedAtCompileTime(op) || failed(getBackwardSlice(op, &slice, options)))
    return false;
  return llvm::all_of(slice, [](Operation *part) {
    bool isComputed = isEvaluatedAtCompileTime(part) &&
                      llvm::all_of(part->getOperands(), [](Value operand) { return bool(operand.getDefiningOp()); });
    return isComputed || isa<onnx::ConstantOp, onnx::GetInitializerOp>(part);
  });
}

namespace {
struct CheckDivisors : caat::impl::ONNXCheckDivisorsPassBase<CheckDivisors> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    llvm::StringSet<> sizes;
    if (!function.isExternal())
      for (auto check : function.getBody().front().getOps<onnx::CheckOp>())
        sizes.insert(check.getMessage());
    llvm::DenseSet<Value> checked;
    bool good = true;
    bool any = rewriteInOrder(
        function, [](Operation *op) { return bool(integerDivisor(op)); },
        [&](Operation *op, OnnxBuilder &builder) {
          Value divisor = integerDivisor(op);
          if (!divisor || op->use_empty() || isNeverZero(divisor, builder.getShapes()))
            return;
          if (auto place = findZero(divisor, builder.getShapes())) {
            emitError(op->getLoc()) << dividesBy(op) << "a constant whose element " << *place << " is 0";
            good = false;
          } else if (isOfSizes(builder, divisor, builder.getShapes())) {
            checkSizesOf(builder, op, builder.getShapes(), sizes);
          } else if (!isEvaluatedWhenWritten(op) && checked.insert(divisor).second) {
            onnx::CheckOp::create(builder, op->getLoc(), hasNoZero(builder, divisor),
                                  builder.getStringAttr(dividesBy(op) + "an integer that is 0"));
          }
        });
    if (!good)
      return signalPassFailure();
    if (!any)
      markAllAnalysesPreserved();
  }
};
} // namespace
