// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The threads that compute one row together: a single thread, a warp, a whole block, or several blocks.
#ifndef CAAT_LIB_LOWER_GPU_TEAM_H
#define CAAT_LIB_LOWER_GPU_TEAM_H

#include "mlir/IR/Builders.h"

namespace caat::lower {

inline constexpr int64_t kWarp = 32;

/// Neighbouring elements that a thread loads or stores at once: 16 bytes of f32, and of 16-bit types.
inline constexpr int64_t kLeastChunk = 4, kMostChunk = 8;

/// Scratch memory of a reduction over more than one warp: a value of 8 bytes a warp, twice, so that one reduction
/// can begin while the results of the one before are still read.
inline constexpr int64_t kReductionBytes = 2 * kWarp * 8;

struct Team {
  int64_t size = 1;    // 1, 32, 64, … 512, or that of several blocks
  mlir::Value lane;    // index of this thread in the team
  mlir::Value scratch; // memref<512xi8> in shared memory where the team is more than a warp
  unsigned reductions = 0;
  int64_t chunk = kLeastChunk; // elements that a thread has side by side, where they divide the row
  /// Where the team has several blocks, whose threads cannot wait for each other: set when they would have to.
  bool *haveToMeet = nullptr;

  bool isBlock() const { return size > kWarp; }
  /// Threads are to wait for each other. False where they cannot.
  bool meet() const {
    if (haveToMeet)
      *haveToMeet = true;
    return !haveToMeet;
  }

  /// All threads of the team have come here, and see what the others wrote.
  void barrier(mlir::OpBuilder &b, mlir::Location loc) const;

  /// The combination of `values` over the team by `combiners`, binary ops of arith. Every thread gets it.
  llvm::SmallVector<mlir::Value> reduce(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange values,
                                        llvm::ArrayRef<mlir::Operation *> combiners);
};

/// Whether partial results of `op` may be combined in any order; its neutral element is known then.
bool isCombiner(mlir::Operation *op);
/// `op` on other operands.
mlir::Value combine(mlir::OpBuilder &b, mlir::Location loc, mlir::Operation *op, mlir::Value x, mlir::Value y);
mlir::Value neutral(mlir::OpBuilder &b, mlir::Location loc, mlir::Operation *op);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GPU_TEAM_H
