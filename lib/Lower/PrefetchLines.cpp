// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace caat {
#define GEN_PASS_DEF_RTPREFETCHLINESPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;

/// Bytes of a line in a cache.
static constexpr int64_t kCacheLine = 64;

/// Bytes of the line that `read` reads in each turn of `loop`, the next one of a buffer; 0 where it does something
/// else. What the kernel has allotted itself is small, and in the cache.
static int64_t bytesOfNextLine(vector::TransferReadOp read, scf::ForOp loop) {
  auto type = dyn_cast<MemRefType>(read.getBase().getType());
  if (!type || type.getRank() < 2 || read.getVectorType().getRank() != 1 || getConstantIntValue(loop.getStep()) != 1 ||
      !read.getPermutationMap().isMinorIdentity() || !type.isLastDimUnitStride())
    return 0;
  Value row = read.getIndices()[type.getRank() - 2], buffer = read.getBase();
  if (row != loop.getInductionVar() || read.getIndices().back() == row)
    return 0;
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  if (buffer.getDefiningOp())
    return 0;
  return read.getVectorType().getNumElements() * type.getElementTypeBitWidth() / 8;
}

/// The line that is read `bytes` later. Behind the end of the buffer nothing happens.
static void prefetch(vector::TransferReadOp read, scf::ForOp loop, int64_t line, int64_t bytes) {
  OpBuilder b(read);
  Location loc = read.getLoc();
  int64_t element = cast<MemRefType>(read.getBase().getType()).getElementTypeBitWidth() / 8;
  SmallVector<Value> at(read.getIndices());
  Value &row = at[at.size() - 2], first = at.back();
  row = arith::AddIOp::create(b, loc, row, arith::ConstantIndexOp::create(b, loc, llvm::divideCeil(bytes, line)));
  for (int64_t offset = 0; offset < line; offset += kCacheLine) {
    at.back() = arith::AddIOp::create(b, loc, first, arith::ConstantIndexOp::create(b, loc, offset / element));
    memref::PrefetchOp::create(b, loc, read.getBase(), at, /*isWrite=*/false, /*localityHint=*/3, /*isDataCache=*/true);
  }
}

namespace {
struct PrefetchLinesPass : caat::impl::RTPrefetchLinesPassBase<PrefetchLinesPass> {
  using Base::Base;

  void runOnOperation() override {
    getOperation().walk([&](scf::ForOp loop) {
      for (auto read : llvm::make_early_inc_range(loop.getBody()->getOps<vector::TransferReadOp>()))
        if (int64_t line = bytesOfNextLine(read, loop); line >= kCacheLine)
          prefetch(read, loop, line, distance);
    });
  }
};
} // namespace
