// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An op is *varying* where virtual ranks compute different values: it depends on a slice of a weight, on an argument
// that is split, or on the rank, without a collective in between. The varying ops that a collective needs, and that no
// earlier one has needed, are a group. A group is cloned once per step, at the place of its collective; the weights
// that it uses are those that travel together.
#include "caat/Lower/Conversions.h"
#include "caat/Rotate/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPROTATEWEIGHTS
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// All values that an op reads, also from inside of its regions.
static SetVector<Value> readValues(Operation *op) {
  SetVector<Value> values(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), values);
  return values;
}

namespace {

class Rotator {
public:
  Rotator(func::FuncOp function, tp::MeshOp mesh)
      : function(function), mesh(FlatSymbolRefAttr::get(mesh)), size(mesh.getNumRanks()), builder(function) {}

  LogicalResult run();

private:
  /// What a group of ops makes in each step.
  struct Step {
    Value shard; // the virtual rank; the weights depend on it
    IRMapping mapping;
    DenseMap<Value, Value> held;
  };

  LogicalResult findVarying();
  bool isSplitWeight(Value value);
  bool isSplitArgument(Value value);
  bool isVarying(Value value);
  SetVector<Operation *> takeGroup(ArrayRef<Value> roots);
  LogicalResult emit(StringRef name, Location loc, ArrayRef<Value> roots,
                     function_ref<Value(OpBuilder &, Value, Value, Value)> combine, Value collected);
  Value place(int64_t step);
  Value version(Value value, int64_t step);
  LogicalResult rotateCollective(tp::CollectiveOpInterface op);
  LogicalResult rotateReturn(func::ReturnOp op);

  func::FuncOp function;
  FlatSymbolRefAttr mesh;
  int64_t size;
  OpBuilder builder;
  DenseSet<Operation *> varying;
  DenseMap<Value, bool> splitWeights;
  DenseMap<Value, SmallVector<Value>> versions; // of varying values whose group has been emitted, by step
  DenseMap<std::pair<Value, int64_t>, Value> blocks;
  SmallVector<Value> places;
  Value total; // of the group that is being emitted
};

} // namespace

/// A weight expression that a tp.shard is part of.
bool Rotator::isSplitWeight(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || !isWeightExpression(value))
    return false;
  if (auto it = splitWeights.find(value); it != splitWeights.end())
    return it->second;
  bool result =
      isa<tp::ShardOp>(op) || llvm::any_of(op->getOperands(), [&](Value operand) { return isSplitWeight(operand); });
  return splitWeights[value] = result;
}

bool Rotator::isSplitArgument(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  return argument && argument.getOwner() == &function.getBody().front() &&
         function.getArgAttr(argument.getArgNumber(), tp::kShardAttrName);
}

bool Rotator::isVarying(Value value) {
  return isSplitArgument(value) || (value.getDefiningOp() && varying.contains(value.getDefiningOp()));
}

LogicalResult Rotator::findVarying() {
  for (Operation &op : function.getBody().front()) {
    bool isWeight = op.getNumResults() == 1 && isWeightExpression(op.getResult(0));
    if (isWeight || isa<tp::CollectiveOpInterface, func::ReturnOp>(op))
      continue;
    if (isa<tp::ShardOp>(op))
      return op.emitOpError(
          "cuts a value that is no weight, which has no form with rotated weights; use tensor parallelism");
    bool reads = llvm::any_of(readValues(&op), [&](Value value) { return isVarying(value) || isSplitWeight(value); });
    if (reads || isa<tp::RankOp>(op))
      varying.insert(&op);
  }
  return success();
}

/// The virtual rank whose turn it is, for what does not travel.
Value Rotator::place(int64_t step) {
  if (places.empty()) {
    OpBuilder top = OpBuilder::atBlockBegin(&function.getBody().front());
    for (int64_t i = 0; i < size; ++i)
      places.push_back(
          tp::RingShardOp::create(top, function.getLoc(), top.getIndexType(), top.getI64IntegerAttr(i), mesh));
  }
  return places[step];
}

/// A varying value in a step that has been emitted.
Value Rotator::version(Value value, int64_t step) {
  if (auto it = versions.find(value); it != versions.end())
    return it->second[step];
  if (!isSplitArgument(value))
    return value;
  Value &block = blocks[{value, step}];
  if (!block) {
    Value shard = place(step);
    OpBuilder top(function.getContext());
    top.setInsertionPointAfterValue(shard);
    block = tp::BlockOp::create(top, value.getLoc(), value, shard);
  }
  return block;
}

/// The varying ops that `roots` need and that are not emitted yet, in the order of the program.
SetVector<Operation *> Rotator::takeGroup(ArrayRef<Value> roots) {
  SmallVector<Operation *> pending, found;
  DenseSet<Operation *> seen;
  auto add = [&](Value value) {
    Operation *op = value.getDefiningOp();
    if (op && varying.contains(op) && !versions.contains(value) && seen.insert(op).second)
      pending.push_back(op);
  };
  llvm::for_each(roots, add);
  while (!pending.empty()) {
    found.push_back(pending.pop_back_val());
    llvm::for_each(readValues(found.back()), add);
  }
  llvm::sort(found, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return SetVector<Operation *>(found.begin(), found.end());
}

/// Clones what `roots` need, once per step, at the builder's place. `combine` joins `collected` of each step with what
/// the steps before gave (null at first), and gets the virtual rank.
LogicalResult Rotator::emit(StringRef name, Location loc, ArrayRef<Value> roots,
                            function_ref<Value(OpBuilder &, Value, Value, Value)> combine, Value collected) {
  total = {};
  SetVector<Operation *> group = takeGroup(roots);
  bool travels = false;
  SmallVector<Value> results; // that ops outside of the group read, or nothing: they end the step
  for (Operation *op : group) {
    travels |= llvm::any_of(readValues(op), [&](Value value) { return isSplitWeight(value); });
    for (Value result : op->getResults()) {
      auto isOutside = [&](Operation *user) {
        Operation *ancestor = function.getBody().front().findAncestorOpInBlock(*user);
        return !group.contains(ancestor) && !(collected == result && isa<tp::CollectiveOpInterface>(ancestor));
      };
      if (isa<RankedTensorType>(result.getType()) && llvm::any_of(result.getUsers(), isOutside))
        results.push_back(result);
    }
  }
  StringAttr groupName = builder.getStringAttr(name);
  SmallVector<Value> made;
  for (int64_t i = 0; i < size; ++i) {
    Step step;
    step.shard = place(i);
    if (travels && i > 0)
      step.shard = tp::RotateOp::create(builder, loc, groupName, builder.getI64IntegerAttr(i), mesh, made).getShard();
    for (Operation *op : group) {
      for (Value value : readValues(op)) {
        if (step.mapping.contains(value))
          continue;
        if (isSplitWeight(value))
          step.mapping.map(value, tp::HeldOp::create(builder, loc, value, groupName, step.shard).getResult());
        else
          step.mapping.map(value, version(value, i));
      }
      if (auto rank = dyn_cast<tp::RankOp>(op))
        step.mapping.map(rank.getResult(), step.shard);
      else
        builder.clone(*op, step.mapping);
      for (Value result : op->getResults())
        versions[result].push_back(step.mapping.lookup(result));
    }
    made.clear();
    for (Value result : results)
      made.push_back(step.mapping.lookup(result));
    if (combine) {
      total = combine(builder, total, version(collected, i), place(i));
      made.push_back(total);
    }
  }
  if (travels)
    remark::passed(loc, remark::RemarkOpts::name("rotate").category("caat"))
        << llvm::formatv("group {0}: {1} ops in {2} steps", name, group.size(), size).str();
  return success();
}

LogicalResult Rotator::rotateCollective(tp::CollectiveOpInterface op) {
  Value input = op.getInput(), result = op->getResult(0);
  Location loc = op.getLoc();
  builder.setInsertionPoint(op);
  auto gather = dyn_cast<tp::AllGatherOp>(*op);
  if (!gather && !isa<tp::AllReduceOp>(*op))
    return op->emitOpError("has no form with rotated weights; use tensor parallelism");
  auto add = [&](OpBuilder &b, Value sum, Value part, Value) -> Value {
    return sum ? onnx::AddOp::create(b, loc, part.getType(), sum, part).getResult() : part;
  };
  auto insert = [&](OpBuilder &b, Value whole, Value part, Value shard) -> Value {
    auto type = cast<RankedTensorType>(part.getType());
    int64_t dim = gather.getDim();
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, part), wholeSizes = sizes;
    SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)), strides(type.getRank(), b.getIndexAttr(1));
    wholeSizes[dim] = b.getIndexAttr(cast<RankedTensorType>(result.getType()).getDimSize(dim));
    if (!whole)
      whole = tensor::EmptyOp::create(b, loc, wholeSizes, type.getElementType());
    Value width = arith::ConstantIndexOp::create(b, loc, type.getDimSize(dim));
    offsets[dim] = arith::MulIOp::create(b, loc, shard, width).getResult();
    return tensor::InsertSliceOp::create(b, loc, part, whole, offsets, sizes, strides);
  };
  if (gather && cast<RankedTensorType>(input.getType()).isDynamicDim(gather.getDim()))
    return op->emitOpError("joins parts of unknown size");
  if (gather ? failed(emit(op.getSiteName(), loc, input, insert, input))
             : failed(emit(op.getSiteName(), loc, input, add, input)))
    return failure();
  if (total.getType() != result.getType())
    total = tensor::CastOp::create(builder, loc, result.getType(), total);
  result.replaceAllUsesWith(total);
  return success();
}

LogicalResult Rotator::rotateReturn(func::ReturnOp op) {
  builder.setInsertionPoint(op);
  SmallVector<Value> roots;
  for (Value value : op.getOperands())
    if (isVarying(value))
      roots.push_back(value);
  // Checks have no result that anybody could need.
  SmallVector<Operation *> effects;
  for (Operation &other : function.getBody().front())
    if (varying.contains(&other) && other.getNumResults() == 0)
      effects.push_back(&other);
  for (Operation *effect : effects)
    llvm::append_range(roots, readValues(effect));
  if (failed(emit("outputs", op.getLoc(), roots, {}, Value())))
    return failure();
  for (Operation *effect : effects)
    for (int64_t i = 0; i < size; ++i) {
      IRMapping mapping;
      for (Value value : readValues(effect)) {
        if (isSplitWeight(value))
          return effect->emitOpError("reads a weight that travels");
        mapping.map(value, version(value, i));
      }
      builder.clone(*effect, mapping);
    }
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isVarying(operand.get()))
      continue;
    SmallVector<Value> values;
    for (int64_t i = 0; i < size; ++i)
      values.push_back(version(operand.get(), i));
    place(0);
    operand.set(tp::BlocksOp::create(builder, op.getLoc(), operand.get().getType(), values, places));
  }
  return success();
}

LogicalResult Rotator::run() {
  if (failed(findVarying()))
    return failure();
  SmallVector<Operation *> ops;
  for (Operation &op : function.getBody().front())
    ops.push_back(&op);
  SmallVector<Operation *> done;
  for (Operation *op : ops) {
    if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op)) {
      if (failed(rotateCollective(collective)))
        return failure();
      done.push_back(op);
    } else if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      if (failed(rotateReturn(ret)))
        return failure();
    } else if (varying.contains(op)) {
      done.push_back(op);
    }
  }
  for (Operation *op : llvm::reverse(done))
    op->erase();
  return success();
}

namespace {
struct RotateWeights : caat::impl::TPRotateWeightsBase<RotateWeights> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<tp::MeshOp> meshes(module.getOps<tp::MeshOp>());
    if (meshes.size() != 1) {
      module.emitError("needs one tp.mesh, but has ") << meshes.size() << "; run tp-auto-shard and tp-partition first";
      return signalPassFailure();
    }
    if (meshes.front().getNumRanks() == 1)
      return;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      if (!function.getBody().hasOneBlock()) {
        function.emitError("has more than one block");
        return signalPassFailure();
      }
      if (failed(Rotator(function, meshes.front()).run()))
        return signalPassFailure();
    }
  }
};
} // namespace
