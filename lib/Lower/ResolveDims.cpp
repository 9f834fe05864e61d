// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StructuredRewrites.h"
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace caat {
#define GEN_PASS_DEF_RTRESOLVEDIMSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;

namespace {
struct ResolveDimsPass : caat::impl::RTResolveDimsPassBase<ResolveDimsPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
    memref::populateResolveShapedTypeResultDimsPatterns(patterns);
    if (failed(caat::lower::applyToStructured(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
