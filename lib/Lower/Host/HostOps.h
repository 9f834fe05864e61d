// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What each op of the host program becomes: a call of the runtime, or an address. The op itself is left to the caller.
#ifndef CAAT_LIB_LOWER_HOST_HOSTOPS_H
#define CAAT_LIB_LOWER_HOST_HOSTOPS_H

#include "lib/Lower/Host/RuntimeCalls.h"

namespace caat::lower {

// Buffers.cpp
llvm::LogicalResult lower(RuntimeCalls &calls, rt::DimOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::BufferOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::ParameterOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::WorkspaceOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::CopyOp op);
/// An element of a buffer on the device.
llvm::LogicalResult lower(RuntimeCalls &calls, mlir::memref::LoadOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, mlir::memref::StoreOp op);

// Products.cpp
llvm::LogicalResult lower(RuntimeCalls &calls, rt::LinearOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::MatmulOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::AttentionOp op);

// Collectives.cpp
llvm::LogicalResult lower(RuntimeCalls &calls, tp::RankOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, tp::CollectiveOpInterface op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::AllReduceStartOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::AllReduceWaitOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::SyncPointOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, tp::RingShardOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::PartRowsOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::UnreadTokensOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::RotateStartOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::RotateWaitOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::RotateOp op);

// HostOps.cpp
llvm::LogicalResult lower(RuntimeCalls &calls, rt::LaunchOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::CheckOp op);
llvm::LogicalResult lower(RuntimeCalls &calls, rt::CheckLaterOp op);
/// Whichever of these it is.
llvm::LogicalResult lowerHostOp(RuntimeCalls &calls, mlir::Operation *op);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_HOST_HOSTOPS_H
