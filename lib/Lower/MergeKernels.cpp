// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTMERGEKERNELSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// The most kernels that become one.
static constexpr size_t kMost = 4;
/// A team is as large as the widest row needs: narrower ones leave threads without work.
static constexpr int64_t kMostWider = 8;

namespace {

/// A kernel that only maps elements, and what it touches.
struct Candidate {
  scf::ForallOp kernel;
  int64_t width;
  SmallVector<Value> reads, writes; // roots
};

bool isSame(Value a, Value b) {
  auto x = a.getDefiningOp<rt::BufferOp>(), y = b.getDefiningOp<rt::BufferOp>();
  return a == b || (x && y && x.getPosition() == y.getPosition());
}

bool meet(ArrayRef<Value> a, ArrayRef<Value> b) {
  return llvm::any_of(a, [&](Value x) { return llvm::any_of(b, [&](Value y) { return isSame(x, y); }); });
}

/// Nothing for a kernel with row buffers, loops or reductions, whose threads wait for each other.
std::optional<Candidate> asCandidate(scf::ForallOp kernel) {
  if (kernel.getRank() != 1 || !kernel.isNormalized() || kernel->getNumResults())
    return std::nullopt;
  Candidate result{kernel, widthOf(*kernel.getBody()), {}, {}};
  for (Operation &op : kernel.getBody()->without_terminator()) {
    if (auto load = dyn_cast<memref::LoadOp>(op)) {
      result.reads.push_back(rootOf(load.getMemRef()));
    } else if (auto linalg = dyn_cast<linalg::LinalgOp>(op)) {
      if (linalg.getNumReductionLoops())
        return std::nullopt;
      for (OpOperand &operand : op.getOpOperands())
        if (isa<MemRefType>(operand.get().getType()))
          (linalg.isDpsInit(&operand) ? result.writes : result.reads).push_back(rootOf(operand.get()));
      linalg.getBlock()->walk([&](memref::LoadOp load) { result.reads.push_back(rootOf(load.getMemRef())); });
    } else if (!isMemoryEffectFree(&op) || op.getNumRegions()) {
      return std::nullopt;
    }
  }
  return result;
}

bool fits(const Candidate &next, ArrayRef<Candidate> group) {
  if (group.size() >= kMost)
    return false;
  return llvm::all_of(group, [&](const Candidate &other) {
    return other.width <= kMostWider * next.width && next.width <= kMostWider * other.width &&
           !meet(other.writes, next.writes) && !meet(other.writes, next.reads) && !meet(other.reads, next.writes);
  });
}

/// Rows of the first kernel, then those of the second, …: one kernel in place of the last.
void merge(ArrayRef<Candidate> group) {
  if (group.size() < 2)
    return;
  scf::ForallOp last = group.back().kernel;
  OpBuilder b(last);
  Location loc = last.getLoc();
  SmallVector<Value> counts;
  for (const Candidate &candidate : group)
    counts.push_back(getValueOrCreateConstantIndexOp(b, loc, scf::ForallOp(candidate.kernel).getMixedUpperBound()[0]));
  Value total = counts.front();
  for (Value count : ArrayRef(counts).drop_front())
    total = arith::AddIOp::create(b, loc, total, count);
  auto merged = scf::ForallOp::create(b, loc, ArrayRef<OpFoldResult>{total}, ValueRange(), last.getMapping());
  b.setInsertionPoint(merged.getTerminator());
  Value row = merged.getInductionVar(0);
  for (auto [candidate, count] : llvm::zip_equal(group, counts)) {
    scf::ForallOp kernel = candidate.kernel;
    scf::IfOp branch;
    if (kernel != last) {
      Value isOwn = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, row, count);
      branch = scf::IfOp::create(b, loc, isOwn, /*withElseRegion=*/true);
      b.setInsertionPointToStart(branch.thenBlock());
    }
    IRMapping mapping;
    mapping.map(kernel.getInductionVar(0), row);
    for (Operation &op : kernel.getBody()->without_terminator())
      b.clone(op, mapping);
    if (branch) {
      b.setInsertionPointToStart(branch.elseBlock());
      row = arith::SubIOp::create(b, loc, row, count);
    }
  }
  remark::passed(loc, remark::RemarkOpts::name("merge-kernels").category("caat"))
      << (std::to_string(group.size()) + " kernels in one launch");
  for (const Candidate &candidate : group)
    scf::ForallOp(candidate.kernel).erase();
}

struct MergeKernelsPass : caat::impl::RTMergeKernelsPassBase<MergeKernelsPass> {
  static void visit(Block &block) {
    SmallVector<Candidate> group;
    auto flush = [&] {
      merge(group);
      group.clear();
    };
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (auto kernel = dyn_cast<scf::ForallOp>(op)) {
        std::optional<Candidate> candidate = asCandidate(kernel);
        if (!candidate || !fits(*candidate, group))
          flush();
        if (candidate)
          group.push_back(std::move(*candidate));
        continue;
      }
      // What is computed or allocated in between does not mind where the kernels run.
      if (!isa<memref::AllocOp>(op) && (!isMemoryEffectFree(&op) || op.getNumRegions())) {
        flush();
        for (Region &region : op.getRegions())
          if (!isa<linalg::LinalgOp>(op))
            llvm::for_each(region, visit);
      }
    }
    flush();
  }

  void runOnOperation() override { llvm::for_each(getOperation().getBody(), visit); }
};

} // namespace
