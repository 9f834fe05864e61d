// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SYNC_STREAMREADS_H
#define CAAT_LIB_SYNC_STREAMREADS_H

#include "dialects/tp/TP.h"

namespace caat {

/// True where the stream behind a site must be equal on all ranks: something reads it that is no input of a later
/// sync point's partial (the final norm), or that also reaches a function result without `tp.shard`, or a branch.
bool mustBeReplicated(tp::SyncPointOp site);

/// True where a use makes a value leave the program, or leave a region or go into one where it may decide what runs,
/// and so all ranks must agree on it.
bool leavesReplicated(mlir::OpOperand &use);

} // namespace caat

#endif // CAAT_LIB_SYNC_STREAMREADS_H
