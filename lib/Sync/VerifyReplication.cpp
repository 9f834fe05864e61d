// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-verify-replication: what must be equal on all ranks is.
#include "caat/Sync/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPVERIFYREPLICATION
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

namespace {

/// From equal everywhere to arbitrary; the join of two states is the larger.
enum class State { Replicated, Private, Sharded };

/// What is known of a value, and the operation or argument because of which it is not replicated.
struct Fact {
  State state = State::Replicated;
  Value origin;
};

class Analysis {
public:
  explicit Analysis(func::FuncOp function) : function(function) {}
  /// Follows states to a fixed point, then checks.
  LogicalResult run();

private:
  Fact get(Value value) const { return facts.lookup(value); }
  bool raise(Value value, Fact fact);
  bool visit(Operation *op);
  bool visitRegions(Operation *op);
  Fact joinOperands(Operation *op) const;
  Fact getArgument(BlockArgument argument, Fact carried) const;
  LogicalResult check(Operation *op) const;
  LogicalResult requireReplicated(Operation *op, Value value, const Twine &what) const;

  mutable func::FuncOp function; // operations are handles: their accessors are not const
  llvm::DenseMap<Value, Fact> facts;
};

} // namespace

bool Analysis::raise(Value value, Fact fact) {
  Fact &known = facts[value];
  if (fact.state <= known.state)
    return false;
  known = fact;
  return true;
}

Fact Analysis::joinOperands(Operation *op) const {
  Fact joined;
  for (Value operand : op->getOperands())
    if (Fact fact = get(operand); fact.state > joined.state)
      joined = fact;
  return joined;
}

/// What a region's argument is, where `carried` is what may come from the operation's operands and from yields.
Fact Analysis::getArgument(BlockArgument argument, Fact carried) const {
  Operation *op = argument.getOwner()->getParentOp();
  if (auto loop = dyn_cast<scf::ForOp>(op); loop && argument == loop.getInductionVar())
    return {}; // counted between bounds that are checked
  auto loop = dyn_cast<onnx::LoopOp>(op);
  if (!loop || argument.getArgNumber() > 1)
    return carried;
  if (argument.getArgNumber() == 0)
    return {};
  Fact first = loop.getCond() ? get(loop.getCond()) : Fact{};
  Fact next = get(loop.getBody().front().getTerminator()->getOperand(0));
  return next.state > first.state ? next : first;
}

/// A region's arguments may be any operand or what the turn before has yielded, and so may the results.
bool Analysis::visitRegions(Operation *op) {
  Fact joined = joinOperands(op);
  for (Region &region : op->getRegions())
    for (Block &block : region)
      if (!block.empty() && block.back().hasTrait<OpTrait::IsTerminator>())
        if (Fact yielded = joinOperands(&block.back()); yielded.state > joined.state)
          joined = yielded;
  bool changed = false;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (BlockArgument argument : block.getArguments())
        changed |= raise(argument, getArgument(argument, joined));
  for (Value result : op->getResults())
    changed |= raise(result, joined);
  return changed;
}

/// Propagates through one operation; true where something is new.
bool Analysis::visit(Operation *op) {
  if (op->getNumRegions() > 0)
    return visitRegions(op);
  bool changed = false;
  if (auto branch = dyn_cast<BranchOpInterface>(op))
    for (Block *successor : op->getSuccessors())
      for (BlockArgument argument : successor->getArguments())
        changed |= raise(argument, joinOperands(branch));
  for (Value result : op->getResults()) {
    Fact fact;
    if (op->hasAttr(tp::kPrivateAttrName))
      fact = {State::Private, result};
    else if (isa<tp::ShardOp, tp::RankOp, tp::PermuteOp, tp::ReduceScatterOp, tp::AllToAllOp>(op))
      fact = {State::Sharded, result};
    else if (isa<tp::AllReduceOp, tp::AllGatherOp, tp::BroadcastOp>(op))
      fact = {};
    else if (isa<tp::QuantizedAllReduceOp>(op))
      fact = cast<OpResult>(result).getResultNumber() == 0 ? Fact{} : Fact{State::Private, result};
    else if (isa<tensor::DimOp, memref::DimOp, onnx::ShapeOp, onnx::SizeOp>(op))
      fact = {}; // every rank runs the same program on the same local shapes
    else if (auto read = dyn_cast<tp::ReadStreamOp>(op)) {
      auto site = read.getBase().getDefiningOp<tp::SyncPointOp>();
      // Nothing is pending behind a site that sums everything, or that cannot defer.
      bool readsBase = site && (site.getFlushes() || site.getNotDeferrable());
      fact = readsBase ? get(read.getBase()) : joinOperands(op);
    } else if (auto site = dyn_cast<tp::SyncPointOp>(op)) {
      bool isPrivate = site.getSwitchable()
                           ? !site.getNotPrivate()
                           : site.getPolicy().isPrivate() && !site.getPolicy().isExact(site.getNumChannels());
      if (result == site.getNewBase())
        fact = isPrivate ? Fact{State::Private, result} : site.getBase() ? get(site.getBase()) : Fact{};
      else
        fact = {State::Private, result}; // read only as far as policies allow
    } else
      fact = joinOperands(op);
    changed |= raise(result, fact);
  }
  return changed;
}

LogicalResult Analysis::requireReplicated(Operation *op, Value value, const Twine &what) const {
  Fact fact = get(value);
  if (fact.state == State::Replicated)
    return success();
  Operation *origin = fact.origin ? fact.origin.getDefiningOp() : nullptr;
  std::string why;
  if (fact.state == State::Private) {
    auto site = origin ? origin->getAttrOfType<StringAttr>(tp::kPrivateAttrName) : StringAttr();
    if (auto point = dyn_cast_or_null<tp::SyncPointOp>(origin))
      site = point.getSiteAttr();
    if (auto reduce = dyn_cast_or_null<tp::QuantizedAllReduceOp>(origin))
      site = reduce.getSiteAttr();
    why = "it depends on what the policy of site " + (site ? site.str() : "unknown") + " keeps on each rank";
  } else if (origin) {
    why = "it depends on '" + origin->getName().getStringRef().str() + "' without a collective in between";
  } else {
    why = "it depends on a sharded argument without a collective in between";
  }
  InFlightDiagnostic diagnostic = op->emitError() << what << " must be equal on all ranks, but " << why;
  if (fact.origin)
    diagnostic.attachNote(fact.origin.getLoc()) << "this value differs from rank to rank";
  return diagnostic;
}

/// Operands by number that decide shapes, so that buffers and messages of different size would follow.
static SmallVector<unsigned> getShapeOperands(Operation *op) {
  if (isa<onnx::ReshapeOp, onnx::ExpandOp, onnx::TileOp>(op))
    return {1};
  if (isa<onnx::ConstantOfShapeOp>(op))
    return {0};
  if (isa<onnx::RangeOp>(op))
    return {0, 1, 2};
  return {};
}

namespace {

/// A value that decides which operations run or how often, and what messages call it.
struct Decider {
  Value value;
  std::string name;
};

} // namespace

static bool holdsCollective(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        return isa<tp::CollectiveOpInterface, tp::SyncPointOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

static SmallVector<Decider> getDeciders(Operation *op) {
  auto named = [](const Twine &what, Operation *op) {
    return (what + " of '" + op->getName().getStringRef() + "'").str();
  };
  SmallVector<Decider> deciders;
  llvm::TypeSwitch<Operation *>(op)
      .Case<scf::IfOp, scf::ConditionOp, scf::IndexSwitchOp, cf::CondBranchOp, cf::SwitchOp, onnx::IfOp>(
          [&](auto) { deciders.push_back({op->getOperand(0), named("the condition", op)}); })
      .Case([&](scf::ForOp loop) {
        for (Value bound : {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()})
          deciders.push_back({bound, named("a bound", op)});
      })
      .Case([&](onnx::LoopOp loop) {
        if (loop.getM())
          deciders.push_back({loop.getM(), named("a bound", op)});
        if (loop.getCond())
          deciders.push_back({loop.getCond(), named("the condition", op)});
      })
      .Case([&](onnx::YieldOp yield) {
        if (isa<onnx::LoopOp>(op->getParentOp()))
          deciders.push_back({yield.getOperand(0), named("the condition", op->getParentOp())});
      })
      .Case<onnx::ScanOp, scf::WhileOp>([](auto) {}) // by a size, and by its scf.condition
      .Default([&](Operation *) {
        if (op->getNumRegions() > 0 && holdsCollective(op))
          for (Value operand : op->getOperands())
            deciders.push_back({operand, named("an operand", op) + ", which may decide over a collective inside,"});
      });
  return deciders;
}

/// States do not say along which axes of the mesh a value differs, so whatever makes values equal has to span all.
static LogicalResult checkSpan(Operation *op, FlatSymbolRefAttr meshName, ArrayAttr axes) {
  auto mesh = SymbolTable::lookupNearestSymbolFrom<tp::MeshOp>(op, meshName);
  int64_t size = tp::detail::getGroupSize(op, meshName, axes);
  if (mesh.getNumRanks() == size)
    return success();
  return op->emitError() << "spans " << size << " of the " << mesh.getNumRanks() << " ranks of @" << mesh.getSymName()
                         << ": what is equal on all ranks is only followed through collectives over the whole mesh";
}

LogicalResult Analysis::check(Operation *op) const {
  if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op))
    if (failed(checkSpan(op, collective.getMeshAttr(), collective.getAxesAttr())))
      return failure();
  if (auto site = dyn_cast<tp::SyncPointOp>(op))
    if (failed(checkSpan(op, site.getMeshAttr(), site.getAxesAttr())))
      return failure();
  if (auto ret = dyn_cast<func::ReturnOp>(op)) {
    for (OpOperand &operand : ret->getOpOperands())
      if (!function.getResultAttr(operand.getOperandNumber(), tp::kShardAttrName))
        if (failed(requireReplicated(op, operand.get(),
                                     "result " + Twine(operand.getOperandNumber()) + " of @" + function.getName() +
                                         " has no 'tp.shard' and")))
          return failure();
    return success();
  }
  if (isa<tp::AllReduceOp, tp::QuantizedAllReduceOp>(op)) {
    auto reduce = cast<tp::CollectiveOpInterface>(op);
    if (reduce.hasTensorForm() && reduce.getGroupSize() > 1 && get(reduce.getInput()).state == State::Replicated)
      return op->emitError() << "site " << reduce.getSiteName()
                             << " sums a value that is equal on all ranks: it would count " << reduce.getGroupSize()
                             << " times";
    return success();
  }
  for (const Decider &decider : getDeciders(op))
    if (failed(requireReplicated(op, decider.value, decider.name)))
      return failure();
  for (unsigned number : getShapeOperands(op))
    if (number < op->getNumOperands())
      if (failed(requireReplicated(op, op->getOperand(number),
                                   "the shape that '" + op->getName().getStringRef() + "' takes")))
        return failure();
  return success();
}

LogicalResult Analysis::run() {
  for (BlockArgument argument : function.getArguments())
    if (function.getArgAttr(argument.getArgNumber(), tp::kShardAttrName))
      raise(argument, {State::Sharded, argument});
  bool changed = true;
  while (changed) {
    changed = false;
    function.getBody().walk([&](Operation *op) { changed |= visit(op); });
  }
  LogicalResult result = success();
  function.getBody().walk([&](Operation *op) {
    if (failed(check(op)))
      result = failure();
  });
  return result;
}

namespace {
struct VerifyReplication : caat::impl::TPVerifyReplicationBase<VerifyReplication> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isDeclaration())
      return;
    if (failed(Analysis(function).run()))
      return signalPassFailure();
    llvm::SetVector<StringRef> sites;
    function.walk([&](Operation *op) {
      if (auto site = op->getAttrOfType<StringAttr>(tp::kPrivateAttrName))
        sites.insert(site.getValue());
    });
    if (!sites.empty())
      remark::analysis(function.getLoc(), remark::RemarkOpts::name("private").category("caat"))
          << ("values differ per rank by the policies of " + llvm::join(sites, ", "));
  }
};
} // namespace
