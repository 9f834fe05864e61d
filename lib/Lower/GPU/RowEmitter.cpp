// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

bool isReplicated(Value memref) {
  auto alloca = rootOf(memref).getDefiningOp<memref::AllocaOp>();
  return alloca && alloca.getType().hasStaticShape() && alloca.getType().getNumElements() == 1;
}

int64_t widthOf(Block &row) {
  int64_t width = 1;
  for (Operation &op : row) {
    int64_t own = 1;
    if (auto linalg = dyn_cast<LinalgOp>(&op)) {
      bool together = isReducedTogether(linalg);
      own = extent(linalg.getStaticLoopRanges(),
                   loopsOf(linalg, together ? utils::IteratorType::reduction : utils::IteratorType::parallel),
                   kUnknownLength);
    } else if (auto loop = dyn_cast<scf::ForOp>(&op); loop && findIndependentLoop(loop)) {
      std::optional<int64_t> end = getConstantIntValue(loop.getUpperBound());
      std::optional<int64_t> begin = getConstantIntValue(loop.getLowerBound());
      std::optional<int64_t> step = getConstantIntValue(loop.getStep());
      own = begin && end && step && *step > 0 ? (*end - *begin) / *step : kUnknownLength;
    } else {
      for (Region &region : op.getRegions())
        for (Block &block : region)
          own = std::max(own, widthOf(block));
    }
    width = std::max(width, own);
  }
  return width;
}

Value RowEmitter::index(Location loc, OpFoldResult value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return arith::ConstantIndexOp::create(b, loc, *constant);
  return cast<Value>(value);
}

void RowEmitter::touch(Location loc, ArrayRef<Access> accesses) {
  if (team.size == 1)
    return;
  SmallVector<Access> shared;
  for (const Access &access : accesses)
    if (!isReplicated(access.memref) && !isInRegisters(access.memref))
      shared.push_back(access);
  if (hazards.conflicts(shared)) {
    team.barrier(b, loc);
    hazards.clear();
  }
  hazards.add(shared);
  // What others write is to be loaded again.
  for (const Access &access : shared)
    if (access.isWrite)
      forget(access.memref, access.places);
}

void RowEmitter::forget(Value memref, StringRef places) {
  for (auto it = kept.begin(); it != kept.end();)
    it = it->first != places && rootOf(it->second.memref) == rootOf(memref) ? kept.erase(it) : std::next(it);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

SmallVector<Value> RowEmitter::forLoop(Location loc, Value begin, Value end, Value step, ValueRange inits,
                                       llvm::function_ref<Values(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(b, loc, begin, end, step, inits);
  OpBuilder::InsertionGuard guard(b);
  if (inits.empty()) {
    b.setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar(), {});
  } else {
    b.setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(b, loc, body(loop.getInductionVar(), loop.getRegionIterArgs()));
  }
  return Values(loop.getResults());
}

SmallVector<Value> RowEmitter::nest(Location loc, const Sizes &sizes, ArrayRef<unsigned> which, Values &ivs,
                                    Values carried, llvm::function_ref<Values(ValueRange)> body) {
  if (which.empty())
    return body(carried);
  OpFoldResult size = sizes[which.front()];
  Value zero = index(loc, b.getIndexAttr(0)), one = index(loc, b.getIndexAttr(1));
  if (isConstantIntValue(size, 1)) {
    ivs[which.front()] = zero;
    return nest(loc, sizes, which.drop_front(), ivs, carried, body);
  }
  return forLoop(loc, zero, index(loc, size), one, carried, [&](Value iv, ValueRange state) {
    ivs[which.front()] = iv;
    return nest(loc, sizes, which.drop_front(), ivs, Values(state), body);
  });
}

SmallVector<Value> RowEmitter::divide(Location loc, const Sizes &sizes, ArrayRef<unsigned> which, Values &ivs,
                                      Values carried, llvm::function_ref<Values(ValueRange)> body) {
  if (team.size == 1)
    return nest(loc, sizes, which, ivs, carried, body);
  Value zero = index(loc, b.getIndexAttr(0));
  SmallVector<unsigned> long_;
  for (unsigned d : which) {
    ivs[d] = zero;
    if (!isConstantIntValue(sizes[d], 1))
      long_.push_back(d);
  }
  if (long_.empty())
    return body(carried);
  Value total = index(loc, sizes[long_.front()]);
  for (unsigned d : ArrayRef(long_).drop_front())
    total = b.createOrFold<arith::MulIOp>(loc, total, index(loc, sizes[d]));
  return forLoop(loc, team.lane, total, index(loc, b.getIndexAttr(team.size)), carried,
                 [&](Value iv, ValueRange state) {
                   for (size_t i = long_.size(); i-- > 1;) {
                     Value size = index(loc, sizes[long_[i]]);
                     ivs[long_[i]] = arith::RemUIOp::create(b, loc, iv, size);
                     iv = arith::DivUIOp::create(b, loc, iv, size);
                   }
                   ivs[long_.front()] = iv;
                   return body(state);
                 });
}

//===----------------------------------------------------------------------===//
// Structured control flow
//===----------------------------------------------------------------------===//

/// What all threads, or any of them, touch in a region.
static void accessesOf(Operation *op, SmallVectorImpl<Access> &accesses) {
  op->walk([&](Operation *inner) {
    if (auto load = dyn_cast<memref::LoadOp>(inner))
      accesses.push_back({load.getMemRef(), false, ""});
    if (auto store = dyn_cast<memref::StoreOp>(inner))
      accesses.push_back({store.getMemRef(), true, ""});
    if (auto linalg = dyn_cast<LinalgOp>(inner))
      for (OpOperand &operand : linalg->getOpOperands())
        if (isa<MemRefType>(operand.get().getType()))
          accesses.push_back({operand.get(), linalg.isDpsInit(&operand), ""});
  });
  llvm::erase_if(accesses, [](const Access &access) { return isReplicated(access.memref); });
}

void RowEmitter::emitDivided(scf::ForOp loop, const IndependentLoop &known) {
  Location loc = loop.getLoc();
  touch(loc, known.accesses);
  auto mapped = [&](Value value) { return mapping.lookupOrDefault(value); };
  Value begin = mapped(loop.getLowerBound()), step = mapped(loop.getStep());
  Value mine = b.createOrFold<arith::AddIOp>(loc, begin, b.createOrFold<arith::MulIOp>(loc, team.lane, step));
  Value stride = b.createOrFold<arith::MulIOp>(loc, step, index(loc, b.getIndexAttr(team.size)));
  Values inits;
  for (Operation *combiner : known.combiners)
    inits.push_back(neutral(b, loc, combiner));
  Values results = forLoop(loc, mine, mapped(loop.getUpperBound()), stride, inits, [&](Value iv, ValueRange state) {
    IRMapping inside(mapping);
    inside.map(loop.getInductionVar(), iv);
    inside.map(loop.getRegionIterArgs(), state);
    for (Operation &op : loop.getBody()->without_terminator())
      b.clone(op, inside);
    return llvm::map_to_vector(loop.getYieldedValues(), [&](Value v) { return inside.lookupOrDefault(v); });
  });
  if (results.empty())
    return;
  results = team.reduce(b, loc, results, known.combiners);
  if (team.isBlock())
    hazards.clear();
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs()))
    mapping.map(loop.getResult(i), combine(b, loc, known.combiners[i], mapped(init), results[i]));
}

LogicalResult RowEmitter::emitFor(scf::ForOp loop) {
  if (team.size > 1)
    if (std::optional<IndependentLoop> known = findIndependentLoop(loop))
      return emitDivided(loop, *known), success();
  // An iteration comes after any other one, and so does what follows.
  SmallVector<Access> touched;
  accessesOf(loop, touched);
  hazards.add(touched);
  kept.clear();
  auto mapped = [&](Value value) { return mapping.lookupOrDefault(value); };
  LogicalResult result = success();
  Values results =
      forLoop(loop.getLoc(), mapped(loop.getLowerBound()), mapped(loop.getUpperBound()), mapped(loop.getStep()),
              llvm::map_to_vector(loop.getInitArgs(), mapped), [&](Value iv, ValueRange state) {
                mapping.map(loop.getInductionVar(), iv);
                mapping.map(loop.getRegionIterArgs(), state);
                unsigned before = team.reductions;
                result = emit(*loop.getBody());
                if (team.isBlock() && team.reductions != before)
                  team.barrier(b, loop.getLoc()); // before scratch memory is used again
                return llvm::map_to_vector(loop.getYieldedValues(), mapped);
              });
  mapping.map(loop.getResults(), results);
  hazards.add(touched);
  kept.clear();
  return result;
}

LogicalResult RowEmitter::emitIf(scf::IfOp op) {
  auto mapped = [&](Value value) { return mapping.lookupOrDefault(value); };
  bool hasElse = !op.getElseRegion().empty();
  auto copy = scf::IfOp::create(b, op.getLoc(), op.getResultTypes(), mapped(op.getCondition()), hasElse);
  Hazards before = hazards;
  Hazards after;
  kept.clear();
  for (auto [from, to] : llvm::zip_equal(op->getRegions(), copy->getRegions())) {
    hazards = before;
    if (!from.empty()) {
      OpBuilder::InsertionGuard guard(b);
      Block &block = to.front();
      if (!block.empty() && block.back().hasTrait<OpTrait::IsTerminator>())
        block.back().erase();
      b.setInsertionPointToEnd(&block);
      if (failed(emit(from.front())))
        return failure();
      scf::YieldOp::create(b, op.getLoc(), llvm::map_to_vector(from.front().getTerminator()->getOperands(), mapped));
    }
    after.merge(hazards);
    kept.clear();
  }
  hazards = after;
  mapping.map(op.getResults(), copy.getResults());
  return success();
}

LogicalResult RowEmitter::emit(Operation *op) {
  Location loc = op->getLoc();
  if (auto linalg = dyn_cast<LinalgOp>(op))
    return emitLinalg(linalg), success();
  if (auto loop = dyn_cast<scf::ForOp>(op))
    return emitFor(loop);
  if (auto branch = dyn_cast<scf::IfOp>(op))
    return emitIf(branch);
  if (auto load = dyn_cast<memref::LoadOp>(op)) {
    touch(loc, Access{load.getMemRef(), false, ""});
    b.clone(*op, mapping);
    return success();
  }
  if (auto store = dyn_cast<memref::StoreOp>(op)) {
    touch(loc, Access{store.getMemRef(), true, kFirst.str()});
    Values at;
    for (Value index : store.getIndices())
      at.push_back(mapping.lookupOrDefault(index));
    this->store(loc, mapping.lookupOrDefault(store.getValueToStore()), store.getMemRef(), at, /*byOne=*/true);
    return success();
  }
  if (!isMemoryEffectFree(op) || op->getNumRegions())
    return op->emitError("a kernel holds '") << op->getName() << "', which cannot run on a GPU";
  b.clone(*op, mapping);
  return success();
}

LogicalResult RowEmitter::emit(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(emit(&op)))
      return failure();
  return success();
}

} // namespace caat::lower
