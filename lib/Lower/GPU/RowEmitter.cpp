// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

/// Where only the first thread of the team is at work.
static constexpr StringLiteral kFirst = "first";

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
// Linalg ops
//===----------------------------------------------------------------------===//

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
  Team block = team;
  Value warp = arith::DivUIOp::create(b, loc, block.lane, constant(kWarp));
  team = {kWarp, arith::RemUIOp::create(b, loc, block.lane, constant(kWarp)), Value()};
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
  if (std::optional<Chunks> chunks = Chunks::of(op, team.size))
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

//===----------------------------------------------------------------------===//
// Chunks
//===----------------------------------------------------------------------===//

/// What loads and stores of chunks may assume.
static llvm::MaybeAlign alignmentOf(VectorType chunk) {
  int64_t bytes = chunk.getNumElements() * chunk.getElementTypeBitWidth() / 8;
  return llvm::MaybeAlign(llvm::bit_floor(static_cast<uint64_t>(std::min<int64_t>(bytes, 16))));
}

bool RowEmitter::isInRegisters(Value memref) const {
  return llvm::is_contained(registers, rootOf(memref).getDefiningOp());
}

SmallVector<Value> RowEmitter::loadChunk(LinalgOp op, OpOperand &operand, const Chunks &chunks, ValueRange ivs,
                                         const Values &along) {
  Location loc = op.getLoc();
  Value value = mapping.lookupOrDefault(operand.get());
  auto type = dyn_cast<MemRefType>(value.getType());
  AffineMap map = op.getMatchingIndexingMap(&operand);
  if (!type || !map.isFunctionOfDim(chunks.loops.back()))
    return Values(chunks.width, load(op, operand, ivs));
  Values elements;
  if (isOnePiece(op, operand, chunks)) {
    auto vector = VectorType::get(chunks.width, type.getElementType());
    Value chunk = vector::LoadOp::create(b, loc, vector, value, indices(op, operand, ivs), /*nontemporal=*/false,
                                         alignmentOf(vector));
    for (int64_t k = 0; k < chunks.width; ++k)
      elements.push_back(vector::ExtractOp::create(b, loc, chunk, k));
    return elements;
  }
  Values at(ivs);
  for (Value iv : along) {
    at[chunks.loops.back()] = iv;
    elements.push_back(load(op, operand, at));
  }
  return elements;
}

void RowEmitter::storeChunk(LinalgOp op, OpOperand &init, const Chunks &chunks, ValueRange ivs, const Values &along,
                            const Values &elements) {
  Location loc = op.getLoc();
  Value target = mapping.lookupOrDefault(init.get());
  if (isOnePiece(op, init, chunks)) {
    auto vector = VectorType::get(chunks.width, cast<MemRefType>(target.getType()).getElementType());
    Value chunk = vector::FromElementsOp::create(b, loc, vector, elements);
    vector::StoreOp::create(b, loc, chunk, target, indices(op, init, ivs), /*nontemporal=*/false, alignmentOf(vector));
    return;
  }
  Values at(ivs);
  for (auto [iv, element] : llvm::zip_equal(along, elements)) {
    at[chunks.loops.back()] = iv;
    memref::StoreOp::create(b, loc, element, target, indices(op, init, at));
  }
}

SmallVector<Value> RowEmitter::overChunk(LinalgOp op, const Chunks &chunks, Value number, int64_t round, Values state,
                                         SmallVectorImpl<Values *> &loaded) {
  Location loc = op.getLoc();
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  auto constant = [&](int64_t value) { return index(loc, b.getIndexAttr(value)); };
  Values ivs(op.getNumLoops(), constant(0)), along;
  for (size_t i = chunks.loops.size(); i-- > 0;) {
    unsigned d = chunks.loops[i];
    bool isLast = i + 1 == chunks.loops.size();
    ivs[d] = number;
    if (i > 0) {
      Value size = constant(sizes[d] / (isLast ? chunks.width : 1));
      ivs[d] = arith::RemUIOp::create(b, loc, number, size);
      number = arith::DivUIOp::create(b, loc, number, size);
    }
    if (isLast && chunks.width > 1)
      ivs[d] = arith::MulIOp::create(b, loc, ivs[d], constant(chunks.width));
  }
  Value base = ivs[chunks.loops.back()];
  for (int64_t k = 0; k < chunks.width; ++k)
    along.push_back(k == 0 ? base : arith::AddIOp::create(b, loc, base, constant(k)).getResult());

  bool reduces = !state.empty();
  // What a thread has of an operand; it is kept for later ops where it stays with the thread.
  auto elementsOf = [&](OpOperand &operand) -> Values {
    std::string places =
        isa<MemRefType>(operand.get().getType()) ? placesOf(op, operand, chunks.loops, chunks.width) : std::string();
    if (places.empty())
      return loadChunk(op, operand, chunks, ivs, along);
    Kept &entry = kept.try_emplace(places, Kept{operand.get(), {}}).first->second;
    entry.rounds.resize(chunks.rounds);
    Values &mine = entry.rounds[round];
    if (mine.empty()) {
      mine = loadChunk(op, operand, chunks, ivs, along);
      loaded.push_back(&mine);
    }
    return mine;
  };
  SmallVector<Values> ins, outs;
  for (OpOperand *input : op.getDpsInputOperands())
    ins.push_back(op.payloadUsesValueFromOperand(input) ? elementsOf(*input) : Values(chunks.width));
  for (OpOperand &init : op.getDpsInitsMutable())
    outs.push_back(!reduces && op.payloadUsesValueFromOperand(&init) ? elementsOf(init) : Values(chunks.width));

  for (int64_t k = 0; k < chunks.width; ++k) {
    auto column = [&](const SmallVector<Values> &rows) {
      return llvm::map_to_vector(rows, [&](const Values &row) { return row[k]; });
    };
    ivs[chunks.loops.back()] = along[k];
    Values results = payload(op, ivs, column(ins), reduces ? state : column(outs));
    if (reduces)
      state = results;
    else
      for (auto [out, result] : llvm::zip_equal(outs, results))
        out[k] = result;
  }
  ivs[chunks.loops.back()] = base;
  if (reduces)
    return state;
  for (auto [init, elements] : llvm::zip_equal(op.getDpsInitsMutable(), outs)) {
    if (!isInRegisters(init.get()))
      storeChunk(op, init, chunks, ivs, along, elements);
    std::string places = placesOf(op, init, chunks.loops, chunks.width);
    if (places.empty())
      continue;
    Kept &entry = kept.try_emplace(places, Kept{init.get(), {}}).first->second;
    entry.rounds.resize(chunks.rounds);
    entry.rounds[round] = elements;
    loaded.push_back(&entry.rounds[round]);
  }
  return state;
}

SmallVector<Value> RowEmitter::overChunks(LinalgOp op, const Chunks &chunks, Values state) {
  Location loc = op.getLoc();
  for (int64_t round = 0; round < chunks.rounds; ++round) {
    Value number = team.lane;
    if (round > 0)
      number = arith::AddIOp::create(b, loc, number, index(loc, b.getIndexAttr(round * team.size)));
    SmallVector<Values *> loaded;
    if ((round + 1) * team.size <= chunks.count) {
      state = overChunk(op, chunks, number, round, state, loaded);
      continue;
    }
    // Not every thread has a chunk in the last round. Those that have none keep zeros that nothing reads.
    Value has =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, number, index(loc, b.getIndexAttr(chunks.count)));
    auto inside = scf::IfOp::create(b, loc, has, /*withElseRegion=*/false);
    Values results;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(inside.thenBlock()->getTerminator());
      results = overChunk(op, chunks, number, round, state, loaded);
    }
    size_t carried = results.size();
    for (Values *values : loaded)
      llvm::append_range(results, *values);
    if (results.empty())
      continue;
    auto whole = scf::IfOp::create(b, loc, TypeRange(ValueRange(results)), has, /*withElseRegion=*/true);
    inside.thenBlock()->getTerminator()->erase();
    whole.thenBlock()->getOperations().splice(whole.thenBlock()->end(), inside.thenBlock()->getOperations());
    inside.erase();
    OpBuilder then = OpBuilder::atBlockEnd(whole.thenBlock()), otherwise = OpBuilder::atBlockEnd(whole.elseBlock());
    scf::YieldOp::create(then, loc, results);
    Values none(state);
    for (Value value : ArrayRef(results).drop_front(carried))
      none.push_back(arith::ConstantOp::create(otherwise, loc, cast<TypedAttr>(b.getZeroAttr(value.getType()))));
    scf::YieldOp::create(otherwise, loc, none);
    ValueRange given = whole.getResults();
    state = Values(given.take_front(carried));
    given = given.drop_front(carried);
    for (Values *values : loaded)
      for (Value &value : *values) {
        value = given.front();
        given = given.drop_front();
      }
  }
  return state;
}

//===----------------------------------------------------------------------===//
// Linalg ops, continued: which way
//===----------------------------------------------------------------------===//

SmallVector<Value> RowEmitter::reduceAlone(LinalgOp op, const Sizes &sizes, Values &ivs, Values state) {
  Location loc = op.getLoc();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  std::optional<Chunks> chunks = Chunks::along(op, reduced.back());
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
    chunks = Chunks::of(op, team.size);
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
