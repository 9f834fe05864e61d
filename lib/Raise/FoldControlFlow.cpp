// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-fold-control-flow: see Passes.td.
#include "Divisors.h"
#include "OnnxBuilder.h"
#include "Speculation.h"
#include "caat/Raise/ConstantFolding.h"
#include "caat/Raise/Passes.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"

namespace caat {
#define GEN_PASS_DEF_ONNXFOLDCONTROLFLOWPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Constants of more elements decide no condition.
static constexpr int64_t maxFolded = 64;

/// A loop that is being unrolled.
struct Unrolling {
  int64_t turn = 0;
  SmallVector<Value> carried;
  Value condition; // null: true
  SmallVector<SmallVector<Value>> stacked;
};

/// An If both of whose branches were moved in front of it.
struct Speculated {
  Operation *before = nullptr; // the op in front of them; null: none
  SmallVector<Value> thenValues, elseValues;
};

static std::optional<bool> knownTruth(Value condition, SymbolicShapes &shapes) {
  if (!condition)
    return true;
  auto elements = shapes.getConstants(condition);
  if (!elements || elements->size() != 1)
    return std::nullopt;
  return elements->front() != 0;
}

/// The node as messages name it.
static std::string describe(Operation *op) {
  std::string text = "node ";
  if (auto name = dyn_cast<NameLoc>(op->getLoc()))
    text += "'" + name.getName().str() + "' ";
  return text + "(" + op->getName().stripDialect().str() + ")";
}

/// "input 'a', 'b'": the arguments that `value` is computed from.
static std::string sourcesOf(Value value) {
  SetVector<Operation *> ops;
  SetVector<Value> arguments;
  BackwardSliceOptions options;
  options.inclusive = true;
  options.omitBlockArguments = true;
  if (value.getDefiningOp())
    (void)getBackwardSlice(value, &ops, options);
  auto add = [&](Value operand) {
    if (auto argument = dyn_cast<BlockArgument>(operand))
      if (isa<func::FuncOp>(argument.getOwner()->getParentOp()))
        arguments.insert(argument);
  };
  add(value);
  for (Operation *op : ops)
    llvm::for_each(op->getOperands(), add);
  std::string text;
  for (Value argument : arguments) {
    auto function = cast<func::FuncOp>(cast<BlockArgument>(argument).getOwner()->getParentOp());
    auto name = function.getArgAttrOfType<StringAttr>(cast<BlockArgument>(argument).getArgNumber(), "onnx.name");
    text += (text.empty() ? "'" : ", '") + (name ? name.str() : "") + "'";
  }
  return text;
}

namespace {

class ControlFlowFolder {
public:
  ControlFlowFolder(func::FuncOp function, int64_t maxOps, bool final)
      : body(function.getBody().front()), shapes(SymbolicShapes::ofArguments(function)), maxOps(maxOps), final(final) {}

  LogicalResult run() {
    // Each op sees the shapes of all before it. Nothing is erased on the way: the analysis refers to values.
    for (Operation *op = &body.front(); op;) {
      Operation *next = op->getNextNode();
      bool again = false;
      FailureOr<Operation *> inserted(static_cast<Operation *>(nullptr));
      if (dead.contains(op)) // behind what it became
        ;
      else if (auto branch = dyn_cast<onnx::IfOp>(op))
        inserted = foldIf(branch);
      else if (isa<onnx::LoopOp, onnx::ScanOp>(op))
        inserted = unroll(op, again);
      else
        learn(op);
      if (failed(inserted))
        return failure();
      op = *inserted ? *inserted : again ? op : next;
    }
    for (Operation *op : dead)
      op->erase();
    eraseDeadOps(body);
    return success();
  }

private:
  void learn(Operation *op) {
    OnnxBuilder builder(op, shapes);
    if (!isa<onnx::ONNXDialect>(op->getDialect()) || op->getNumResults() == 0 ||
        isa<onnx::ConstantOp, onnx::GetInitializerOp>(op))
      return shapes.visit(op);
    builder.learn(op->getResult(0));
    DenseElementsAttr value = foldConstantOp(op, maxFolded);
    if (!value)
      return;
    replace(op->getResult(0), builder.learn(onnx::ConstantOp::create(builder, op->getLoc(), value)));
  }

  void replace(Value value, Value by) {
    value.replaceAllUsesWith(by);
    replaced[value] = by;
  }

  /// What has become of `value`, which was noted before the op that it comes from was visited.
  Value latest(Value value) const {
    while (Value next = replaced.lookup(value))
      value = next;
    return value;
  }

  /// Moves the ops of `region` in front of `op`; gives the values that it yields and the first op (null if there is
  /// none).
  Operation *inlineRegion(Region &region, Operation *op, SmallVectorImpl<Value> &yielded) {
    Block &block = region.front();
    auto yield = cast<onnx::YieldOp>(block.getTerminator());
    yielded.assign(yield.getOperands().begin(), yield.getOperands().end());
    yield.erase();
    Operation *first = block.empty() ? nullptr : &block.front();
    body.getOperations().splice(op->getIterator(), block.getOperations());
    return first;
  }

  FailureOr<Operation *> foldIf(onnx::IfOp op) {
    if (auto both = speculated.find(op); both != speculated.end())
      return select(op, both->second);
    std::optional<bool> truth = knownTruth(op.getCond(), shapes);
    if (truth) {
      SmallVector<Value> values;
      Operation *first = inlineRegion(*truth ? op.getThenBranch() : op.getElseBranch(), op, values);
      for (auto [result, value] : llvm::zip_equal(op.getResults(), values))
        replace(result, value);
      dead.insert(op);
      remarkPassed(op, "fold-control-flow", *truth ? "takes then_branch" : "takes else_branch");
      return first;
    }
    if (!final) {
      shapes.visit(op);
      return static_cast<Operation *>(nullptr);
    }
    // Both run where they are cheap, have no effects and cannot fail, which is known once their ops were visited; their
    // results are chosen between afterwards.
    int64_t count = 0;
    bool pure = true;
    op->walk([&](Operation *inner) {
      ++count;
      pure &= inner == op || isMemoryEffectFree(inner);
    });
    if (!pure || count > maxSpeculated)
      return refuse(op, op.getCond(), "which branch runs is only known at run time");
    guardDivisors(op);
    Speculated &both = speculated[op];
    both.before = op->getPrevNode();
    Operation *first = inlineRegion(op.getThenBranch(), op, both.thenValues);
    Operation *second = inlineRegion(op.getElseBranch(), op, both.elseValues);
    return first ? first : second ? second : op.getOperation();
  }

  /// Divides by 1 in the branch that is not taken: what it would divide by may be zero then.
  void guardDivisors(onnx::IfOp op) {
    OnnxBuilder builder(op, shapes);
    Value condition;
    for (Region *branch : {&op.getThenBranch(), &op.getElseBranch()})
      branch->walk([&](Operation *inner) {
        Value divisor = integerDivisor(inner);
        if (!divisor || divisor.getDefiningOp<onnx::ConstantOp>())
          return;
        if (!condition)
          condition = shapes.getRank(op.getCond()) == 0 ? op.getCond() : builder.reshape(op.getCond(), {});
        Type element = getElementTypeOrSelf(divisor);
        Value one = builder.scalar(1, element), x = divisor, y = one;
        if (branch == &op.getElseBranch())
          std::swap(x, y);
        OpBuilder inside(inner);
        inner->setOperand(
            1, onnx::WhereOp::create(inside, inner->getLoc(), UnrankedTensorType::get(element), condition, x, y));
      });
  }

  /// The results of an If whose branches both ran.
  FailureOr<Operation *> select(onnx::IfOp op, const Speculated &both) {
    OnnxBuilder builder(op, shapes);
    Value condition = op.getCond();
    if (shapes.getRank(condition) != 0)
      condition = builder.reshape(condition, {});
    for (auto [a, b, result] : llvm::zip_equal(both.thenValues, both.elseValues, op.getResults())) {
      if (result.use_empty())
        continue;
      Value x = latest(a), y = latest(b);
      if (!shapes.sameShape(x, y) && !(isTable(result) && padTables(builder, x, y)))
        return refuse(op, op.getCond(),
                      "which branch runs is only known at run time, and the branches give results of different shapes");
      replace(result, builder.makeOf<onnx::WhereOp>(getElementTypeOrSelf(x), condition, x, y));
    }
    if (Operation *inner = findFailing(op, both.before))
      return refuse(op, op.getCond(),
                    "which branch runs is only known at run time, and " + describe(inner) +
                        " may fail the run where its branch is not taken");
    dead.insert(op);
    remarkPassed(op, "fold-control-flow", "runs both branches and chooses between their results");
    return static_cast<Operation *>(nullptr);
  }

  /// The first op of the branches in front of `op` that is used and may fail; null if there is none.
  Operation *findFailing(onnx::IfOp op, Operation *before) {
    llvm::SmallPtrSet<Operation *, 16> unused;
    Operation *found = nullptr;
    for (Operation *inner = op->getPrevNode(); inner != before; inner = inner->getPrevNode()) {
      bool isUnused = dead.contains(inner) ||
                      llvm::all_of(inner->getUsers(), [&](Operation *user) { return unused.contains(user); });
      if (isUnused)
        unused.insert(inner);
      else if (!canAlwaysRun(inner, shapes))
        found = inner;
    }
    return found;
  }

  /// Whether all that is done with `value` is to look up rows of it.
  static bool isTable(Value value) {
    return llvm::all_of(value.getUses(), [](OpOperand &use) {
      if (auto gather = dyn_cast<onnx::GatherOp>(use.getOwner()))
        return use.getOperandNumber() == 0 && gather.getAxis() == 0;
      if (auto rotary = dyn_cast<onnx::RotaryEmbeddingOp>(use.getOwner()))
        return rotary.getPositionIds() != nullptr && (use.getOperandNumber() == 1 || use.getOperandNumber() == 2);
      auto custom = dyn_cast<onnx::CustomOp>(use.getOwner());
      bool rotates = custom && custom.getDomain() == "com.microsoft" &&
                     (custom.getOpType() == "RotaryEmbedding" || custom.getOpType() == "GroupQueryAttention");
      return rotates && use.getOperandNumber() >= 2;
    });
  }

  /// Gives two tables of equal rows the longer one's length. A row beyond the shorter table's end is an error of the
  /// model where that table is taken, so what stands there does not matter.
  bool padTables(OnnxBuilder &builder, Value &x, Value &y) {
    auto a = cast<ShapedType>(x.getType()), b = cast<ShapedType>(y.getType());
    if (!a.hasRank() || !b.hasRank() || !a.hasStaticShape() || !b.hasStaticShape() || a.getRank() != b.getRank() ||
        a.getRank() == 0 || a.getShape().drop_front() != b.getShape().drop_front())
      return false;
    int64_t length = std::max(a.getDimSize(0), b.getDimSize(0));
    for (Value *table : {&x, &y}) {
      int64_t missing = length - cast<ShapedType>(table->getType()).getDimSize(0);
      if (missing == 0)
        continue;
      SmallVector<int64_t> pads(2 * a.getRank(), 0);
      pads[a.getRank()] = missing;
      *table =
          builder.make<onnx::PadOp>(*table, builder.ints(pads), Value(), Value(), builder.getStringAttr("constant"));
    }
    return true;
  }

  /// One more turn of a loop, or its end; `again`: there is more to do without a new op to visit first.
  FailureOr<Operation *> unroll(Operation *op, bool &again) {
    auto loop = dyn_cast<onnx::LoopOp>(op);
    auto scan = dyn_cast<onnx::ScanOp>(op);
    auto [it, isNew] = unrolled.try_emplace(op);
    Unrolling &state = it->second;
    state.condition = latest(state.condition);
    for (Value &value : state.carried)
      value = latest(value);
    if (isNew) {
      if (loop) {
        state.carried.assign(loop.getVInitial().begin(), loop.getVInitial().end());
        state.condition = loop.getCond();
      } else {
        auto operands = scan.getInitialStateAndScanInputs().drop_back(scan.getNumScanInputs());
        state.carried.assign(operands.begin(), operands.end());
      }
      state.stacked.resize(op->getNumResults() - state.carried.size());
    }
    std::optional<int64_t> turns;
    Value bound = loop ? loop.getM() : Value();
    if (scan) {
      turns = scanLength(scan);
    } else if (bound) {
      if (auto elements = shapes.getConstants(bound); elements && elements->size() == 1)
        turns = elements->front();
    }
    std::optional<bool> goesOn = knownTruth(state.condition, shapes);
    bool isKnown = goesOn && (turns || (loop && !bound));
    if (!isKnown && (final || !isNew))
      return refuse(op,
                    bound             ? bound
                    : state.condition ? state.condition
                                      : op->getOperand(op->getNumOperands() - 1),
                    "how often it runs is only known at run time");
    if (!isKnown) {
      unrolled.erase(op);
      shapes.visit(op);
      return static_cast<Operation *>(nullptr);
    }
    if (!*goesOn || (turns && state.turn >= *turns))
      return finish(op, state);
    return repeat(op, state, turns.value_or(0), again);
  }

  /// The size that all scanned dimensions have; nothing where one is not known or another.
  std::optional<int64_t> scanLength(onnx::ScanOp op) {
    std::optional<int64_t> length;
    for (auto [i, input] : llvm::enumerate(op.getInitialStateAndScanInputs().take_back(op.getNumScanInputs()))) {
      auto size = shapes.getStaticDim(input, scanAxis(op, i));
      if (!size || (length && *length != *size))
        return std::nullopt;
      length = size;
    }
    return length;
  }

  static int64_t scanAxis(onnx::ScanOp op, size_t input) {
    auto axes = op.getScanInputAxes();
    return axes && input < axes->size() ? (*axes)[input] : 0;
  }

  FailureOr<Operation *> repeat(Operation *op, Unrolling &state, int64_t turns, bool &again) {
    Block &block = op->getRegion(0).front();
    unrolledOps += block.getOperations().size();
    if (unrolledOps > maxOps)
      return emitError(op->getLoc()) << describe(op) << ": unrolling the model's loops makes more than " << maxOps
                                     << " operations";
    OnnxBuilder builder(op, shapes);
    IRMapping mapping;
    SmallVector<Value> arguments;
    if (isa<onnx::LoopOp>(op)) {
      arguments.push_back(builder.scalar(state.turn, builder.getI64Type()));
      arguments.push_back(state.condition ? state.condition : builder.scalar(1, builder.getI1Type()));
    }
    llvm::append_range(arguments, state.carried);
    if (auto scan = dyn_cast<onnx::ScanOp>(op)) {
      auto directions = scan.getScanInputDirections();
      for (auto [i, input] : llvm::enumerate(scan.getInitialStateAndScanInputs().take_back(scan.getNumScanInputs()))) {
        bool backwards = directions && i < directions->size() && (*directions)[i];
        int64_t place = backwards ? turns - 1 - state.turn : state.turn;
        arguments.push_back(
            builder.make<onnx::GatherOp>(input, builder.scalar(place, builder.getI64Type()), scanAxis(scan, i)));
      }
    }
    mapping.map(block.getArguments(), arguments);
    Operation *first = nullptr;
    for (Operation &inner : block.without_terminator()) {
      Operation *copy = builder.clone(inner, mapping);
      first = first ? first : copy;
    }
    SmallVector<Value> yielded;
    for (Value value : block.getTerminator()->getOperands())
      yielded.push_back(mapping.lookupOrDefault(value));
    ArrayRef<Value> values = yielded;
    if (isa<onnx::LoopOp>(op)) {
      state.condition = values.front();
      values = values.drop_front();
    }
    size_t carried = state.carried.size();
    state.carried.assign(values.begin(), values.begin() + carried);
    for (auto [list, value] : llvm::zip_equal(state.stacked, values.drop_front(carried)))
      list.push_back(value);
    ++state.turn;
    again = !first;
    return first;
  }

  FailureOr<Operation *> finish(Operation *op, Unrolling &state) {
    OnnxBuilder builder(op, shapes);
    auto scan = dyn_cast<onnx::ScanOp>(op);
    SmallVector<Value> results(state.carried);
    for (auto [i, list] : llvm::enumerate(state.stacked)) {
      Value result = op->getResult(results.size());
      if (result.use_empty()) {
        results.push_back(Value());
        continue;
      }
      if (list.empty())
        return emitError(op->getLoc()) << describe(op)
                                       << ": runs not once, so the shape of its stacked output is not known";
      auto axes = scan ? scan.getScanOutputAxes() : std::nullopt;
      auto directions = scan ? scan.getScanOutputDirections() : std::nullopt;
      int64_t axis = axes && i < axes->size() ? (*axes)[i] : 0;
      SmallVector<Value> parts;
      for (Value value : list)
        parts.push_back(builder.unsqueeze(latest(value), {axis}));
      if (directions && i < directions->size() && (*directions)[i])
        std::reverse(parts.begin(), parts.end());
      results.push_back(builder.concat(parts, axis));
    }
    for (auto [result, value] : llvm::zip_equal(op->getResults(), results))
      if (value)
        replace(result, value);
    dead.insert(op);
    remarkPassed(op, "fold-control-flow", "unrolled, " + Twine(state.turn) + " turns");
    return static_cast<Operation *>(nullptr);
  }

  LogicalResult refuse(Operation *op, Value decider, const Twine &why) {
    std::string sources = sourcesOf(decider);
    InFlightDiagnostic diagnostic = emitError(op->getLoc()) << describe(op) << ": " << why.str();
    if (!sources.empty())
      diagnostic << "; it follows from input " << sources
                 << ": give its value (--set NAME=VALUE) or its sizes (--dim NAME=SIZE)";
    return failure();
  }

  /// Ops in both branches of an If together, for both to be run.
  static constexpr int64_t maxSpeculated = 64;

  Block &body;
  SymbolicShapes shapes;
  int64_t maxOps, unrolledOps = 0;
  bool final;
  llvm::SetVector<Operation *> dead;
  llvm::DenseMap<Value, Value> replaced;
  llvm::DenseMap<Operation *, Speculated> speculated;
  llvm::DenseMap<Operation *, Unrolling> unrolled;
};

class FoldControlFlow : public caat::impl::ONNXFoldControlFlowPassBase<FoldControlFlow> {
public:
  using ONNXFoldControlFlowPassBase::ONNXFoldControlFlowPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    Block &body = function.getBody().front();
    if (llvm::none_of(body, llvm::IsaPred<onnx::IfOp, onnx::LoopOp, onnx::ScanOp>)) {
      markAllAnalysesPreserved();
      return;
    }
    if (failed(ControlFlowFolder(function, maxOps, final).run()))
      return signalPassFailure();
    function.setType(
        FunctionType::get(&getContext(), function.getArgumentTypes(), body.getTerminator()->getOperandTypes()));
  }
};

} // namespace
