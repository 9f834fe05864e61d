// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elements of small integer tensors, as exporters use them to compute shapes: each is an expression over dimensions.
#include "Positions.h"
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

using Dims = SymbolicShapes::Dims;

/// Shape of a value that is small enough to be tracked.
static std::optional<SmallVector<int64_t>> smallShape(Value value, const SymbolicShapes &shapes) {
  auto dims = shapes.getDims(value);
  if (!dims)
    return std::nullopt;
  SmallVector<int64_t> shape;
  int64_t count = 1;
  for (AffineExpr dim : *dims) {
    auto size = constantDim(dim);
    if (!size || *size < 0 || *size > SymbolicShapes::maxElements || (count *= *size) > SymbolicShapes::maxElements)
      return std::nullopt;
    shape.push_back(*size);
  }
  return shape;
}

static int64_t numElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

static void elementsOfConstant(onnx::ConstantOp op, SymbolicShapes &shapes) {
  auto value = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!value || !value.getElementType().isInteger() || value.getNumElements() > SymbolicShapes::maxElements)
    return;
  bool isBool = value.getElementType().isInteger(1), isUnsigned = value.getElementType().isUnsignedInteger();
  Dims elements;
  for (const APInt &element : value.getValues<APInt>())
    if (isUnsigned && element.getActiveBits() > 63)
      elements.push_back({}); // no int64
    else
      elements.push_back(shapes.constant(isBool || isUnsigned ? element.getZExtValue() : element.getSExtValue()));
  shapes.setElements(op.getOutput(), elements);
}

/// One element of a binary op, null where unknown.
static AffineExpr combine(Operation *op, AffineExpr a, AffineExpr b, SymbolicShapes &shapes) {
  auto truth = [&](std::optional<bool> value) { return value ? shapes.constant(*value ? 1 : 0) : AffineExpr(); };
  if (isa<onnx::AndOp, onnx::OrOp>(op)) { // one side may decide alone
    bool isAnd = isa<onnx::AndOp>(op);
    auto x = constantDim(a), y = constantDim(b);
    if (x == (isAnd ? 0 : 1) || y == (isAnd ? 0 : 1))
      return shapes.constant(isAnd ? 0 : 1);
    return x && y ? shapes.constant(isAnd ? 1 : 0) : AffineExpr();
  }
  if (!a || !b)
    return {};
  auto greater = [&](AffineExpr x, AffineExpr y) -> std::optional<bool> {
    if (shapes.isGreaterEqual(x, addDims(y, shapes.constant(1))))
      return true;
    if (shapes.isGreaterEqual(y, x))
      return false;
    return std::nullopt;
  };
  auto negate = [](std::optional<bool> value) { return value ? std::optional<bool>(!*value) : value; };
  return TypeSwitch<Operation *, AffineExpr>(op)
      .Case([&](onnx::AddOp) { return addDims(a, b); })
      .Case([&](onnx::SubOp) { return subDims(a, b); })
      .Case([&](onnx::MulOp) { return mulDims(a, b); })
      .Case([&](onnx::DivOp) -> AffineExpr {
        auto x = constantDim(a), y = constantDim(b);
        if (x && y)
          return *y && (*y != -1 || *x != INT64_MIN) ? shapes.constant(*x / *y) : AffineExpr();
        // ONNX truncates: the same as rounding down only for what is not negative.
        return shapes.isNonNegative(a) && shapes.isNonNegative(b) ? divDims(a, b) : AffineExpr();
      })
      .Case([&](onnx::ModOp) -> AffineExpr {
        auto x = constantDim(a), y = constantDim(b);
        return x && y && *x >= 0 && *y > 0 ? shapes.constant(*x % *y) : AffineExpr();
      })
      .Case([&](onnx::EqualOp) { return truth(compareDims(a, b)); })
      .Case([&](onnx::GreaterOp) { return truth(greater(a, b)); })
      .Case([&](onnx::LessOp) { return truth(greater(b, a)); })
      .Case([&](onnx::GreaterOrEqualOp) { return truth(negate(greater(b, a))); })
      .Case([&](onnx::LessOrEqualOp) { return truth(negate(greater(a, b))); })
      .Case([&](onnx::MaxOp) { return shapes.larger(a, b); })
      .Case([&](onnx::MinOp) { return shapes.smaller(a, b); })
      .Default(AffineExpr());
}

static void elementsOfBroadcast(Operation *op, SymbolicShapes &shapes) {
  auto shape = smallShape(op->getResult(0), shapes);
  if (!shape)
    return;
  SmallVector<Dims> operands;
  SmallVector<SmallVector<int64_t>> operandShapes;
  for (Value operand : op->getOperands()) {
    auto itsShape = smallShape(operand, shapes);
    if (!itsShape)
      return;
    operands.push_back(shapes.getElements(operand).value_or(Dims(numElements(*itsShape))));
    operandShapes.push_back(*itsShape);
  }
  Dims result;
  for (int64_t i = 0, e = numElements(*shape); i < e; ++i) {
    SmallVector<int64_t> index = delinearize(i, *shape);
    auto at = [&](unsigned operand) { return operands[operand][broadcastPosition(index, operandShapes[operand])]; };
    AffineExpr element = at(0);
    if (isa<onnx::WhereOp>(op)) {
      auto condition = constantDim(element);
      element = condition ? at(*condition ? 1 : 2) : at(1) == at(2) ? at(1) : AffineExpr();
    } else if (isa<onnx::NotOp>(op)) {
      auto value = constantDim(element);
      element = value ? shapes.constant(*value == 0) : AffineExpr();
    } else if (isa<onnx::NegOp>(op)) {
      element = element ? subDims(shapes.constant(0), element) : AffineExpr();
    } else if (isa<onnx::AbsOp>(op)) {
      element = element && provablyGreaterEqual(element, shapes.constant(0)) ? element : AffineExpr();
    } else if (isa<onnx::CastOp>(op)) {
      if (cast<onnx::CastOp>(op).getTo().isInteger(1))
        if (auto value = constantDim(element))
          element = shapes.constant(*value != 0);
    } else if (!isa<onnx::IdentityOp>(op)) {
      for (unsigned operand = 1; operand < operands.size(); ++operand)
        element = combine(op, element, at(operand), shapes);
    }
    result.push_back(element);
  }
  shapes.setElements(op->getResult(0), result);
}

static void elementsOfReduction(Operation *op, SymbolicShapes &shapes) {
  auto input = shapes.getElements(op->getOperand(0));
  auto shape = smallShape(op->getOperand(0), shapes), result = smallShape(op->getResult(0), shapes);
  if (!input || !shape || !result || numElements(*result) != 1 || input->empty())
    return;
  AffineExpr total = input->front();
  for (AffineExpr element : ArrayRef(*input).drop_front()) {
    if (!total || !element)
      return;
    if (isa<onnx::ReduceSumOp>(op))
      total = addDims(total, element);
    else if (isa<onnx::ReduceProdOp>(op))
      total = mulDims(total, element);
    else if (bool max = isa<onnx::ReduceMaxOp>(op); provablyGreaterEqual(total, element))
      total = max ? total : element;
    else if (provablyGreaterEqual(element, total))
      total = max ? element : total;
    else
      return;
  }
  shapes.setElements(op->getResult(0), {total});
}

static void elementsOfGather(onnx::GatherOp op, SymbolicShapes &shapes) {
  auto data = shapes.getElements(op.getData());
  auto indices = shapes.getConstants(op.getIndices());
  if (!data || !indices || shapes.getRank(op.getData()) != 1)
    return;
  Dims result;
  for (int64_t index : *indices) {
    auto place = onnx::normalizeAxis(index, data->size());
    result.push_back(place ? (*data)[*place] : AffineExpr());
  }
  shapes.setElements(op.getOutput(), result);
}

static void elementsOfSlice(onnx::SliceOp op, SymbolicShapes &shapes) {
  auto data = shapes.getElements(op.getData());
  auto starts = shapes.getConstants(op.getStarts()), ends = shapes.getConstants(op.getEnds());
  auto steps = op.getSteps() ? shapes.getConstants(op.getSteps()) : SmallVector<int64_t>{1};
  if (!data || shapes.getRank(op.getData()) != 1 || !starts || !ends || !steps || starts->size() != 1 ||
      ends->size() != 1 || steps->size() != 1 || steps->front() <= 0)
    return;
  int64_t size = data->size();
  auto clamp = [&](int64_t bound) {
    return std::clamp(bound < 0 ? std::max(bound, -size) + size : bound, int64_t(0), size);
  };
  Dims result;
  for (int64_t i = clamp(starts->front()), e = clamp(ends->front()); i < e; i += steps->front())
    result.push_back((*data)[i]);
  shapes.setElements(op.getOutput(), result);
}

static AffineExpr evaluate(Value value, SymbolicShapes &shapes, int &left);

/// `x == 1 ? y : x`, the size of a broadcast.
static AffineExpr evaluateBroadcast(arith::SelectOp op, SymbolicShapes &shapes, int &left) {
  auto isOne = op.getCondition().getDefiningOp<arith::CmpIOp>();
  if (!isOne || isOne.getPredicate() != arith::CmpIPredicate::eq || isOne.getLhs() != op.getFalseValue() ||
      !matchPattern(isOne.getRhs(), m_One()))
    return {};
  AffineExpr x = evaluate(op.getFalseValue(), shapes, left), y = evaluate(op.getTrueValue(), shapes, left);
  return x && y ? shapes.chooseBroadcast(x, y) : AffineExpr();
}

/// Scalar index arithmetic, as this stage itself writes it; `left` bounds the operations that are looked at.
static AffineExpr evaluate(Value value, SymbolicShapes &shapes, int &left) {
  if (left-- <= 0)
    return {};
  IntegerAttr constant;
  if (matchPattern(value, m_Constant(&constant)))
    return shapes.constant(constant.getInt());
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  if (isa<arith::IndexCastOp, arith::ExtSIOp>(op))
    return evaluate(op->getOperand(0), shapes, left);
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    auto axis = dim.getConstantIndex();
    return axis ? shapes.getDim(dim.getSource(), *axis) : AffineExpr();
  }
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return evaluateBroadcast(select, shapes, left);
  if (op->getNumOperands() != 2 ||
      !isa<arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::FloorDivSIOp, arith::MaxSIOp, arith::MinSIOp>(op))
    return {};
  AffineExpr a = evaluate(op->getOperand(0), shapes, left), b = evaluate(op->getOperand(1), shapes, left);
  if (!a || !b)
    return {};
  if (isa<arith::AddIOp>(op))
    return addDims(a, b);
  if (isa<arith::SubIOp>(op))
    return subDims(a, b);
  if (isa<arith::MaxSIOp, arith::MinSIOp>(op))
    return isa<arith::MaxSIOp>(op) ? shapes.larger(a, b) : shapes.smaller(a, b);
  return isa<arith::MulIOp>(op) ? mulDims(a, b) : divDims(a, b);
}

/// repeat_interleave of torch's older exporter makes repeats of one: [1, n, 1].
static void elementsOfOneHot(onnx::OneHotOp op, SymbolicShapes &shapes) {
  auto indices = shapes.getConstants(op.getIndices());
  auto values = shapes.getElements(op.getValues());
  auto depth = constantDim(shapes.getScalar(op.getDepth()));
  auto rank = shapes.getRank(op.getIndices());
  if (!indices || !values || values->size() != 2 || rank != 1 || !depth || *depth < 0 ||
      *depth * static_cast<int64_t>(indices->size()) > SymbolicShapes::maxElements ||
      (op.getAxis() != -1 && op.getAxis() != 1))
    return;
  Dims result;
  for (int64_t index : *indices)
    for (int64_t i = 0; i < *depth; ++i)
      result.push_back((*values)[i == (index < 0 ? index + *depth : index)]);
  shapes.setElements(op.getOutput(), result);
}

void inferElements(Operation *operation, SymbolicShapes &shapes) {
  if (operation->getNumResults() != 1)
    return;
  auto type = dyn_cast<TensorType>(operation->getResult(0).getType());
  if (!type || !type.getElementType().isInteger())
    return;
  // Ops that only rearrange the result's shape keep the elements in order.
  auto copy = [&](Value from, Value to) {
    if (auto elements = shapes.getElements(from))
      shapes.setElements(to, *elements);
  };
  TypeSwitch<Operation *>(operation)
      .Case([&](onnx::ConstantOp op) { elementsOfConstant(op, shapes); })
      .Case([&](onnx::ShapeOp op) {
        auto dims = shapes.getDims(op.getData());
        if (!dims)
          return;
        int64_t rank = dims->size();
        auto clamp = [&](int64_t bound) { return std::clamp(bound < 0 ? bound + rank : bound, int64_t(0), rank); };
        int64_t first = clamp(op.getStart()), last = std::max(first, clamp(op.getEnd().value_or(rank)));
        shapes.setElements(op.getShape(), ArrayRef(*dims).slice(first, last - first));
      })
      .Case([&](onnx::SizeOp op) {
        auto dims = shapes.getDims(op.getData());
        if (!dims)
          return;
        AffineExpr product = shapes.constant(1);
        for (AffineExpr dim : *dims)
          product = mulDims(product, dim);
        shapes.setElements(op.getSize(), {product});
      })
      .Case([&](onnx::GatherOp op) { elementsOfGather(op, shapes); })
      .Case([&](onnx::SliceOp op) { elementsOfSlice(op, shapes); })
      .Case([&](onnx::ConcatOp op) {
        if (shapes.getRank(op.getConcatResult()) != 1)
          return;
        Dims result;
        for (Value input : op.getInputs()) {
          auto length = shapes.getStaticDim(input, 0);
          if (!length || *length > SymbolicShapes::maxElements)
            return;
          result.append(shapes.getElements(input).value_or(Dims(*length)));
        }
        shapes.setElements(op.getConcatResult(), result);
      })
      .Case([&](onnx::UnsqueezeOp op) { copy(op.getData(), op.getExpanded()); })
      .Case([&](onnx::SqueezeOp op) { copy(op.getData(), op.getSqueezed()); })
      .Case([&](onnx::ReshapeOp op) { copy(op.getData(), op.getReshaped()); })
      .Case([&](onnx::FlattenOp op) { copy(op.getInput(), op.getOutput()); })
      .Case([&](onnx::ExpandOp op) {
        auto shape = smallShape(op.getOutput(), shapes);
        auto elements = shapes.getElements(op.getInput());
        if (shape && elements && elements->size() == 1)
          shapes.setElements(op.getOutput(), Dims(numElements(*shape), elements->front()));
      })
      .Case([&](onnx::ConstantOfShapeOp op) {
        auto shape = smallShape(op.getOutput(), shapes);
        auto fill = dyn_cast_if_present<DenseElementsAttr>(op.getValueAttr());
        if (!shape || !fill || fill.getNumElements() != 1)
          return;
        APInt value = *fill.getValues<APInt>().begin();
        bool isUnsigned = value.getBitWidth() == 1 || fill.getElementType().isUnsignedInteger();
        if (isUnsigned && value.getActiveBits() > 63)
          return; // no int64
        AffineExpr element = shapes.constant(isUnsigned ? value.getZExtValue() : value.getSExtValue());
        shapes.setElements(op.getOutput(), Dims(numElements(*shape), element));
      })
      .Case([&](onnx::OneHotOp op) { elementsOfOneHot(op, shapes); })
      .Case([&](onnx::RangeOp op) {
        auto count = shapes.getStaticDim(op.getOutput(), 0);
        AffineExpr start = shapes.getScalar(op.getStart()), delta = shapes.getScalar(op.getDelta());
        if (!count || *count > SymbolicShapes::maxElements || !start || !delta)
          return;
        Dims result;
        for (int64_t i = 0; i < *count; ++i)
          result.push_back(addDims(start, mulDims(delta, shapes.constant(i))));
        shapes.setElements(op.getOutput(), result);
      })
      .Case([&](tensor::FromElementsOp op) {
        Dims result;
        for (Value element : op.getElements()) {
          int left = 1000;
          result.push_back(evaluate(element, shapes, left));
        }
        shapes.setElements(op.getResult(), result);
      })
      .Case<onnx::ReduceSumOp, onnx::ReduceProdOp, onnx::ReduceMaxOp, onnx::ReduceMinOp>(
          [&](auto op) { elementsOfReduction(op, shapes); })
      .Default([&](Operation *op) {
        if (op->hasTrait<onnx::BroadcastElementwise>() && !op->getOperands().empty())
          elementsOfBroadcast(op, shapes);
      });
}

} // namespace caat
