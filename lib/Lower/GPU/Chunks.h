// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How the threads of a team share the iterations of a linalg op of known size: neighbouring elements together, so that
// they are loaded and stored at once.
#ifndef CAAT_LIB_LOWER_GPU_CHUNKS_H
#define CAAT_LIB_LOWER_GPU_CHUNKS_H

#include "lib/Lower/GPU/Team.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include <optional>
#include <string>

namespace caat::lower {

llvm::SmallVector<unsigned> loopsOf(mlir::linalg::LinalgOp op, mlir::utils::IteratorType kind);

/// What a size that is not known is taken for where threads are counted.
inline constexpr int64_t kUnknownLength = 1024;

/// The product of the `which` of `sizes`, those that are not known taken for `unknown`.
int64_t extent(llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<unsigned> which, int64_t unknown);

/// The combiners of an op's reductions; nothing where one is not known.
std::optional<llvm::SmallVector<mlir::Operation *>> reductionsOf(mlir::linalg::LinalgOp op);

/// Whether the whole team computes each result of a reduction, one after the other.
bool isReducedTogether(mlir::linalg::LinalgOp op);

/// The iterations of some loops of an op in chunks of `width` along the last of them. Thread t of the team has the
/// chunks t, t + team, ...: `rounds` of them.
struct Chunks {
  llvm::SmallVector<unsigned> loops; // those of more than one iteration
  int64_t width = 1, count = 0, rounds = 0;

  /// Chunks of all parallel loops of an op without reductions, or of the reduction loops of one with a single result.
  /// Nothing where a size is not known or a thread would have more elements than its registers should hold.
  static std::optional<Chunks> of(mlir::linalg::LinalgOp op, const Team &team);
  /// Chunks of one loop, for a thread of `team` that runs it alone.
  static std::optional<Chunks> along(mlir::linalg::LinalgOp op, unsigned loop, const Team &team);
};

/// Which thread touches which element of `operand`, where the loops `divided` are shared; empty where others may too.
/// Equal texts of two ops: the same thread has the same elements.
std::string placesOf(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, llvm::ArrayRef<unsigned> divided,
                     int64_t width);

/// Whether each chunk of `operand` is one piece of memory whose address is a multiple of its size (at most 16 bytes).
/// Buffers begin at such multiples.
bool isOnePiece(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, const Chunks &chunks);

/// Whether the row buffer `alloca` can be kept in registers: each op that touches it gives every thread the same
/// elements of it, and the first one writes them.
bool isKeptInRegisters(mlir::memref::AllocaOp alloca, mlir::Block &row, const Team &team);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GPU_CHUNKS_H
