// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace caat {
#define GEN_PASS_DEF_RTCHAINKERNELSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// A team is as large as the widest row needs: narrower ones leave threads without work.
static constexpr int64_t kMostWider = 8;
/// What the row buffers of a chain may have, in bytes: they lie in a block's shared memory.
static constexpr int64_t kMostRowBytes = 32 * 1024;

namespace {

struct Touch {
  Value view, root;
  bool isWrite;
  SmallVector<Value> indices = {}; // of a single element
};

/// What a kernel touches outside of its row buffers, and how large these are. Nothing where it does more than that.
struct Kernel {
  scf::ForallOp forall;
  SmallVector<Touch> touches;
  int64_t rowBytes = 0, width = 1;

  static std::optional<Kernel> of(scf::ForallOp forall) {
    if (forall.getRank() != 1 || !forall.isNormalized() || forall->getNumResults())
      return std::nullopt;
    Kernel kernel{forall, {}};
    kernel.width = widthOf(*forall.getBody());
    auto touch = [&](Value view, bool isWrite, ValueRange indices = {}) {
      Value root = rootOf(view);
      if (!root.getDefiningOp<memref::AllocaOp>())
        kernel.touches.push_back({view, root, isWrite, SmallVector<Value>(indices)});
    };
    WalkResult known = forall.getBody()->walk([&](Operation *op) {
      if (auto load = dyn_cast<memref::LoadOp>(op)) {
        touch(load.getMemRef(), false, load.getIndices());
      } else if (auto store = dyn_cast<memref::StoreOp>(op)) {
        touch(store.getMemRef(), true, store.getIndices());
      } else if (auto linalg = dyn_cast<linalg::LinalgOp>(op)) {
        for (OpOperand &operand : op->getOpOperands())
          if (isa<MemRefType>(operand.get().getType()))
            touch(operand.get(), linalg.isDpsInit(&operand));
      } else if (auto alloca = dyn_cast<memref::AllocaOp>(op)) {
        MemRefType type = alloca.getType();
        if (!type.hasStaticShape())
          return WalkResult::interrupt();
        kernel.rowBytes += type.getNumElements() * llvm::divideCeil(type.getElementTypeBitWidth(), 8);
      } else if (!isMemoryEffectFree(op) && !op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() &&
                 !op->hasTrait<OpTrait::IsTerminator>()) {
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    return known.wasInterrupted() ? std::nullopt : std::optional(kernel);
  }
};

/// buffer[leading..., ]: what lies behind some indices, or a part of that.
struct Part {
  Value buffer;
  SmallVector<OpFoldResult> leading;
  bool isWhole = false;

  static Part of(const Touch &touch) {
    auto view = touch.view.getDefiningOp<memref::SubViewOp>();
    if (!view)
      return {touch.view, getAsOpFoldResult(touch.indices), false};
    Part part{view.getSource(), {}, true};
    ArrayRef<int64_t> all = view.getSourceType().getShape(), sizes = view.getStaticSizes();
    for (auto [dim, offset] : llvm::enumerate(view.getMixedOffsets())) {
      if (sizes[dim] == 1 && part.leading.size() == dim)
        part.leading.push_back(offset);
      else
        part.isWhole &= isConstantIntValue(offset, 0) && !ShapedType::isDynamic(all[dim]) && sizes[dim] == all[dim];
    }
    return part;
  }
};

/// Whether what stands in two kernels is the same for the same row.
class SameRow {
public:
  SameRow(scf::ForallOp a, scf::ForallOp b) : a(a), b(b) {}

  bool operator()(Value x, Value y) const {
    if (x == a.getInductionVar(0) || y == b.getInductionVar(0))
      return x == a.getInductionVar(0) && y == b.getInductionVar(0);
    if (x == y)
      return true;
    Operation *p = x.getDefiningOp(), *q = y.getDefiningOp();
    if (!p || !q || cast<OpResult>(x).getResultNumber() != cast<OpResult>(y).getResultNumber() || p->getNumRegions() ||
        !isMemoryEffectFree(p))
      return false;
    return OperationEquivalence::isEquivalentTo(
        p, q, [&](Value u, Value v) { return success((*this)(u, v)); }, /*markEquivalent=*/nullptr,
        OperationEquivalence::IgnoreLocations);
  }

  bool operator()(OpFoldResult x, OpFoldResult y) const {
    if (isa<Value>(x) && isa<Value>(y))
      return (*this)(cast<Value>(x), cast<Value>(y));
    return getConstantIntValue(x) && getConstantIntValue(x) == getConstantIntValue(y);
  }

  /// Whether what one kernel writes of a buffer, which no other row writes, holds what the other touches of it.
  bool isInside(const Part &ofA, const Part &ofB, bool aWrites) const {
    const Part &written = aWrites ? ofA : ofB, &other = aWrites ? ofB : ofA;
    if (!written.isWhole || written.buffer != other.buffer || written.leading.size() > other.leading.size())
      return false;
    bool depends = false;
    for (auto [x, y, _] : llvm::zip(ofA.leading, ofB.leading, written.leading)) {
      if (!(*this)(x, y))
        return false;
      depends |= isa<Value>(x) && dependsOnRow(cast<Value>(x));
    }
    return depends;
  }

  /// Whether it differs from row to row.
  bool dependsOnRow(Value x) const {
    if (x == a.getInductionVar(0))
      return true;
    Operation *op = x.getDefiningOp();
    return op && a->isProperAncestor(op) && llvm::any_of(op->getOperands(), [&](Value v) { return dependsOnRow(v); });
  }

private:
  mutable scf::ForallOp a, b;
};

bool isSameBuffer(Value a, Value b) {
  auto x = a.getDefiningOp<rt::BufferOp>(), y = b.getDefiningOp<rt::BufferOp>();
  return a == b || (x && y && x.getPosition() == y.getPosition());
}

/// Whether row i of `b` may run behind row i of `a`, before other rows of `a`: what one writes and the other touches is
/// the same part of the same buffer, which no other row has, since rows write what is theirs alone.
bool canFollow(const Kernel &a, const Kernel &b) {
  SameRow same(a.forall, b.forall);
  OpFoldResult m = scf::ForallOp(a.forall).getMixedUpperBound()[0], n = scf::ForallOp(b.forall).getMixedUpperBound()[0];
  if (m != n && (!isa<Value>(m) || !isa<Value>(n) || !same(cast<Value>(m), cast<Value>(n))))
    return false;
  if (a.rowBytes + b.rowBytes > kMostRowBytes || a.width > kMostWider * b.width || b.width > kMostWider * a.width)
    return false;
  bool meet = false;
  for (const Touch &x : a.touches)
    for (const Touch &y : b.touches)
      if ((x.isWrite || y.isWrite) && isSameBuffer(x.root, y.root)) {
        meet = true;
        bool isOfRow = same(x.view, y.view) && same.dependsOnRow(x.view);
        for (bool aWrites : {true, false})
          isOfRow |= (aWrites ? x : y).isWrite && same.isInside(Part::of(x), Part::of(y), aWrites);
        if (!isOfRow)
          return false;
      }
  return meet; // others are rt-merge-kernels' affair, whose rows run side by side
}

/// Row after row the one and then the other, in place of the second.
scf::ForallOp chain(scf::ForallOp first, scf::ForallOp second) {
  OpBuilder b(second);
  auto both = scf::ForallOp::create(b, second.getLoc(), second.getMixedUpperBound(), ValueRange(), second.getMapping());
  b.setInsertionPoint(both.getTerminator());
  for (scf::ForallOp kernel : {first, second}) {
    IRMapping mapping;
    mapping.map(kernel.getInductionVar(0), both.getInductionVar(0));
    for (Operation &op : kernel.getBody()->without_terminator())
      b.clone(op, mapping);
    kernel.erase();
  }
  remark::passed(both.getLoc(), remark::RemarkOpts::name("chain-kernels").category("caat"))
      << "a kernel goes on with the rows of the one before it";
  return both;
}

struct ChainKernelsPass : caat::impl::RTChainKernelsPassBase<ChainKernelsPass> {
  static void visit(Block &block) {
    std::optional<Kernel> last;
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (auto forall = dyn_cast<scf::ForallOp>(op)) {
        std::optional<Kernel> next = Kernel::of(forall);
        if (last && next && canFollow(*last, *next))
          next = Kernel::of(chain(last->forall, forall));
        last = std::move(next);
        continue;
      }
      // What is computed or allocated in between does not mind where the kernels run.
      if (!isa<memref::AllocOp>(op) && (!isMemoryEffectFree(&op) || op.getNumRegions())) {
        last = std::nullopt;
        for (Region &region : op.getRegions())
          if (!isa<linalg::LinalgOp>(op))
            llvm::for_each(region, visit);
      }
    }
  }

  void runOnOperation() override { llvm::for_each(getOperation().getBody(), visit); }
};

} // namespace
