// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "dialects/tp/TP.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Utils/MemRefUtils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

namespace caat {
#define GEN_PASS_DEF_RTNORMALIZEBUFFERSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The largest buffer that a kernel keeps on its stack, in bytes.
static constexpr int64_t kMaxStackBytes = 32 * 1024;

static SmallVector<Value> dynamicSizes(OpBuilder &b, Location loc, Value memref) {
  SmallVector<Value> sizes;
  auto type = cast<MemRefType>(memref.getType());
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      sizes.push_back(memref::DimOp::create(b, loc, memref, d));
  return sizes;
}

/// A size of a collapsed buffer as the product of the sizes that it is made of, so that it follows from the dims.
static void lookThroughCollapse(memref::DimOp op) {
  auto collapse = op.getSource().getDefiningOp<memref::CollapseShapeOp>();
  std::optional<int64_t> index = op.getConstantIndex();
  if (!collapse || !index)
    return;
  OpBuilder b(op);
  Value size = arith::ConstantIndexOp::create(b, op.getLoc(), 1);
  const SmallVector<ReassociationIndices> groups = collapse.getReassociationIndices();
  for (int64_t dim : groups[*index]) {
    int64_t known = collapse.getSrcType().getDimSize(dim);
    Value part = ShapedType::isDynamic(known)
                     ? memref::DimOp::create(b, op.getLoc(), collapse.getSrc(), dim).getResult()
                     : arith::ConstantIndexOp::create(b, op.getLoc(), known).getResult();
    size = arith::MulIOp::create(b, op.getLoc(), size, part);
    if (auto inner = part.getDefiningOp<memref::DimOp>())
      lookThroughCollapse(inner);
  }
  op.replaceAllUsesWith(size);
  op.erase();
}

/// Gives `op` a dense temporary instead of a strided buffer; copies go in and, where the op writes it, back.
static void makeDense(OpOperand &operand, bool reads, bool writes) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type || rt::isDense(type))
    return;
  Operation *op = operand.getOwner();
  OpBuilder b(op);
  Value strided = operand.get();
  Value dense = memref::AllocOp::create(b, op->getLoc(), MemRefType::get(type.getShape(), type.getElementType()),
                                        dynamicSizes(b, op->getLoc(), strided));
  if (reads)
    memref::CopyOp::create(b, op->getLoc(), strided, dense);
  operand.set(dense);
  b.setInsertionPointAfter(op);
  if (writes)
    memref::CopyOp::create(b, op->getLoc(), dense, strided);
}

static void makeOperandsDense(Operation *op) {
  if (auto linear = dyn_cast<rt::LinearOp>(op)) {
    makeDense(linear.getXMutable(), /*reads=*/true, /*writes=*/false);
    for (OpOperand &bias : linear.getBiasMutable())
      makeDense(bias, /*reads=*/true, /*writes=*/false);
    makeDense(linear.getInitMutable(), linear.getAccumulate(), /*writes=*/true);
  } else if (auto attention = dyn_cast<rt::AttentionOp>(op)) {
    // Any strides, but the elements of a head lie side by side.
    for (OpOperand &operand : op->getOpOperands()) {
      auto type = dyn_cast<MemRefType>(operand.get().getType());
      bool isHead = operand.get() != attention.getMask();
      if (type && isHead && !type.areTrailingDimsContiguous(1))
        makeDense(operand, /*reads=*/!attention.isDpsInit(&operand), attention.isDpsInit(&operand));
    }
  } else if (auto site = dyn_cast<rt::SyncPointOp>(op)) {
    for (OpOperand &operand : op->getOpOperands())
      makeDense(operand, /*reads=*/true, site.isDpsInit(&operand));
  } else if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op)) {
    for (OpOperand &operand : op->getOpOperands()) {
      bool isOut = operand.get() == collective.getDestination();
      makeDense(operand, !isOut, isOut || collective.worksInPlace());
    }
  }
}

static scf::ForallOp createKernel(OpBuilder &b, Location loc, OpFoldResult grid) {
  auto mapping = b.getArrayAttr({rt::RowsAttr::get(b.getContext())});
  return scf::ForallOp::create(b, loc, ArrayRef<OpFoldResult>{grid}, ValueRange(), mapping);
}

/// rt.copy between dense buffers; otherwise a kernel that copies one row of the last dimension at a time.
static void lowerCopy(memref::CopyOp copy) {
  OpBuilder b(copy);
  Location loc = copy.getLoc();
  Value source = copy.getSource(), target = copy.getTarget();
  auto type = cast<MemRefType>(source.getType());
  if (source != target && rt::isDense(type) && rt::isDense(cast<MemRefType>(target.getType()))) {
    rt::CopyOp::create(b, loc, source, target);
  } else if (source != target) {
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < type.getRank(); ++d)
      sizes.push_back(memref::DimOp::create(b, loc, target, d));
    Value grid = arith::ConstantIndexOp::create(b, loc, 1);
    for (Value size : ArrayRef(sizes).drop_back(sizes.empty() ? 0 : 1))
      grid = arith::MulIOp::create(b, loc, grid, size);
    scf::ForallOp kernel = createKernel(b, loc, grid);
    b.setInsertionPoint(kernel.getTerminator());
    SmallVector<Value> indices(sizes.size());
    Value row = kernel.getInductionVar(0);
    for (size_t d = sizes.size(); d-- > 1;) {
      if (d + 1 == sizes.size())
        continue;
      indices[d] = arith::RemUIOp::create(b, loc, row, sizes[d]);
      row = arith::DivUIOp::create(b, loc, row, sizes[d]);
    }
    if (sizes.size() > 1)
      indices[0] = row;
    auto element = [&](OpBuilder &b) {
      memref::StoreOp::create(b, loc, memref::LoadOp::create(b, loc, source, indices), target, indices);
    };
    if (sizes.empty()) {
      element(b);
    } else {
      Value zero = arith::ConstantIndexOp::create(b, loc, 0), one = arith::ConstantIndexOp::create(b, loc, 1);
      auto loop = scf::ForOp::create(b, loc, zero, sizes.back(), one);
      indices.back() = loop.getInductionVar();
      OpBuilder inside = OpBuilder::atBlockTerminator(loop.getBody());
      element(inside);
    }
  }
  copy.erase();
}

/// A linalg op that is in no kernel becomes one of a single row.
static void wrap(Operation *op) {
  OpBuilder b(op);
  scf::ForallOp kernel = createKernel(b, op->getLoc(), b.getIndexAttr(1));
  op->moveBefore(kernel.getTerminator());
}

/// Moves a large or dynamic row buffer out of its kernel: one row of bytes for each row of the grid.
static LogicalResult hoistRowBuffer(memref::AllocOp alloc, scf::ForallOp kernel) {
  OpBuilder b(kernel);
  Location loc = alloc.getLoc();
  SetVector<Operation *> slice;
  BackwardSliceOptions options;
  options.inclusive = true;
  options.filter = [&](Operation *op) { return kernel->isProperAncestor(op); };
  for (Value size : alloc.getDynamicSizes())
    (void)getBackwardSlice(size, &slice, options);
  auto varies = [&](Value v) {
    return isa<BlockArgument>(v) && kernel->isAncestor(v.getParentRegion()->getParentOp());
  };
  auto isFixed = [&](Operation *op) {
    return llvm::none_of(op->getOperands(), varies) && isMemoryEffectFree(op) && op->getNumRegions() == 0;
  };
  if (llvm::any_of(alloc.getDynamicSizes(), varies) || !llvm::all_of(slice, isFixed))
    return alloc.emitOpError("has a size that differs from row to row of a kernel");
  IRMapping mapping;
  for (Operation *op : slice)
    b.clone(*op, mapping);
  MemRefType type = alloc.getType();
  Value bytes = arith::ConstantIndexOp::create(b, loc, std::max<int64_t>(1, (type.getElementTypeBitWidth() + 7) / 8));
  for (int64_t size : type.getShape())
    if (!ShapedType::isDynamic(size))
      bytes = arith::MulIOp::create(b, loc, bytes, arith::ConstantIndexOp::create(b, loc, size));
  for (Value size : alloc.getDynamicSizes())
    bytes = arith::MulIOp::create(b, loc, bytes, mapping.lookupOrDefault(size));
  Value line = arith::ConstantIndexOp::create(b, loc, 64), rest = arith::ConstantIndexOp::create(b, loc, 63);
  bytes = arith::MulIOp::create(b, loc,
                                arith::DivUIOp::create(b, loc, arith::AddIOp::create(b, loc, bytes, rest), line), line);
  Value grid = kernel.getUpperBound(b).front();
  Value rows = memref::AllocOp::create(b, loc, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()),
                                       ValueRange{arith::MulIOp::create(b, loc, bytes, grid)});
  b.setInsertionPoint(alloc);
  Value offset = arith::MulIOp::create(b, loc, kernel.getInductionVar(0), bytes);
  Value view = memref::ViewOp::create(b, loc, type, rows, offset, alloc.getDynamicSizes());
  alloc.replaceAllUsesWith(view);
  alloc.erase();
  return success();
}

namespace {
struct NormalizeBuffersPass : caat::impl::RTNormalizeBuffersPassBase<NormalizeBuffersPass> {
  using RTNormalizeBuffersPassBase::RTNormalizeBuffersPassBase;

  void runOnOperation() override {
    SmallVector<Operation *> host;
    SmallVector<scf::ForallOp> kernels;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto kernel = dyn_cast<scf::ForallOp>(op)) {
        kernels.push_back(kernel);
        return WalkResult::skip();
      }
      host.push_back(op);
      return isa<linalg::LinalgOp>(op) ? WalkResult::skip() : WalkResult::advance();
    });
    llvm::for_each(host, makeOperandsDense);
    for (Operation *op : host)
      if (isa<linalg::LinalgOp>(op))
        wrap(op);
    SmallVector<memref::CopyOp> copies;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto copy = dyn_cast<memref::CopyOp>(op))
        copies.push_back(copy);
      return isa<scf::ForallOp>(op) ? WalkResult::skip() : WalkResult::advance();
    });
    llvm::for_each(copies, lowerCopy);
    SmallVector<memref::DimOp> dims;
    getOperation().walk([&](memref::DimOp op) { dims.push_back(op); });
    llvm::for_each(dims, lookThroughCollapse);

    // Inside of kernels: copies are loops, small buffers go on the stack, others out.
    for (scf::ForallOp kernel : kernels) {
      SmallVector<memref::AllocOp> allocs;
      SmallVector<memref::CopyOp> inner;
      kernel.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
      kernel.walk([&](memref::CopyOp copy) { inner.push_back(copy); });
      for (memref::CopyOp copy : inner) {
        OpBuilder b(copy);
        if (copy.getSource() != copy.getTarget())
          linalg::CopyOp::create(b, copy.getLoc(), copy.getSource(), copy.getTarget());
        copy.erase();
      }
      int64_t left = rowBytes;
      for (memref::AllocOp alloc : allocs) {
        MemRefType type = alloc.getType();
        int64_t bytes = type.hasStaticShape() ? type.getNumElements() * type.getElementTypeBitWidth() / 8 : 0;
        if (type.hasStaticShape() && bytes <= kMaxStackBytes && bytes <= left) {
          left -= llvm::alignTo(bytes, 64);
          OpBuilder b = OpBuilder::atBlockBegin(kernel.getBody());
          Value local = memref::AllocaOp::create(b, alloc.getLoc(), type, b.getI64IntegerAttr(64));
          alloc.replaceAllUsesWith(local);
          alloc.erase();
        } else if (failed(hoistRowBuffer(alloc, kernel))) {
          return signalPassFailure();
        }
      }
    }
  }
};
} // namespace
