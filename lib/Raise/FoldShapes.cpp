// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-fold-shapes: see Passes.td.
#include "Divisors.h"
#include "SizeCheck.h"
#include "caat/Raise/ConstantFolding.h"
#include "caat/Raise/Passes.h"
#include "caat/Raise/SymbolicShapes.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

namespace caat {
#define GEN_PASS_DEF_ONNXFOLDSHAPESPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Ops that repeat elements are only folded to tensors of at most this many.
static constexpr int64_t maxRepeated = 4096;

/// Whether a type changed.
static bool refineResultTypes(Operation *op, const SymbolicShapes &shapes) {
  if (!isa<onnx::ONNXDialect>(op->getDialect()) || isa<onnx::ConstantOp, onnx::GetInitializerOp>(op))
    return false;
  bool changed = false;
  for (Value result : op->getResults()) {
    if (!isa<TensorType>(result.getType()))
      continue;
    for (int64_t axis = 0, rank = shapes.getRank(result).value_or(0); axis < rank; ++axis)
      if (shapes.isProved(result, axis))
        op->setAttr(onnx::kProvedSizeAttr, UnitAttr::get(op->getContext()));
    Type type = shapes.refinedType(result);
    changed |= type != result.getType();
    result.setType(type);
  }
  return changed;
}

/// Sizes in bytes are 64-bit numbers everywhere.
static LogicalResult checkResultSizes(Operation *op) {
  for (Value result : op->getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (type && type.hasStaticShape() && type.getElementType().isIntOrFloat() && !onnx::storageBytes(type))
      return op->emitError("a result of type ") << type << " is too large";
  }
  return success();
}

static constexpr StringLiteral kEqualSizes = " needs equal sizes: ";

/// Adds an `onnx.check` that sizes are equal which `assumption.op` needs to be. Whether there is one more.
static bool checkEqualSizes(OpBuilder &builder, const SymbolicShapes::Assumption &assumption,
                            const SymbolicShapes &shapes, llvm::StringSet<> &checked) {
  auto [op, a, b] = assumption;
  if (constantDim(a) && constantDim(b))
    return false; // the op's verifier says so
  if ((constantDim(a) && shapes.isArgumentSize(b)) || (constantDim(b) && shapes.isArgumentSize(a)))
    return false; // the argument gets the size as its type, and what is passed has to have it
  std::string node;
  if (auto named = dyn_cast<NameLoc>(op->getLoc()))
    node = "node '" + named.getName().str() + "' ";
  std::string sizes = shapes.describe(a) + " and " + shapes.describe(b);
  if (!checked.insert(sizes).second)
    return false;
  Location loc = op->getLoc();
  Value x = shapes.materializeAsWas(builder, loc, a), y = shapes.materializeAsWas(builder, loc, b);
  if (!x || !y)
    return false;
  std::string message = node + "(" + op->getName().stripDialect().str() + ")" + kEqualSizes.str() + sizes;
  addSizeCheck(builder, loc, arith::CmpIPredicate::eq, x, y, message);
  return true;
}

/// Whether `value` is a constant of one element, which is `number`. A vector of ones is a weight and stays.
static bool isScalar(Value value, double number) {
  auto constant = value.getDefiningOp<onnx::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!dense || dense.getNumElements() != 1)
    return false;
  if (isa<FloatType>(dense.getElementType()))
    return dense.getSplatValue<APFloat>().isExactlyValue(number);
  APInt element = dense.getSplatValue<APInt>();
  return dense.getElementType().isInteger(1) ? element.getBoolValue() == (number != 0)
                                             : element.getSExtValue() == static_cast<int64_t>(number);
}

/// What `value` is a reshape of, itself if it is none.
static Value beforeReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// The operand that `op` returns unchanged, if it is such an op.
static Value forwardedOperand(Operation *op, const SymbolicShapes &shapes) {
  auto other = [&](double neutral) -> Value {
    for (unsigned i : {0, 1})
      if (isScalar(op->getOperand(i), neutral) && shapes.sameShape(op->getOperand(1 - i), op->getResult(0)))
        return op->getOperand(1 - i);
    return {};
  };
  return TypeSwitch<Operation *, Value>(op)
      .Case([](onnx::IdentityOp op) { return op.getInput(); })
      .Case([](onnx::CastOp op) {
        return op.getTo() == getElementTypeOrSelf(op.getInput().getType()) ? op.getInput() : Value();
      })
      .Case<onnx::ExpandOp, onnx::SqueezeOp, onnx::UnsqueezeOp>(
          [&](auto op) { return shapes.sameShape(op->getOperand(0), op->getResult(0)) ? op->getOperand(0) : Value(); })
      .Case([&](onnx::ReshapeOp op) {
        Value origin = beforeReshapes(op.getData());
        return shapes.sameShape(origin, op.getReshaped()) ? origin : Value();
      })
      .Case([&](onnx::SliceOp op) -> Value {
        if (op.getSteps()) {
          auto steps = shapes.getConstants(op.getSteps());
          if (!steps || llvm::any_of(*steps, [](int64_t step) { return step != 1; }))
            return {};
        }
        return shapes.sameShape(op.getData(), op.getOutput()) ? op.getData() : Value();
      })
      .Case([](onnx::TransposeOp op) -> Value {
        if (!op.getPerm())
          return {};
        for (auto [i, axis] : llvm::enumerate(*op.getPerm()))
          if (static_cast<int64_t>(i) != axis)
            return {};
        return op.getData();
      })
      .Case([](onnx::ConcatOp op) { return op.getInputs().size() == 1 ? op.getInputs().front() : Value(); })
      .Case([&](onnx::MulOp) { return other(1.0); })
      .Case([&](onnx::AndOp) { return other(1.0); })
      .Case([&](onnx::DivOp op) {
        return isScalar(op.getB(), 1.0) && shapes.sameShape(op.getA(), op.getC()) ? op.getA() : Value();
      })
      .Default(Value());
}

/// CastLike becomes Cast: the element type is known, and the tensor that named it need not be computed. Whether there
/// was one.
static bool nameCastTypes(func::FuncOp function) {
  bool changed = false;
  function.walk([&](onnx::CastLikeOp op) {
    OpBuilder builder(op);
    TypeAttr element = TypeAttr::get(getElementTypeOrSelf(op.getOutput()));
    op.replaceAllUsesWith(onnx::CastOp::create(builder, op.getLoc(), op.getOutput().getType(), op.getInput(), element,
                                               op.getSaturateAttr(), op.getRoundModeAttr())
                              .getOutput());
    op.erase();
    changed = true;
  });
  return changed;
}

/// The shape operand of a Reshape of `data` to the op's shape, as constants: 0 copies, one -1 takes the rest. Nothing
/// if two dims would need it.
static std::optional<SmallVector<int64_t>> reshapeTarget(onnx::ReshapeOp op, Value data, const SymbolicShapes &shapes) {
  auto from = shapes.getDims(data), to = shapes.getDims(op.getReshaped());
  if (!from || !to)
    return std::nullopt;
  SmallVector<int64_t> entries;
  bool inferred = false;
  for (auto [axis, dim] : llvm::enumerate(*to)) {
    auto size = constantDim(dim);
    if (size == 0)
      return std::nullopt;
    if (size) {
      entries.push_back(*size);
    } else if (axis < from->size() && (*from)[axis] == dim) {
      entries.push_back(0);
    } else if (!inferred) {
      entries.push_back(-1);
      inferred = true;
    } else {
      return std::nullopt;
    }
  }
  return entries;
}

/// The shape operand of an Expand as constants: 1 keeps a dimension.
static Value constantExpandTarget(OpBuilder &builder, onnx::ExpandOp op, const SymbolicShapes &shapes) {
  auto from = shapes.getDims(op.getInput()), to = shapes.getDims(op.getOutput());
  if (!from || !to || from->size() > to->size())
    return {};
  size_t offset = to->size() - from->size();
  SmallVector<int64_t> entries;
  for (auto [axis, dim] : llvm::enumerate(*to)) {
    if (axis >= offset && (*from)[axis - offset] == dim)
      entries.push_back(1);
    else if (auto size = constantDim(dim))
      entries.push_back(*size);
    else
      return {};
  }
  return onnx::createInts(builder, op.getLoc(), entries);
}

/// The ends of a Slice as constants, where a symbolic one is the size of the dimension.
static Value constantSliceEnds(OpBuilder &builder, onnx::SliceOp op, const SymbolicShapes &shapes) {
  auto ends = shapes.getElements(op.getEnds());
  auto rank = shapes.getRank(op.getData());
  auto axes = op.getAxes() ? shapes.getConstants(op.getAxes())
                           : llvm::to_vector(llvm::seq<int64_t>(0, ends ? ends->size() : 0));
  if (!ends || !rank || !axes || axes->size() != ends->size())
    return {};
  SmallVector<int64_t> entries;
  for (auto [axis, end] : llvm::zip(*axes, *ends)) {
    if (auto number = constantDim(end))
      entries.push_back(*number);
    else if (end && end == shapes.getDim(op.getData(), axis))
      entries.push_back(std::numeric_limits<int64_t>::max());
    else
      return {};
  }
  return onnx::createInts(builder, op.getLoc(), entries);
}

/// Whether something changed.
static bool simplifyShapeOperand(OpBuilder &builder, Operation *op, const SymbolicShapes &shapes) {
  auto isConstant = [](Value value) { return static_cast<bool>(value.getDefiningOp<onnx::ConstantOp>()); };
  if (auto reshape = dyn_cast<onnx::ReshapeOp>(op)) {
    // Of a chain of reshapes the last one is enough, if its shape can be said without the others.
    for (Value data : {beforeReshapes(reshape.getData()), Value(reshape.getData())}) {
      auto target = reshapeTarget(reshape, data, shapes);
      if (!target)
        continue;
      if (data == reshape.getData() && onnx::constantInts(reshape.getShape()) == target && !reshape.getAllowzero())
        return false;
      reshape.getDataMutable().assign(data);
      reshape.getShapeMutable().assign(onnx::createInts(builder, op->getLoc(), *target));
      reshape.setAllowzero(0);
      return true;
    }
  } else if (auto expand = dyn_cast<onnx::ExpandOp>(op); expand && !isConstant(expand.getShape())) {
    Value target = constantExpandTarget(builder, expand, shapes);
    if (target)
      expand.getShapeMutable().assign(target);
    return static_cast<bool>(target);
  } else if (auto split = dyn_cast<onnx::SplitOp>(op); split && !split.getSplit()) {
    SmallVector<int64_t> sizes;
    for (Value part : split.getOutputs())
      if (auto size = shapes.getStaticDim(part, split.getAxis()))
        sizes.push_back(*size);
    if (sizes.size() != split.getNumResults())
      return false;
    split.getSplitMutable().assign(onnx::createInts(builder, op->getLoc(), sizes));
    split.removeNumOutputsAttr();
    return true;
  } else if (auto slice = dyn_cast<onnx::SliceOp>(op); slice && !isConstant(slice.getEnds())) {
    Value ends = constantSliceEnds(builder, slice, shapes);
    if (ends)
      slice.getEndsMutable().assign(ends);
    return static_cast<bool>(ends);
  }
  return false;
}

/// The tensor of known elements: a constant, or index arithmetic.
static Value materializeElements(OpBuilder &builder, Value value, const SymbolicShapes &shapes, bool onlyConstants) {
  auto type = dyn_cast<RankedTensorType>(shapes.refinedType(value));
  auto elements = shapes.getElements(value);
  if (!type || !type.hasStaticShape() || !elements || type.getNumElements() != static_cast<int64_t>(elements->size()) ||
      llvm::any_of(*elements, [](AffineExpr e) { return !e; }))
    return {};
  unsigned width = type.getElementTypeBitWidth();
  if (llvm::all_of(*elements, [](AffineExpr e) { return constantDim(e).has_value(); })) {
    SmallVector<APInt> numbers;
    for (AffineExpr element : *elements)
      numbers.push_back(APInt(64, *constantDim(element)).sextOrTrunc(width));
    return onnx::ConstantOp::create(builder, value.getLoc(), DenseElementsAttr::get(type, numbers));
  }
  if (onlyConstants || width < 32 || !type.getElementType().isSignlessInteger() ||
      !llvm::all_of(*elements, [&](AffineExpr e) { return shapes.canMaterialize(builder, e); }))
    return {};
  SmallVector<Value> scalars;
  for (AffineExpr element : *elements) {
    Value index = shapes.materialize(builder, value.getLoc(), element);
    scalars.push_back(arith::IndexCastOp::create(builder, value.getLoc(), type.getElementType(), index));
  }
  return tensor::FromElementsOp::create(builder, value.getLoc(), type, scalars);
}

/// Adds an `onnx.check` for each end of a Slice of a table that is taken to lie inside the table (see sliceLength in
/// ShapesMovement.cpp): a longer sequence then ends in a message. Whether there is one more.
static bool checkTableLengths(OpBuilder &builder, onnx::SliceOp op, const SymbolicShapes &shapes,
                              llvm::StringSet<> &checked) {
  auto ends = isTable(op.getData()) ? shapes.getElements(op.getEnds()) : std::nullopt;
  auto table = shapes.getDims(op.getData()), part = shapes.getDims(op.getOutput());
  auto axes = op.getAxes() ? shapes.getConstants(op.getAxes())
                           : llvm::to_vector(llvm::seq<int64_t>(0, ends ? ends->size() : 0));
  if (!ends || !table || !part || !axes || axes->size() != ends->size())
    return false;
  bool added = false;
  for (auto [axis, end] : llvm::zip(*axes, *ends)) {
    auto place = onnx::normalizeAxis(axis, table->size());
    std::optional<int64_t> size = place ? constantDim((*table)[*place]) : std::nullopt;
    AffineExpr length = place ? (*part)[*place] : AffineExpr();
    bool isAssumed = size && end && !constantDim(end) && length && !constantDim(length) &&
                     !shapes.isGreaterEqual(shapes.constant(*size), end) && shapes.canMaterialize(builder, end);
    if (!isAssumed)
      continue;
    std::string message =
        shapes.print(end) + " is larger than " + std::to_string(*size) + ", the number of positions that the model has";
    if (!checked.insert(message).second)
      continue;
    Location loc = op.getLoc();
    Value bound = arith::ConstantIndexOp::create(builder, loc, *size);
    addSizeCheck(builder, loc, arith::CmpIPredicate::ule, shapes.materialize(builder, loc, end), bound, message);
    added = true;
  }
  return added;
}

namespace {

/// Whether the last run found nothing to do; no pass has changed the function since, as the analysis would be gone.
struct NothingToFold {
  explicit NothingToFold(Operation *) {}
  std::optional<int64_t> maxElements; // of that run
};

class FoldShapes : public caat::impl::ONNXFoldShapesPassBase<FoldShapes> {
public:
  using ONNXFoldShapesPassBase::ONNXFoldShapesPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    auto known = getCachedAnalysis<NothingToFold>();
    if (function.isExternal() || (known && known->get().maxElements == maxElements)) {
      markAllAnalysesPreserved();
      return;
    }
    changed = nameCastTypes(function);
    auto &shapes = getAnalysis<SymbolicShapes>();
    Block &body = function.getBody().front();
    int64_t before = body.getOperations().size();
    if (failed(forward(body, shapes)))
      return signalPassFailure();
    updateSignature(function, shapes); // before values are erased, which the analysis would not notice
    backward(body, shapes);
    remark::analysis(function.getLoc(), remark::RemarkOpts::name("fold-shapes").category("caat"))
        << (std::to_string(before) + " ops before, " + std::to_string(body.getOperations().size()) + " after");
    if (!changed) {
      getAnalysis<NothingToFold>().maxElements = maxElements;
      markAllAnalysesPreserved();
    }
  }

private:
  /// Types, constants and forwarded values. Nothing is erased, since the analysis refers to values.
  LogicalResult forward(Block &body, SymbolicShapes &shapes) {
    llvm::StringSet<> checked;
    for (auto check : body.getOps<onnx::CheckOp>()) {
      auto [node, sizes] = check.getMessage().split(kEqualSizes);
      checked.insert(sizes.empty() ? node : sizes);
    }
    SmallVector<SymbolicShapes::Assumption> copy(shapes.getAssumptions()); // visits may add more
    ArrayRef<SymbolicShapes::Assumption> assumptions(copy);
    for (Operation &op : llvm::make_early_inc_range(body)) {
      if (op.hasTrait<OpTrait::IsTerminator>())
        continue;
      changed |= refineResultTypes(&op, shapes);
      if (failed(checkResultSizes(&op)))
        return failure();
      OpBuilder builder(&op);
      for (; !assumptions.empty() && assumptions.front().op == &op; assumptions = assumptions.drop_front())
        changed |= checkEqualSizes(builder, assumptions.front(), shapes, checked);
      if (auto slice = dyn_cast<onnx::SliceOp>(op))
        changed |= checkTableLengths(builder, slice, shapes, checked);
      changed |= checkSizesOf(builder, &op, shapes, checked);
      if (isa<onnx::ConstantOp>(op) || op.getNumResults() == 0)
        continue;
      auto replace = [&](Value by) {
        if (by.getDefiningOp<onnx::ConstantOp>())
          shapes.visit(by.getDefiningOp());
        op.getResult(0).replaceAllUsesWith(by);
        changed = true;
      };
      if (isa<onnx::ONNXDialect>(op.getDialect()) && op.getNumResults() == 1) {
        if (Value known = materializeElements(builder, op.getResult(0), shapes, /*onlyConstants=*/true)) {
          replace(known);
          continue;
        }
        bool repeats = isa<onnx::ExpandOp>(op);
        if (DenseElementsAttr value =
                foldConstantOp(&op, repeats ? std::min<int64_t>(maxRepeated, maxElements) : maxElements)) {
          replace(onnx::ConstantOp::create(builder, op.getLoc(), value));
          continue;
        }
      }
      if (Value same = forwardedOperand(&op, shapes)) {
        op.getResult(0).replaceAllUsesWith(same);
        changed = true;
        continue;
      }
      changed |= simplifyShapeOperand(builder, &op, shapes);
    }
    return success();
  }

  /// Erases what is dead and computes what is left of the shape arithmetic from dimensions.
  void backward(Block &body, SymbolicShapes &shapes) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body))) {
      bool mayErase = isMemoryEffectFree(&op) || isa<onnx::CustomOp>(op);
      if (op.use_empty() && mayErase && !op.hasTrait<OpTrait::IsTerminator>()) {
        op.erase();
        changed = true;
        continue;
      }
      if (!isa<onnx::ONNXDialect>(op.getDialect()) || op.getNumResults() != 1 || isa<onnx::ConstantOp>(op))
        continue;
      OpBuilder builder(&op);
      if (Value known = materializeElements(builder, op.getResult(0), shapes, /*onlyConstants=*/false)) {
        op.getResult(0).replaceAllUsesWith(known);
        op.erase();
        changed = true;
      }
    }
  }

  void updateSignature(func::FuncOp function, SymbolicShapes &shapes) {
    Builder builder(function.getContext());
    DictionaryAttr before = function->getAttrDictionary();
    auto texts = [&](Value value, ArrayAttr old) -> ArrayAttr {
      auto dims = shapes.getDims(value);
      if (!dims)
        return old;
      SmallVector<Attribute> names;
      for (auto [axis, dim] : llvm::enumerate(*dims)) {
        StringRef before = old && axis < old.size() ? cast<StringAttr>(old[axis]).getValue() : StringRef();
        std::string text = constantDim(dim) ? std::string() : shapes.print(dim);
        if (!constantDim(dim) && (text.empty() || shapes.parse(before) == dim))
          text = before.str();
        names.push_back(builder.getStringAttr(text));
      }
      return builder.getArrayAttr(names);
    };
    SmallVector<Type> inputs, results;
    for (BlockArgument argument : function.getArguments()) {
      argument.setType(shapes.refinedType(argument));
      inputs.push_back(argument.getType());
      unsigned number = argument.getArgNumber();
      if (auto old = function.getArgAttrOfType<ArrayAttr>(number, "onnx.dims"))
        function.setArgAttr(number, "onnx.dims", texts(argument, old));
    }
    Operation *terminator = function.getBody().front().getTerminator();
    for (auto [number, operand] : llvm::enumerate(terminator->getOperands())) {
      results.push_back(operand.getType());
      if (auto old = function.getResultAttrOfType<ArrayAttr>(number, "onnx.dims"))
        function.setResultAttr(number, "onnx.dims", texts(operand, old));
    }
    function.setType(FunctionType::get(function.getContext(), inputs, results));
    changed |= function->getAttrDictionary() != before;
  }

  bool changed = false;
};

} // namespace
