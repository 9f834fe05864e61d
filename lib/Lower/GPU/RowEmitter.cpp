// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/RowEmitter.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

/// The number of elements that a loop of unknown length is taken to have.
static constexpr int64_t kUnknownLength = 512;
/// The most results that a team reduces one after the other; where there are more, each thread has its own.
static constexpr int64_t kReducedTogether = 8;

/// Where only the first thread of the team is at work.
static constexpr StringLiteral kFirst = "first";

bool isReplicated(Value memref) {
  auto alloca = rootOf(memref).getDefiningOp<memref::AllocaOp>();
  return alloca && alloca.getType().hasStaticShape() && alloca.getType().getNumElements() == 1;
}

static SmallVector<unsigned> loopsOf(LinalgOp op, utils::IteratorType kind) {
  SmallVector<unsigned> dims;
  for (auto [d, type] : llvm::enumerate(op.getIteratorTypesArray()))
    if (type == kind)
      dims.push_back(d);
  return dims;
}

/// The product of those of `sizes` that are known, each other one taken for `unknown`.
static int64_t extent(ArrayRef<int64_t> sizes, ArrayRef<unsigned> which, int64_t unknown) {
  int64_t result = 1;
  for (unsigned d : which)
    result *= ShapedType::isDynamic(sizes[d]) ? unknown : sizes[d];
  return result;
}

/// The combiners of a linalg op's reductions; nothing where one is not known.
static std::optional<SmallVector<Operation *>> reductionsOf(LinalgOp op) {
  SmallVector<Operation *> result;
  for (int64_t i = 0; i < op.getNumDpsInits(); ++i) {
    SmallVector<Operation *> combiners;
    if (!matchReduction(op.getRegionOutputArgs(), i, combiners) || combiners.size() != 1 || !isCombiner(combiners[0]))
      return std::nullopt;
    result.push_back(combiners[0]);
  }
  return result;
}

static bool isReducedTogether(LinalgOp op) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  int64_t results = extent(sizes, loopsOf(op, utils::IteratorType::parallel), kUnknownLength);
  if (reduced.empty() || results > kReducedTogether || !reductionsOf(op))
    return false;
  return results == 1 || extent(sizes, reduced, kUnknownLength) >= 2 * kWarp;
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
    if (!isReplicated(access.memref))
      shared.push_back(access);
  if (hazards.conflicts(shared)) {
    team.barrier(b, loc);
    hazards.clear();
  }
  hazards.add(shared);
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
  Block &body = *op.getBlock();
  IRMapping inside(mapping);
  for (OpOperand *input : op.getDpsInputOperands())
    if (op.payloadUsesValueFromOperand(input))
      inside.map(op.getMatchingBlockArgument(input), load(op, *input, ivs));
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

/// Which thread touches which element of `operand`, where the loops `divided` are shared; empty where others may too.
static std::string placesOf(LinalgOp op, OpOperand &operand, ArrayRef<unsigned> divided) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  AffineMap map = op.getMatchingIndexingMap(&operand);
  std::string text = "linalg";
  llvm::raw_string_ostream os(text);
  llvm::SmallDenseSet<unsigned> used;
  os << " " << operand.get().getAsOpaquePointer() << " ";
  for (auto [dim, expr] : llvm::enumerate(map.getResults())) {
    auto loop = dyn_cast<AffineDimExpr>(expr);
    if (!loop || !used.insert(loop.getPosition()).second)
      return "";
  }
  map.print(os);
  for (unsigned d : divided) {
    // Views of unknown size: a loop's length is the size of this very view.
    if (sizes[d] == 1)
      continue;
    if (!used.contains(d))
      return "";
    os << " " << d << ":" << sizes[d];
  }
  return text;
}

void RowEmitter::reduceTogether(LinalgOp op, const Sizes &sizes, ArrayRef<Operation *> combiners) {
  Location loc = op.getLoc();
  SmallVector<unsigned> results = loopsOf(op, utils::IteratorType::parallel);
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  Values ivs(op.getNumLoops());
  // With several results the threads meet at the end of each, since scratch memory is used again.
  bool several = !llvm::all_of(results, [&](unsigned d) { return isConstantIntValue(sizes[d], 1); });
  nest(loc, sizes, results, ivs, {}, [&](ValueRange) -> Values {
    Values old, partial;
    for (auto [i, init] : llvm::enumerate(op.getDpsInitsMutable())) {
      old.push_back(load(op, init, ivs));
      partial.push_back(neutral(b, loc, combiners[i]));
    }
    partial = divide(loc, sizes, reduced, ivs, partial, [&](ValueRange state) { return payload(op, ivs, state); });
    partial = team.reduce(b, loc, partial, combiners);
    for (auto [i, value] : llvm::enumerate(partial))
      value = combine(b, loc, combiners[i], old[i], value);
    if (!team.isBlock() && !llvm::all_of(op.getDpsInits(), isReplicated))
      team.barrier(b, loc); // what was there before has been read
    for (unsigned d : reduced)
      ivs[d] = index(loc, b.getIndexAttr(0)); // no destination has this dimension
    storeResults(op, partial, ivs, /*byOne=*/true);
    if (several)
      team.barrier(b, loc);
    return {};
  });
  if (team.isBlock())
    hazards.clear();
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
  SmallVector<Access> reads, writes;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isInit = op.isDpsInit(&operand);
    std::string places;
    if (single && isInit)
      places = kFirst.str();
    else if (together ? single : !single && (isInit || reduced.empty()))
      places = placesOf(op, operand, divided);
    else if (single && !byAll)
      places = kFirst.str();
    if (op.payloadUsesValueFromOperand(&operand))
      reads.push_back({operand.get(), false, isInit && (together || byAll) ? "" : places});
    if (isInit)
      writes.push_back({operand.get(), true, places});
  }
  op.getBlock()->walk([&](memref::LoadOp load) { reads.push_back({load.getMemRef(), false, ""}); });
  touch(loc, reads);

  Sizes sizes = loopSizes(op);
  if (together) {
    reduceTogether(op, sizes, *reductionsOf(op));
    touch(loc, writes);
    return;
  }
  if (!byAll)
    touch(loc, writes);
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
      state = nest(loc, sizes, reduced, ivs, state, [&](ValueRange inner) { return payload(op, ivs, inner); });
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
  return result;
}

LogicalResult RowEmitter::emitIf(scf::IfOp op) {
  auto mapped = [&](Value value) { return mapping.lookupOrDefault(value); };
  bool hasElse = !op.getElseRegion().empty();
  auto copy = scf::IfOp::create(b, op.getLoc(), op.getResultTypes(), mapped(op.getCondition()), hasElse);
  Hazards before = hazards;
  Hazards after;
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
