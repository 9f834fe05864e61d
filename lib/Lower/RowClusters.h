// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which linalg ops of a block run as one kernel: ops that follow each other row by row.
//
// A cluster has row coordinates r0, r1, …; each of its ops has one parallel loop for each of them. Where one op reads
// another's result, both see the same row of it: the loop that walks a dimension of the value is a row loop in both,
// for the same coordinate, or in neither. So a row of the cluster can be computed op after op from slices of its
// operands.
#ifndef CAAT_LIB_LOWER_ROWCLUSTERS_H
#define CAAT_LIB_LOWER_ROWCLUSTERS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/MapVector.h"

namespace caat::lower {

/// For each row coordinate the loop of an op.
using RowLoops = llvm::SmallVector<unsigned>;

struct RowCluster {
  llvm::SmallVector<mlir::linalg::LinalgOp> ops; // in the order of the block
  llvm::DenseMap<mlir::Operation *, RowLoops> rows;
};

/// Divides the linalg ops on tensors that stand in `block` (not deeper) into clusters. Every such op is in one.
llvm::SmallVector<RowCluster> findRowClusters(mlir::Block &block);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ROWCLUSTERS_H
