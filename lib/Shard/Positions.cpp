// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Positions.h"

using namespace mlir;

namespace caat::shard {

AffineExpr RunSizes::firstPosition(AffineExpr size) const {
  if (size == tokens)
    return past;
  return size && (size == keys || size == past) ? getAffineConstantExpr(0, size.getContext()) : AffineExpr();
}

Positions::Positions(func::FuncOp function, const SymbolicShapes &shapes, RunSizes sizes)
    : shapes(shapes), sizes(sizes) {
  addArguments(function);
  for (Operation &op : function.getBody().front())
    visit(&op);
}

const Progression *Positions::get(Value value) const {
  auto it = progressions.find(value);
  return it == progressions.end() ? nullptr : &it->second;
}

bool Positions::isNumber(Value value, AffineExpr number) const {
  const Progression *known = get(value);
  return known && known->dim < 0 && known->base == number;
}

bool Positions::isPosition(Value value) const {
  const Progression *known = get(value);
  return known && known->dim >= 0 && known->base == sizes.firstPosition(shapes.getDim(value, known->dim));
}

ArrayRef<Cut> Positions::getCuts(Operation *slice) const {
  auto it = slices.find(slice);
  return it == slices.end() ? ArrayRef<Cut>() : ArrayRef<Cut>(it->second.cuts);
}

void Positions::addArguments(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "onnx.name");
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!name || !type || !isa<IntegerType>(type.getElementType()))
      continue;
    if (name == "attention_mask")
      set(argument, {shapes.constant(1)});
    else if ((name == "position_ids" || name == "cache_position") && type.getRank() > 0)
      set(argument, {sizes.past, type.getRank() - 1});
  }
}

void Positions::set(Value value, Progression progression) {
  if (!progression.base)
    return;
  AffineExpr first = shapes.constant(0);
  if (progression.dim >= 0) {
    AffineExpr size = shapes.getDim(value, progression.dim);
    first = RunSizes::isSettled(size) ? first : sizes.firstPosition(size);
  }
  progression.settled = first && RunSizes::isSettled(subDims(progression.base, first));
  progressions[value] = progression;
}

void Positions::visit(Operation *op) {
  if (isa<onnx::SliceOp>(op))
    cut(op);
  if (op->getNumResults() != 1)
    return;
  Value result = op->getResult(0);
  auto type = dyn_cast<RankedTensorType>(result.getType());
  if (!type || !isa<IntegerType>(type.getElementType()))
    return;
  std::optional<SymbolicShapes::Dims> elements = shapes.getElements(result);
  if (elements && !elements->empty() && elements->front() && llvm::all_equal(*elements))
    set(result, {elements->front()});
  else if (std::optional<Progression> known = infer(op))
    set(result, *known);
}

/// Dimensions are found again by their size: where two have the same, nothing is known, and nothing where a reshape may
/// have mixed them with others.
std::optional<Progression> Positions::inferMoved(Operation *op) {
  const Progression *from = get(op->getOperand(0));
  std::optional<SymbolicShapes::Dims> in = shapes.getDims(op->getOperand(0)), out = shapes.getDims(op->getResult(0));
  if (!from || from->dim < 0)
    return from ? std::optional(*from) : std::nullopt;
  if (!in || !out)
    return std::nullopt;
  AffineExpr size = (*in)[from->dim];
  if (!size || llvm::count(*in, size) != 1 || llvm::count(*out, size) != 1)
    return std::nullopt;
  auto isOther = [&](AffineExpr dim) { return dim != size && dim != shapes.constant(1); };
  if (isa<onnx::ReshapeOp>(op) && (llvm::any_of(*in, isOther) || llvm::any_of(*out, isOther)))
    return std::nullopt;
  return Progression{from->base, llvm::find(*out, size) - out->begin()};
}

/// The dimension of the result that dimension `dim` of `operand` is broadcast to; -1 where there is none.
static int64_t broadcastDim(const SymbolicShapes &shapes, Value operand, int64_t dim, Value result) {
  std::optional<int64_t> rank = shapes.getRank(operand), whole = shapes.getRank(result);
  if (dim < 0 || !rank || !whole || *whole < *rank)
    return -1;
  int64_t at = dim + *whole - *rank;
  AffineExpr size = shapes.getDim(operand, dim);
  return size && size == shapes.getDim(result, at) ? at : -1;
}

std::optional<Progression> Positions::inferSum(Operation *op, bool subtracts) {
  const Progression *a = get(op->getOperand(0)), *b = get(op->getOperand(1));
  if (!a || !b || (a->dim >= 0 && b->dim >= 0) || (subtracts && b->dim >= 0))
    return std::nullopt;
  unsigned counts = b->dim >= 0 ? 1 : 0; // the operand that does, if any
  int64_t dim = (counts ? b : a)->dim;
  int64_t at = broadcastDim(shapes, op->getOperand(counts), dim, op->getResult(0));
  if (dim >= 0 && at < 0)
    return std::nullopt;
  return Progression{subtracts ? subDims(a->base, b->base) : addDims(a->base, b->base), at};
}

std::optional<Progression> Positions::inferProduct(Operation *op) {
  const Progression *a = get(op->getOperand(0)), *b = get(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  if (a->dim < 0 && b->dim < 0)
    return Progression{mulDims(a->base, b->base)};
  // Times a mask.
  unsigned counts = a->dim >= 0 ? 0 : 1;
  const Progression *other = counts ? a : b;
  int64_t at = broadcastDim(shapes, op->getOperand(counts), (counts ? b : a)->dim, op->getResult(0));
  if (at < 0 || !isNumber(op->getOperand(1 - counts), shapes.constant(1)) || other->dim >= 0)
    return std::nullopt;
  return Progression{(counts ? b : a)->base, at};
}

/// Operands of one number, or that go on where the one before ends.
std::optional<Progression> Positions::inferJoined(onnx::ConcatOp concat) {
  std::optional<int64_t> rank = shapes.getRank(concat.getResult());
  std::optional<int64_t> axis = rank ? onnx::normalizeAxis(concat.getAxis(), *rank) : std::nullopt;
  const Progression *first = get(concat.getInputs().front());
  if (!axis || !first || (first->dim >= 0 && first->dim != *axis))
    return std::nullopt;
  AffineExpr next = first->base;
  for (Value input : concat.getInputs()) {
    const Progression *part = get(input);
    AffineExpr size = shapes.getDim(input, *axis);
    if (!part || part->dim != first->dim || !next || part->base != next || !size)
      return std::nullopt;
    next = first->dim < 0 ? next : addDims(next, size);
  }
  return *first;
}

/// The axes of a reduction; all of them where it names none.
static std::optional<SmallVector<int64_t>> summedAxes(onnx::ReduceSumOp sum, int64_t rank) {
  SmallVector<int64_t> axes;
  if (sum.getAxes()) {
    std::optional<SmallVector<int64_t>> given = onnx::constantInts(sum.getAxes());
    if (!given)
      return std::nullopt;
    axes = *given;
  }
  if (axes.empty() && !sum.getNoopWithEmptyAxes())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  return axes;
}

std::optional<Progression> Positions::infer(Operation *op) {
  Value result = op->getResult(0);
  if (auto range = dyn_cast<onnx::RangeOp>(op)) {
    if (shapes.getScalar(range.getDelta()) != shapes.constant(1))
      return std::nullopt;
    return Progression{shapes.getScalar(range.getStart()), 0};
  }
  if (auto cast = dyn_cast<onnx::CastOp>(op)) {
    const Progression *from = get(cast.getInput());
    unsigned width = getElementTypeOrSelf(result.getType()).getIntOrFloatBitWidth();
    if (!from || (width != 1 && width < 32))
      return std::nullopt;
    if (width != 1)
      return *from;
    std::optional<int64_t> number = from->dim < 0 ? constantDim(from->base) : std::nullopt;
    return number ? std::optional(Progression{shapes.constant(*number != 0)}) : std::nullopt;
  }
  if (isa<onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ReshapeOp, onnx::TransposeOp, onnx::ExpandOp>(op))
    return inferMoved(op);
  if (isa<onnx::AddOp>(op))
    return inferSum(op, /*subtracts=*/false);
  if (isa<onnx::SubOp>(op))
    return inferSum(op, /*subtracts=*/true);
  if (isa<onnx::MulOp>(op))
    return inferProduct(op);
  if (auto concat = dyn_cast<onnx::ConcatOp>(op))
    return inferJoined(concat);
  if (isa<onnx::MaxOp>(op) && op->getNumOperands() == 2) {
    const Progression *a = get(op->getOperand(0)), *b = get(op->getOperand(1));
    if (!a || !b || a->dim >= 0 || b->dim >= 0)
      return std::nullopt;
    for (auto [larger, other] : {std::pair(a, b), std::pair(b, a)})
      if (provablyGreaterEqual(larger->base, other->base))
        return *larger;
    return std::nullopt;
  }
  if (auto sum = dyn_cast<onnx::ReduceSumOp>(op)) {
    std::optional<SymbolicShapes::Dims> dims = shapes.getDims(sum.getData());
    const Progression *from = get(sum.getData());
    std::optional<SmallVector<int64_t>> axes = dims ? summedAxes(sum, dims->size()) : std::nullopt;
    if (!from || from->dim >= 0 || !axes)
      return std::nullopt;
    AffineExpr total = from->base;
    for (int64_t axis : *axes) {
      std::optional<int64_t> dim = onnx::normalizeAxis(axis, dims->size());
      if (!dim || !total || !(*dims)[*dim])
        return std::nullopt;
      total = mulDims(total, (*dims)[*dim]);
    }
    return Progression{total};
  }
  if (auto sum = dyn_cast<onnx::CumSumOp>(op)) {
    std::optional<SmallVector<int64_t>> axis = onnx::constantInts(sum.getAxis());
    std::optional<int64_t> rank = shapes.getRank(result);
    if (!axis || axis->size() != 1 || !rank || sum.getReverse() || !isNumber(sum.getX(), shapes.constant(1)))
      return std::nullopt;
    return Progression{shapes.constant(sum.getExclusive() ? 0 : 1),
                       onnx::normalizeAxis(axis->front(), *rank).value_or(-1)};
  }
  if (auto slice = dyn_cast<onnx::SliceOp>(op)) {
    const Progression *from = get(slice.getData());
    auto bounds = slices.find(op);
    if (!from || from->dim < 0)
      return from ? std::optional(*from) : std::nullopt;
    if (bounds == slices.end() || !bounds->second.starts[from->dim])
      return std::nullopt;
    return Progression{addDims(from->base, bounds->second.starts[from->dim]), from->dim};
  }
  return std::nullopt;
}

/// Whether `part` elements from `from` on, of a dimension of size `size`, are the same in all runs. A dimension that is
/// none of positions is the same itself, or it is refused anyway.
bool Positions::isSettled(AffineExpr size, AffineExpr part, AffineExpr from, int64_t step) const {
  if (!size || !part || !from)
    return false;
  bool isFixed = RunSizes::isSettled(size);
  AffineExpr first = isFixed ? shapes.constant(0) : sizes.firstPosition(size);
  AffineExpr position = first ? addDims(first, from) : AffineExpr();
  if (RunSizes::isSettled(part))
    return RunSizes::isSettled(position) && (isFixed || step == 1);
  return step == 1 && position && position == sizes.firstPosition(part);
}

/// Elements [start, start + size) of a dimension whose elements belong to the positions from its first one on.
void Positions::cut(Operation *op) {
  auto slice = cast<onnx::SliceOp>(op);
  std::optional<SymbolicShapes::Dims> in = shapes.getDims(slice.getData()), out = shapes.getDims(slice.getOutput());
  std::optional<SymbolicShapes::Dims> starts = shapes.getElements(slice.getStarts());
  std::optional<SmallVector<int64_t>> axes, steps;
  if (!in || !out || !starts)
    return;
  axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  steps = SmallVector<int64_t>(starts->size(), 1);
  if (slice.getAxes())
    axes = onnx::constantInts(slice.getAxes());
  if (slice.getSteps())
    steps = onnx::constantInts(slice.getSteps());
  if (!axes || !steps || axes->size() != starts->size() || steps->size() != starts->size())
    return;
  Bounds bounds{SmallVector<Cut, 4>(in->size(), Cut::None), SymbolicShapes::Dims(in->size(), shapes.constant(0))};
  for (auto [given, step, start] : llvm::zip_equal(*axes, *steps, *starts)) {
    std::optional<int64_t> dim = onnx::normalizeAxis(given, in->size());
    if (!dim)
      return;
    AffineExpr size = (*in)[*dim], part = (*out)[*dim], from = start;
    std::optional<int64_t> number = from ? constantDim(from) : std::nullopt;
    if ((number && *number < 0) || (from && from == subDims(shapes.constant(0), sizes.tokens)))
      from = size ? addDims(size, from) : AffineExpr(); // from the end
    bounds.starts[*dim] = step == 1 ? from : AffineExpr();
    if (size && size == part && step == 1 && from == shapes.constant(0))
      bounds.cuts[*dim] = Cut::None;
    else
      bounds.cuts[*dim] = isSettled(size, part, from, step) ? Cut::Settled : Cut::Unknown;
  }
  slices[op] = std::move(bounds);
}

} // namespace caat::shard
