// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linalg ops of known size in chunks (Chunks.h), whose elements stay in the thread's registers.
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

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

} // namespace caat::lower
