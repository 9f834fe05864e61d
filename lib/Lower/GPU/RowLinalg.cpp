// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linalg ops of a row: who runs which iterations, and who finishes which reductions.
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

RowEmitter::Sizes RowEmitter::loopSizes(LinalgOp op) {
  SmallVector<int64_t> known = op.getStaticLoopRanges();
  Sizes sizes(known.size());
  for (auto [d, size] : llvm::enumerate(sizes))
    if (!ShapedType::isDynamic(known[d]))
      size = b.getIndexAttr(known[d]);
  for (OpOperand &operand : op->getOpOperands())
    for (auto [dim, expr] : llvm::enumerate(op.getMatchingIndexingMap(&operand).getResults()))
      if (auto loop = dyn_cast<AffineDimExpr>(expr); loop && sizes[loop.getPosition()].isNull())
        sizes[loop.getPosition()] =
            memref::DimOp::create(b, op.getLoc(), mapping.lookupOrDefault(operand.get()), dim).getResult();
  return sizes;
}

SmallVector<Value> RowEmitter::indices(LinalgOp op, OpOperand &operand, ValueRange ivs) {
  return *affine::expandAffineMap(b, op.getLoc(), op.getMatchingIndexingMap(&operand), ivs);
}

Value RowEmitter::load(LinalgOp op, OpOperand &operand, ValueRange ivs) {
  Value value = mapping.lookupOrDefault(operand.get());
  if (!isa<MemRefType>(value.getType()))
    return value;
  return memref::LoadOp::create(b, op.getLoc(), value, indices(op, operand, ivs));
}

SmallVector<Value> RowEmitter::oldValues(LinalgOp op, ValueRange ivs) {
  Values result;
  for (OpOperand &init : op.getDpsInitsMutable())
    result.push_back(op.payloadUsesValueFromOperand(&init) ? load(op, init, ivs) : Value());
  return result;
}

SmallVector<Value> RowEmitter::payload(LinalgOp op, ValueRange ivs, ValueRange outs) {
  Values ins;
  for (OpOperand *input : op.getDpsInputOperands())
    ins.push_back(op.payloadUsesValueFromOperand(input) ? load(op, *input, ivs) : Value());
  return payload(op, ivs, ins, outs);
}

SmallVector<Value> RowEmitter::payload(LinalgOp op, ValueRange ivs, ValueRange ins, ValueRange outs) {
  Block &body = *op.getBlock();
  IRMapping inside(mapping);
  for (auto [input, value] : llvm::zip_equal(op.getDpsInputOperands(), ins))
    if (value)
      inside.map(op.getMatchingBlockArgument(input), value);
  for (auto [argument, value] : llvm::zip_equal(op.getRegionOutputArgs(), outs))
    if (value)
      inside.map(argument, value);
  for (Operation &inner : body.without_terminator()) {
    if (auto number = dyn_cast<linalg::IndexOp>(&inner))
      inside.map(number.getResult(), ivs[number.getDim()]);
    else {
      Operation *copy = b.clone(inner, inside);
      // Inside of nested regions.
      copy->walk([&](linalg::IndexOp number) {
        number.replaceAllUsesWith(ivs[number.getDim()]);
        number.erase();
      });
    }
  }
  Values results;
  for (Value yielded : body.getTerminator()->getOperands())
    results.push_back(inside.lookupOrDefault(yielded));
  return results;
}

void RowEmitter::store(Location loc, Value value, Value buffer, ValueRange at, bool byOne) {
  Value target = mapping.lookupOrDefault(buffer);
  if (!byOne || team.size == 1 || isReplicated(buffer)) {
    memref::StoreOp::create(b, loc, value, target, at);
    return;
  }
  Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, team.lane, index(loc, b.getIndexAttr(0)));
  auto branch = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
  OpBuilder inside = OpBuilder::atBlockBegin(branch.thenBlock());
  memref::StoreOp::create(inside, loc, value, target, at);
}

void RowEmitter::storeResults(LinalgOp op, ValueRange values, ValueRange ivs, bool byOne) {
  for (auto [init, value] : llvm::zip_equal(op.getDpsInitsMutable(), values))
    store(op.getLoc(), value, init.get(), indices(op, init, ivs), byOne);
}

void RowEmitter::reduceByWarps(LinalgOp op, const Sizes &sizes, ArrayRef<Operation *> combiners) {
  Location loc = op.getLoc();
  auto constant = [&](int64_t value) { return index(loc, b.getIndexAttr(value)); };
  SmallVector<unsigned> results = loopsOf(op, utils::IteratorType::parallel);
  team.meet(); // behind the sums
  Team block = team;
  Value warp = arith::DivUIOp::create(b, loc, block.lane, constant(kWarp));
  team.size = kWarp;
  team.lane = arith::RemUIOp::create(b, loc, block.lane, constant(kWarp));
  int64_t count = extent(op.getStaticLoopRanges(), results, 1);
  forLoop(loc, warp, constant(count), constant(block.size / kWarp), {}, [&](Value number, ValueRange) -> Values {
    Values ivs(op.getNumLoops());
    for (unsigned d : llvm::reverse(results)) {
      Value size = index(loc, sizes[d]);
      ivs[d] = arith::RemUIOp::create(b, loc, number, size);
      number = arith::DivUIOp::create(b, loc, number, size);
    }
    reduceOne(op, sizes, combiners, ivs);
    return {};
  });
  team = block;
}

void RowEmitter::reduceOne(LinalgOp op, const Sizes &sizes, ArrayRef<Operation *> combiners, Values &ivs) {
  Location loc = op.getLoc();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  Values old, partial;
  for (auto [i, init] : llvm::enumerate(op.getDpsInitsMutable())) {
    old.push_back(load(op, init, ivs));
    partial.push_back(neutral(b, loc, combiners[i]));
  }
  if (std::optional<Chunks> chunks = Chunks::of(op, team))
    partial = overChunks(op, *chunks, partial);
  else
    partial = divide(loc, sizes, reduced, ivs, partial, [&](ValueRange state) { return payload(op, ivs, state); });
  partial = team.reduce(b, loc, partial, combiners);
  for (auto [i, value] : llvm::enumerate(partial))
    value = combine(b, loc, combiners[i], old[i], value);
  if (!team.isBlock() && !llvm::all_of(op.getDpsInits(), isReplicated))
    team.barrier(b, loc); // what was there before has been read
  for (unsigned d : reduced)
    ivs[d] = index(loc, b.getIndexAttr(0)); // no destination has this dimension
  storeResults(op, partial, ivs, /*byOne=*/true);
}

void RowEmitter::reduceTogether(LinalgOp op, const Sizes &sizes, ArrayRef<Operation *> combiners) {
  Location loc = op.getLoc();
  SmallVector<unsigned> results = loopsOf(op, utils::IteratorType::parallel);
  bool several = extent(op.getStaticLoopRanges(), results, kUnknownLength) > 1;
  if (several && team.isBlock())
    return reduceByWarps(op, sizes, combiners);
  Values ivs(op.getNumLoops());
  nest(loc, sizes, results, ivs, {}, [&](ValueRange) -> Values {
    reduceOne(op, sizes, combiners, ivs);
    return {};
  });
  if (team.isBlock())
    hazards.clear();
}

SmallVector<Value> RowEmitter::reduceAlone(LinalgOp op, const Sizes &sizes, Values &ivs, Values state) {
  Location loc = op.getLoc();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  std::optional<Chunks> chunks = Chunks::along(op, reduced.back(), team);
  if (!chunks)
    return nest(loc, sizes, reduced, ivs, state, [&](ValueRange inner) { return payload(op, ivs, inner); });
  unsigned last = reduced.pop_back_val();
  auto constant = [&](int64_t value) { return index(loc, b.getIndexAttr(value)); };
  return nest(loc, sizes, reduced, ivs, state, [&](ValueRange outer) {
    Value end = constant(chunks->width * chunks->count);
    return forLoop(loc, constant(0), end, constant(chunks->width), outer, [&](Value begin, ValueRange inner) {
      Values along{begin};
      for (int64_t k = 1; k < chunks->width; ++k)
        along.push_back(arith::AddIOp::create(b, loc, begin, constant(k)));
      ivs[last] = begin;
      SmallVector<Values> ins;
      for (OpOperand *input : op.getDpsInputOperands())
        ins.push_back(op.payloadUsesValueFromOperand(input) ? loadChunk(op, *input, *chunks, ivs, along)
                                                            : Values(chunks->width));
      Values sums(inner);
      for (int64_t k = 0; k < chunks->width; ++k) {
        ivs[last] = along[k];
        sums = payload(op, ivs, llvm::map_to_vector(ins, [&](const Values &elements) { return elements[k]; }), sums);
      }
      return sums;
    });
  });
}

void RowEmitter::emitLinalg(LinalgOp op) {
  Location loc = op.getLoc();
  SmallVector<unsigned> parallel = loopsOf(op, utils::IteratorType::parallel);
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  bool together = team.size > 1 && isReducedTogether(op);
  // One iteration is for the first thread, or for every one where each keeps the result.
  bool single = extent(op.getStaticLoopRanges(), parallel, 2) == 1;
  bool byAll = single && llvm::any_of(op.getDpsInits(), isReplicated);

  SmallVector<unsigned> divided(parallel);
  if (together && single)
    llvm::append_range(divided, reduced);
  llvm::sort(divided);
  std::optional<Chunks> chunks;
  if (single == together)
    chunks = Chunks::of(op, team);
  int64_t width = chunks ? chunks->width : 1;
  SmallVector<Access> reads, writes;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isInit = op.isDpsInit(&operand);
    std::string places;
    if (single && isInit)
      places = kFirst.str();
    else if (together ? single : !single && (isInit || reduced.empty()))
      places = placesOf(op, operand, divided, width);
    else if (single && !byAll)
      places = kFirst.str();
    if (op.payloadUsesValueFromOperand(&operand))
      reads.push_back({operand.get(), false, isInit && (together || byAll) ? "" : places});
    if (isInit)
      writes.push_back({operand.get(), true, places});
  }
  op.getBlock()->walk([&](memref::LoadOp load) { reads.push_back({load.getMemRef(), false, ""}); });
  touch(loc, reads);

  if (!chunks || !reduced.empty()) // what is written is not kept
    for (const Access &access : writes)
      forget(access.memref, "");
  Sizes sizes = loopSizes(op);
  if (together) {
    reduceTogether(op, sizes, *reductionsOf(op));
    touch(loc, writes);
    return;
  }
  if (!byAll)
    touch(loc, writes);
  if (chunks && reduced.empty()) {
    overChunks(op, *chunks, {});
    return;
  }
  Values ivs(op.getNumLoops());
  auto iteration = [&](ValueRange) -> Values {
    Values state;
    if (reduced.empty()) {
      state = payload(op, ivs, oldValues(op, ivs));
    } else {
      auto toStart = [&] {
        for (unsigned d : reduced)
          ivs[d] = index(loc, b.getIndexAttr(0));
      };
      toStart();
      for (OpOperand &init : op.getDpsInitsMutable())
        state.push_back(load(op, init, ivs));
      state = reduceAlone(op, sizes, ivs, state);
      toStart();
    }
    if (byAll)
      touch(loc, writes);
    storeResults(op, state, ivs, byAll);
    return {};
  };
  if (!single || byAll || team.size == 1) {
    divide(loc, sizes, parallel, ivs, {}, iteration);
    return;
  }
  Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, team.lane, index(loc, b.getIndexAttr(0)));
  auto branch = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  divide(loc, sizes, parallel, ivs, {}, iteration);
}

} // namespace caat::lower
