// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace caat {
#define GEN_PASS_DEF_RTBUFFERIZEPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;

/// A tensor.empty for each op of its block that uses it, itself or inside its regions (the branches of an scf.if write
/// the same one). Uses of one would be taken for aliases of each other all through the program, and the time of the
/// analysis would grow with the square of the layers.
static void separateEmptyTensors(func::FuncOp func) {
  SmallVector<tensor::EmptyOp> empties;
  func.walk([&](tensor::EmptyOp op) { empties.push_back(op); });
  for (tensor::EmptyOp op : empties) {
    llvm::SmallDenseMap<Operation *, Value> clones;
    for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
      Operation *user = op->getBlock()->findAncestorOpInBlock(*use.getOwner());
      Value &clone = clones[user];
      if (!clone)
        clone = OpBuilder(user).clone(*op)->getResult(0);
      use.set(clone);
    }
    op.erase();
  }
}

namespace {
struct BufferizePass : caat::impl::RTBufferizePassBase<BufferizePass> {
  void runOnOperation() override {
    separateEmptyTensors(getOperation());
    IRRewriter rewriter(&getContext());
    if (failed(bufferization::eliminateEmptyTensors(rewriter, getOperation())))
      return signalPassFailure();
    bufferization::OneShotBufferizationOptions options;
    bufferization::BufferizationState state;
    if (failed(bufferization::runOneShotBufferize(getOperation(), options, state)))
      signalPassFailure();
  }
};
} // namespace
