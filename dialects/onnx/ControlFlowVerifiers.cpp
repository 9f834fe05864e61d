// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of the ops that hold subgraphs.
#include "dialects/onnx/ONNX.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;

/// The values that `region` ends with; an error where it does not end in onnx.Yield of `count` values.
static FailureOr<YieldOp> verifyYield(Operation *op, StringRef name, Region &region, unsigned count) {
  auto yield = dyn_cast_if_present<YieldOp>(region.front().empty() ? nullptr : &region.front().back());
  if (!yield)
    return op->emitOpError("'") << name << "' does not end in onnx.Yield";
  if (yield.getNumOperands() != count)
    return op->emitOpError("'") << name << "' yields " << yield.getNumOperands() << " values, not " << count;
  return yield;
}

static LogicalResult verifyElementType(Operation *op, StringRef name, unsigned index, Value yielded, Value result) {
  Type given = getElementTypeOrSelf(yielded), wanted = getElementTypeOrSelf(result);
  if (given == wanted)
    return success();
  return op->emitOpError("'") << name << "' yields elements of type " << given << " for result " << index
                              << ", which has " << wanted;
}

LogicalResult IfOp::verify() {
  for (auto [name, region] : {std::pair<StringRef, Region &>("then_branch", getThenBranch()),
                              std::pair<StringRef, Region &>("else_branch", getElseBranch())}) {
    FailureOr<YieldOp> yield = verifyYield(*this, name, region, getNumResults());
    if (failed(yield))
      return failure();
    for (unsigned i = 0; i < getNumResults(); ++i)
      if (failed(verifyElementType(*this, name, i, yield->getOperand(i), getResult(i))))
        return failure();
  }
  return success();
}

LogicalResult LoopOp::verify() {
  unsigned carried = getNumCarried();
  if (getNumResults() < carried)
    return emitOpError("has ") << getNumResults() << " results, fewer than its " << carried << " carried values";
  if (getBody().getNumArguments() != carried + 2)
    return emitOpError("'body' has ") << getBody().getNumArguments() << " arguments, not " << carried + 2;
  FailureOr<YieldOp> yield = verifyYield(*this, "body", getBody(), getNumResults() + 1);
  if (failed(yield))
    return failure();
  if (!getElementTypeOrSelf(yield->getOperand(0)).isInteger(1))
    return emitOpError("'body' yields ") << yield->getOperand(0).getType() << " as its condition";
  for (unsigned i = 0; i < getNumResults(); ++i)
    if (failed(verifyElementType(*this, "body", i, yield->getOperand(i + 1), getResult(i))))
      return failure();
  return success();
}

LogicalResult ScanOp::verify() {
  int64_t operands = getInitialStateAndScanInputs().size(), scanned = getNumScanInputs();
  if (scanned < 1 || scanned > operands)
    return emitOpError("num_scan_inputs is ") << scanned << ", not in 1 to " << operands;
  if (getBody().getNumArguments() != operands)
    return emitOpError("'body' has ") << getBody().getNumArguments() << " arguments, not " << operands;
  if (getNumResults() < operands - scanned)
    return emitOpError("has ") << getNumResults() << " results, fewer than its " << operands - scanned
                               << " carried values";
  FailureOr<YieldOp> yield = verifyYield(*this, "body", getBody(), getNumResults());
  if (failed(yield))
    return failure();
  for (unsigned i = 0; i < getNumResults(); ++i)
    if (failed(verifyElementType(*this, "body", i, yield->getOperand(i), getResult(i))))
      return failure();
  return success();
}
