// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace caat {
#define GEN_PASS_DEF_RTBUFFERIZEPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;

/// A tensor.empty for each operand of an op of its block, and one for all uses inside the op's regions (the branches of
/// an scf.if write the same one). Uses of one would be taken for aliases of each other all through the program, and the
/// time of the analysis would grow with the square of the layers.
static void separateEmptyTensors(func::FuncOp func) {
  SmallVector<tensor::EmptyOp> empties;
  func.walk([&](tensor::EmptyOp op) { empties.push_back(op); });
  for (tensor::EmptyOp op : empties) {
    llvm::SmallDenseMap<Operation *, Value> inRegions;
    for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
      Operation *user = op->getBlock()->findAncestorOpInBlock(*use.getOwner());
      Value operand;
      Value &clone = user == use.getOwner() ? operand : inRegions[user];
      if (!clone)
        clone = OpBuilder(user).clone(*op)->getResult(0);
      use.set(clone);
    }
    op.erase();
  }
}

/// Whether `use` writes over its value, or over a copy of it if the value is read later.
static bool isOverwritten(OpOperand &use) {
  Operation *user = use.getOwner();
  if (auto dps = dyn_cast<DestinationStyleOpInterface>(user))
    return dps.isDpsInit(&use);
  if (auto forall = dyn_cast<scf::ForallOp>(user))
    return llvm::is_contained(forall.getOutputs(), use.get());
  return isa<scf::ForOp, scf::IfOp, scf::WhileOp>(user);
}

/// What `value` is written over.
static Value destinationOf(Value value) {
  auto result = dyn_cast<OpResult>(value);
  Operation *op = result ? result.getOwner() : nullptr;
  if (auto dps = dyn_cast_or_null<DestinationStyleOpInterface>(op))
    return dps.getTiedOpOperand(result)->get();
  if (auto forall = dyn_cast_or_null<scf::ForallOp>(op))
    return forall.getTiedOpOperand(result)->get();
  auto cast = dyn_cast_or_null<tensor::CastOp>(op);
  return cast ? cast.getSource() : Value();
}

/// A value is computed in the buffer that it ends in, unless two values are made from one on the way: the other one may
/// be put in place, and would then be there when this one is written over it.
static Value placeInDestination(RewriterBase &rewriter, SubsetInsertionOpInterface op, tensor::EmptyOp empty,
                                Operation *user) {
  for (Value value = op.getSourceOperand().get(); value; value = destinationOf(value))
    if (llvm::count_if(value.getUses(), isOverwritten) > 1)
      return {};
  return bufferization::buildSubsetExtraction(rewriter, op, empty, user);
}

namespace {
struct BufferizePass : caat::impl::RTBufferizePassBase<BufferizePass> {
  void runOnOperation() override {
    separateEmptyTensors(getOperation());
    IRRewriter rewriter(&getContext());
    bufferization::OneShotBufferizationOptions analysis;
    analysis.allowReturnAllocsFromLoops = true;
    bufferization::OneShotAnalysisState aliases(getOperation(), analysis);
    if (failed(bufferization::analyzeOp(getOperation(), aliases)) ||
        failed(bufferization::eliminateEmptyTensors(rewriter, getOperation(), aliases, placeInDestination)))
      return signalPassFailure();
    bufferization::OneShotBufferizationOptions options;
    bufferization::BufferizationState state;
    if (failed(bufferization::runOneShotBufferize(getOperation(), options, state)))
      signalPassFailure();
  }
};
} // namespace
