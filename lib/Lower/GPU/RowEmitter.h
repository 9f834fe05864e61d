// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_LOWER_GPU_ROWEMITTER_H
#define CAAT_LIB_LOWER_GPU_ROWEMITTER_H

#include "lib/Lower/GPU/Chunks.h"
#include "lib/Lower/GPU/Hazards.h"
#include "lib/Lower/GPU/IndependentLoop.h"
#include "lib/Lower/GPU/Team.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"
#include <map>

namespace caat::lower {

/// Places (Access) where only the first thread of the team is at work.
inline constexpr llvm::StringLiteral kFirst = "first";

/// Repeats the ops of a kernel's row for the threads of a team.
///
/// All threads run the row's scalar code and have the same values. The iterations of a linalg op, or of a loop whose
/// iterations are independent, are divided among them, and what such a loop sums up is combined over the team. Single
/// elements are stored by one thread; a buffer of one element is kept by each thread for itself.
class RowEmitter {
public:
  /// `registers`: row buffers (memref.alloca) that are not in memory, for which there is no mapping.
  RowEmitter(mlir::OpBuilder &b, mlir::IRMapping &mapping, Team team, llvm::ArrayRef<mlir::Operation *> registers)
      : b(b), mapping(mapping), team(team), registers(registers) {}

  /// The ops of `block` but its terminator.
  mlir::LogicalResult emit(mlir::Block &block);

private:
  using Sizes = llvm::SmallVector<mlir::OpFoldResult>;
  using Values = llvm::SmallVector<mlir::Value>;
  using Body = llvm::function_ref<Values(mlir::ValueRange ivs, mlir::ValueRange carried)>;

  mlir::LogicalResult emit(mlir::Operation *op);
  mlir::LogicalResult emitFor(mlir::scf::ForOp loop);
  mlir::LogicalResult emitIf(mlir::scf::IfOp op);
  void emitLinalg(mlir::linalg::LinalgOp op);
  /// One result after the other, each reduced by the whole team.
  void reduceTogether(mlir::linalg::LinalgOp op, const Sizes &sizes, llvm::ArrayRef<mlir::Operation *> combiners);
  /// The same, but a warp has a result for itself.
  void reduceByWarps(mlir::linalg::LinalgOp op, const Sizes &sizes, llvm::ArrayRef<mlir::Operation *> combiners);
  /// The result at `ivs`, by the team.
  void reduceOne(mlir::linalg::LinalgOp op, const Sizes &sizes, llvm::ArrayRef<mlir::Operation *> combiners,
                 Values &ivs);
  /// The result at `ivs`, by this thread, from `state` on.
  Values reduceAlone(mlir::linalg::LinalgOp op, const Sizes &sizes, Values &ivs, Values state);
  void emitDivided(mlir::scf::ForOp loop, const IndependentLoop &known);

  /// All chunks of a thread. `state` is what reductions have so far, empty where there are none.
  Values overChunks(mlir::linalg::LinalgOp op, const Chunks &chunks, Values state);
  /// Chunk `number`, the thread's in `round`; `loaded` gets the elements that are kept.
  Values overChunk(mlir::linalg::LinalgOp op, const Chunks &chunks, mlir::Value number, int64_t round, Values state,
                   llvm::SmallVectorImpl<Values *> &loaded);
  Values loadChunk(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, const Chunks &chunks, mlir::ValueRange ivs,
                   const Values &along);
  void storeChunk(mlir::linalg::LinalgOp op, mlir::OpOperand &init, const Chunks &chunks, mlir::ValueRange ivs,
                  const Values &along, const Values &elements);
  bool isInRegisters(mlir::Value memref) const;

  /// The body of `op` at `ivs`, where its destinations hold `outs` (null ones are not read).
  Values payload(mlir::linalg::LinalgOp op, mlir::ValueRange ivs, mlir::ValueRange outs);
  Values payload(mlir::linalg::LinalgOp op, mlir::ValueRange ivs, mlir::ValueRange ins, mlir::ValueRange outs);
  Values indices(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, mlir::ValueRange ivs);
  mlir::Value load(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, mlir::ValueRange ivs);
  /// What the destinations hold at `ivs`; null where the body does not read it.
  Values oldValues(mlir::linalg::LinalgOp op, mlir::ValueRange ivs);
  void storeResults(mlir::linalg::LinalgOp op, mlir::ValueRange values, mlir::ValueRange ivs, bool byOne);
  void store(mlir::Location loc, mlir::Value value, mlir::Value buffer, mlir::ValueRange at, bool byOne);

  Values forLoop(mlir::Location loc, mlir::Value begin, mlir::Value end, mlir::Value step, mlir::ValueRange inits,
                 llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  /// Nested loops over `which` of `sizes`, which set these of `ivs`.
  Values nest(mlir::Location loc, const Sizes &sizes, llvm::ArrayRef<unsigned> which, Values &ivs, Values carried,
              llvm::function_ref<Values(mlir::ValueRange)> body);
  /// The same, but one loop over all of them, whose iterations the threads share.
  Values divide(mlir::Location loc, const Sizes &sizes, llvm::ArrayRef<unsigned> which, Values &ivs, Values carried,
                llvm::function_ref<Values(mlir::ValueRange)> body);

  Sizes loopSizes(mlir::linalg::LinalgOp op);
  /// Elements kept of a buffer that is written, but those at `places`, which the same thread writes again.
  void forget(mlir::Value memref, llvm::StringRef places);
  void touch(mlir::Location loc, llvm::ArrayRef<Access> accesses);
  mlir::Value index(mlir::Location loc, mlir::OpFoldResult value);

  mlir::OpBuilder &b;
  mlir::IRMapping &mapping;
  Team team;
  llvm::ArrayRef<mlir::Operation *> registers;
  Hazards hazards;

  /// The elements of a buffer that this thread has in registers, round by round.
  struct Kept {
    mlir::Value memref;
    llvm::SmallVector<Values> rounds;
  };
  std::map<std::string, Kept> kept; // by places
};

/// Whether every thread keeps the buffer `memref` for itself: one of a single element, made in the kernel.
bool isReplicated(mlir::Value memref);

/// How many threads have something to do in a row, as far as sizes are known.
int64_t widthOf(mlir::Block &row);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GPU_ROWEMITTER_H
