// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_LOWER_STRUCTUREDREWRITES_H
#define CAAT_LIB_LOWER_STRUCTUREDREWRITES_H

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace caat::lower {

/// How patterns are applied to a program of one block a region: there are no blocks to merge, which upstream's default
/// would look for in all of it after each round.
inline mlir::GreedyRewriteConfig structuredRewrites() {
  return mlir::GreedyRewriteConfig().setRegionSimplificationLevel(mlir::GreedySimplifyRegionLevel::Disabled);
}

/// Applies `patterns` until none of them matches. Fails where that does not end.
inline mlir::LogicalResult applyToStructured(mlir::Operation *op, mlir::RewritePatternSet &&patterns) {
  return mlir::applyPatternsGreedily(op, std::move(patterns), structuredRewrites());
}

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_STRUCTUREDREWRITES_H
