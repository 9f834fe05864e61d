// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "MaskEvaluator.h"

#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

namespace caat {

/// Operands may be shared, so depth alone does not bound the values that are looked at.
static constexpr unsigned maxAtoms = 5, maxDepth = 64, maxSteps = 4096;

using Dims = SymbolicShapes::Dims;

MaskElement MaskEvaluator::atom(MaskAtom atom) { return {{}, {std::move(atom)}, {0, 1}}; }

/// A bound and its negation are one atom: the one in which the last dimension grows.
MaskElement MaskEvaluator::atMostZero(AffineExpr bound) {
  for (unsigned i = sizes.size(); i-- > 0;) {
    AffineExpr dim = getAffineDimExpr(i, shapes.getContext());
    auto slope = constantDim(subDims(bound.replace(dim, dim + 1), bound));
    if (!slope || *slope > 0)
      break;
    if (*slope < 0)
      return {{}, {{subDims(shapes.constant(1), bound), Value(), {}}}, {1, 0}};
  }
  return atom({bound, Value(), {}});
}

std::optional<MaskElement> MaskEvaluator::evaluate(Value mask) {
  auto known = shapes.getDims(mask);
  if (!known)
    return std::nullopt;
  sizes = *known;
  Place place;
  for (auto [axis, size] : llvm::enumerate(sizes))
    place.push_back(constantDim(size) == 1 ? shapes.constant(0) : getAffineDimExpr(axis, shapes.getContext()));
  depth = steps = 0;
  return at(mask, place);
}

std::optional<std::pair<AffineExpr, AffineExpr>> MaskEvaluator::divide(AffineExpr index, AffineExpr size) {
  auto isWithin = [&](AffineExpr e) {
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      return dim.getPosition() < sizes.size() && sizes[dim.getPosition()] == size;
    return constantDim(e) == 0;
  };
  if (isWithin(index))
    return {{shapes.constant(0), index}};
  // Take each dim as the remainder in turn: what is left must be a multiple of the size.
  for (unsigned i = 0; i <= sizes.size(); ++i) {
    AffineExpr remainder = i < sizes.size() ? getAffineDimExpr(i, shapes.getContext()) : shapes.constant(0);
    if (!isWithin(remainder))
      continue;
    AffineExpr quotient = divDims(subDims(index, remainder), size);
    if (quotient && mulDims(quotient, size) == subDims(index, remainder))
      return {{quotient, remainder}};
  }
  return std::nullopt;
}

std::optional<MaskEvaluator::Place> MaskEvaluator::reshaped(ArrayRef<AffineExpr> place, ArrayRef<AffineExpr> from,
                                                            ArrayRef<AffineExpr> to) {
  auto withoutOnes = [](ArrayRef<AffineExpr> dims) {
    return llvm::to_vector(llvm::make_filter_range(dims, [](AffineExpr dim) { return constantDim(dim) != 1; }));
  };
  Place result;
  if (withoutOnes(from) == withoutOnes(to)) {
    Place rest;
    for (auto [index, size] : llvm::zip(place, from))
      if (constantDim(size) != 1)
        rest.push_back(index);
    auto *next = rest.begin();
    for (AffineExpr size : to)
      result.push_back(constantDim(size) == 1 ? shapes.constant(0) : *next++);
    return result;
  }
  AffineExpr linear = shapes.constant(0);
  for (auto [index, size] : llvm::zip(place, from))
    linear = addDims(mulDims(linear, size), index);
  result.resize(to.size());
  for (size_t axis = to.size(); axis-- > 1;) {
    auto parts = divide(linear, to[axis]);
    if (!parts)
      return std::nullopt;
    std::tie(linear, result[axis]) = *parts;
  }
  if (!to.empty())
    result[0] = linear;
  return result;
}

static std::optional<MaskElement> elementOf(DenseElementsAttr dense, int64_t place, const SymbolicShapes &shapes) {
  Type type = dense.getElementType();
  if (isa<FloatType>(type)) {
    APFloat number = *(dense.getValues<APFloat>().begin() + place);
    bool inexact;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
    return MaskElement::constant(number.convertToDouble());
  }
  if (!type.isInteger())
    return std::nullopt;
  APInt number = *(dense.getValues<APInt>().begin() + place);
  if (type.isInteger(1))
    return MaskElement::constant(number.getBoolValue());
  return MaskElement{shapes.constant(number.getSExtValue()), {}, {}};
}

MaskEvaluator::Result MaskEvaluator::constantAt(Operation *op, ArrayRef<AffineExpr> place) {
  auto dense = dyn_cast<DenseElementsAttr>(cast<onnx::ConstantOp>(op).getValue());
  if (!dense || dense.getNumElements() == 0)
    return std::nullopt;
  int64_t linear = 0;
  if (!dense.isSplat()) {
    for (auto [index, size] : llvm::zip(place, dense.getType().getShape())) {
      auto number = constantDim(index);
      if (!number || *number < 0 || *number >= size)
        return std::nullopt;
      linear = linear * size + *number;
    }
  }
  return elementOf(dense, linear, shapes);
}

MaskEvaluator::Result MaskEvaluator::load(Value value, ArrayRef<AffineExpr> place) {
  if (!getElementTypeOrSelf(value).isInteger())
    return std::nullopt;
  return atom({{}, value, Place(place)});
}

MaskEvaluator::Result MaskEvaluator::compare(Operation *op, AffineExpr a, AffineExpr b) {
  auto lessEqual = [&](AffineExpr x, AffineExpr y) -> MaskElement {
    if (provablyGreaterEqual(y, x))
      return MaskElement::constant(1);
    if (provablyGreater(x, y))
      return MaskElement::constant(0);
    return atMostZero(subDims(x, y));
  };
  AffineExpr one = shapes.constant(1);
  return TypeSwitch<Operation *, Result>(op)
      .Case([&](onnx::LessOrEqualOp) { return lessEqual(a, b); })
      .Case([&](onnx::GreaterOrEqualOp) { return lessEqual(b, a); })
      .Case([&](onnx::LessOp) { return lessEqual(addDims(a, one), b); })
      .Case([&](onnx::GreaterOp) { return lessEqual(addDims(b, one), a); })
      .Case([&](onnx::EqualOp) -> Result {
        auto equal = compareDims(a, b);
        return equal ? Result(MaskElement::constant(*equal)) : std::nullopt;
      })
      .Default(std::nullopt);
}

/// One entry of an element-wise op's table.
static std::optional<double> apply(Operation *op, ArrayRef<double> x) {
  return TypeSwitch<Operation *, std::optional<double>>(op)
      .Case<onnx::AndOp>([&](auto) { return x[0] != 0 && x[1] != 0; })
      .Case<onnx::OrOp>([&](auto) { return x[0] != 0 || x[1] != 0; })
      .Case<onnx::XorOp>([&](auto) { return (x[0] != 0) != (x[1] != 0); })
      .Case<onnx::NotOp>([&](auto) { return x[0] == 0; })
      .Case<onnx::WhereOp>([&](auto) { return x[0] != 0 ? x[1] : x[2]; })
      .Case<onnx::AddOp>([&](auto) { return x[0] + x[1]; })
      .Case<onnx::SubOp>([&](auto) { return x[0] - x[1]; })
      .Case<onnx::MulOp>([&](auto) { return x[0] * x[1]; })
      .Case<onnx::NegOp>([&](auto) { return -x[0]; })
      .Case<onnx::IdentityOp>([&](auto) { return x[0]; })
      .Case<onnx::CastOp>([&](auto cast) { return cast.getTo().isInteger(1) ? double(x[0] != 0) : x[0]; })
      .Case<onnx::EqualOp>([&](auto) { return x[0] == x[1]; })
      .Case<onnx::LessOp>([&](auto) { return x[0] < x[1]; })
      .Case<onnx::LessOrEqualOp>([&](auto) { return x[0] <= x[1]; })
      .Case<onnx::GreaterOp>([&](auto) { return x[0] > x[1]; })
      .Case<onnx::GreaterOrEqualOp>([&](auto) { return x[0] >= x[1]; })
      .Case<onnx::MinOp>([&](auto) { return std::min(x[0], x[1]); })
      .Case<onnx::MaxOp>([&](auto) { return std::max(x[0], x[1]); })
      .Default(std::nullopt);
}

MaskEvaluator::Result MaskEvaluator::combine(ArrayRef<MaskElement> operands, Entry entry) {
  MaskElement result;
  SmallVector<SmallVector<unsigned>> positions; // of each operand's atoms in the result's
  SmallVector<MaskElement, 3> tables;
  for (MaskElement operand : operands) {
    if (operand.integer) {
      auto number = constantDim(operand.integer);
      if (!number)
        return std::nullopt;
      operand = MaskElement::constant(static_cast<double>(*number));
    }
    SmallVector<unsigned> &places = positions.emplace_back();
    for (const MaskAtom &atom : operand.atoms) {
      auto *known = llvm::find(result.atoms, atom);
      places.push_back(known - result.atoms.begin());
      if (known == result.atoms.end())
        result.atoms.push_back(atom);
    }
    tables.push_back(std::move(operand));
  }
  if (result.atoms.size() > maxAtoms)
    return std::nullopt;
  for (unsigned assignment = 0; assignment < (1u << result.atoms.size()); ++assignment) {
    SmallVector<double> values;
    for (auto [operand, places] : llvm::zip(tables, positions)) {
      unsigned own = 0;
      for (auto [bit, place] : llvm::enumerate(places))
        own |= ((assignment >> place) & 1) << bit;
      values.push_back(operand.table[own]);
    }
    auto value = entry(values);
    if (!value)
      return std::nullopt;
    result.table.push_back(*value);
  }
  return result;
}

MaskEvaluator::Result MaskEvaluator::elementwise(Operation *op, ArrayRef<AffineExpr> place) {
  SmallVector<MaskElement, 3> operands;
  bool integers = true;
  for (Value operand : op->getOperands()) {
    auto dims = shapes.getDims(operand);
    if (!dims || dims->size() > place.size())
      return std::nullopt;
    Place own;
    for (auto [index, size] : llvm::zip(place.take_back(dims->size()), *dims))
      own.push_back(constantDim(size) == 1 ? shapes.constant(0) : index);
    Result element = at(operand, own);
    if (!element)
      return std::nullopt;
    integers &= static_cast<bool>(element->integer);
    operands.push_back(*element);
  }
  if (operands.size() == 1 && integers && isa<onnx::CastOp, onnx::IdentityOp>(op))
    if (!isa<onnx::CastOp>(op) || !cast<onnx::CastOp>(op).getTo().isInteger(1))
      return operands[0];
  if (operands.size() == 2 && integers) {
    AffineExpr a = operands[0].integer, b = operands[1].integer;
    if (isa<onnx::AddOp>(op))
      return MaskElement{addDims(a, b), {}, {}};
    if (isa<onnx::SubOp>(op))
      return MaskElement{subDims(a, b), {}, {}};
    if (isa<onnx::MulOp>(op))
      return MaskElement{mulDims(a, b), {}, {}};
    return compare(op, a, b);
  }
  return combine(operands, [&](ArrayRef<double> x) { return apply(op, x); });
}

MaskEvaluator::Result MaskEvaluator::gatherND(Operation *operation, ArrayRef<AffineExpr> place) {
  auto op = cast<onnx::GatherNDOp>(operation);
  auto depth = shapes.getStaticDim(op.getIndices(), -1);
  auto rank = shapes.getRank(op.getIndices());
  if (op.getBatchDims() != 0 || !depth || !rank)
    return std::nullopt;
  Place source;
  for (int64_t i = 0; i < *depth; ++i) {
    Place index(place.take_front(*rank - 1));
    index.push_back(shapes.constant(i));
    Result component = at(op.getIndices(), index);
    if (!component || !component->integer)
      return std::nullopt;
    source.push_back(component->integer);
  }
  source.append(place.begin() + *rank - 1, place.end());
  return at(op.getData(), source);
}

/// A scatter whose indices are each place itself replaces everything.
MaskEvaluator::Result MaskEvaluator::scatterND(Operation *operation, ArrayRef<AffineExpr> place) {
  auto op = cast<onnx::ScatterNDOp>(operation);
  int64_t rank = place.size();
  if (op.getReduction() != "none" || shapes.getStaticDim(op.getIndices(), -1) != rank ||
      !shapes.sameShape(op.getData(), op.getUpdates()))
    return std::nullopt;
  for (int64_t i = 0; i < rank; ++i) {
    Place index(place);
    index.push_back(shapes.constant(i));
    Result component = at(op.getIndices(), index);
    if (!component || component->integer != place[i])
      return std::nullopt;
  }
  return at(op.getUpdates(), place);
}

MaskEvaluator::Result MaskEvaluator::at(Value value, ArrayRef<AffineExpr> place) {
  // Small known integers first: they may come from any op.
  if (AffineExpr scalar = shapes.getScalar(value); scalar && !getElementTypeOrSelf(value).isInteger(1))
    return MaskElement{scalar, {}, {}};
  Operation *op = value.getDefiningOp();
  if (!op)
    return load(value, place);
  if (depth == maxDepth || ++steps > maxSteps)
    return std::nullopt;
  ++depth;
  llvm::scope_exit leave([&] { --depth; });
  auto sameElements = [&](Value from) -> Result {
    auto inner = shapes.getDims(from), outer = shapes.getDims(value);
    auto source = inner && outer ? reshaped(place, *outer, *inner) : std::nullopt;
    return source ? at(from, *source) : std::nullopt;
  };
  return TypeSwitch<Operation *, Result>(op)
      .Case([&](onnx::ConstantOp) { return constantAt(op, place); })
      .Case([&](onnx::RangeOp range) -> Result {
        AffineExpr start = shapes.getScalar(range.getStart()), delta = shapes.getScalar(range.getDelta());
        if (!start || !delta)
          return std::nullopt;
        return MaskElement{addDims(start, mulDims(delta, place[0])), {}, {}};
      })
      .Case<onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ReshapeOp, onnx::FlattenOp>(
          [&](auto) { return sameElements(op->getOperand(0)); })
      .Case([&](onnx::TransposeOp transpose) {
        Place source(place.size());
        for (size_t axis = 0; axis < place.size(); ++axis)
          source[transpose.getPerm() ? (*transpose.getPerm())[axis] : place.size() - 1 - axis] = place[axis];
        return at(transpose.getData(), source);
      })
      .Case([&](onnx::ExpandOp expand) -> Result {
        auto dims = shapes.getDims(expand.getInput()), wide = shapes.getDims(value);
        if (!dims || !wide || dims->size() > place.size())
          return std::nullopt;
        Place source;
        for (auto [index, size, full] :
             llvm::zip(place.take_back(dims->size()), *dims, ArrayRef(*wide).take_back(dims->size()))) {
          if (constantDim(size) != 1 && size != full)
            assumptions.emplace_back(size, full);
          source.push_back(constantDim(size) == 1 ? shapes.constant(0) : index);
        }
        return at(expand.getInput(), source);
      })
      .Case([&](onnx::ConcatOp concat) -> Result {
        auto axis = onnx::normalizeAxis(concat.getAxis(), place.size());
        Place source(place);
        for (Value input : concat.getInputs()) {
          auto size = shapes.getStaticDim(input, *axis), index = constantDim(source[*axis]);
          if (!size || !index)
            return std::nullopt;
          if (*index < *size)
            return at(input, source);
          source[*axis] = shapes.constant(*index - *size);
        }
        return std::nullopt;
      })
      .Case([&](onnx::GatherOp gather) -> Result {
        auto rank = shapes.getRank(gather.getData()), indexRank = shapes.getRank(gather.getIndices());
        auto axis = rank ? onnx::normalizeAxis(gather.getAxis(), *rank) : std::nullopt;
        if (!axis || !indexRank)
          return std::nullopt;
        Result index = at(gather.getIndices(), place.slice(*axis, *indexRank));
        if (!index || !index->integer || !provablyGreaterEqual(index->integer, shapes.constant(0)))
          return std::nullopt;
        Place source(place.take_front(*axis));
        source.push_back(index->integer);
        source.append(place.begin() + *axis + *indexRank, place.end());
        return at(gather.getData(), source);
      })
      .Case([&](onnx::GatherNDOp) { return gatherND(op, place); })
      .Case([&](onnx::ScatterNDOp) { return scatterND(op, place); })
      .Case([&](onnx::ConstantOfShapeOp fill) -> Result {
        auto dense = dyn_cast_if_present<DenseElementsAttr>(fill.getValueAttr());
        if (!dense)
          return MaskElement::constant(0);
        return elementOf(dense, 0, shapes);
      })
      .Case([&](onnx::TriluOp trilu) -> Result {
        AffineExpr k = trilu.getK() ? shapes.getScalar(trilu.getK()) : shapes.constant(0);
        Result inner = at(trilu.getInput(), place);
        if (!k || !inner || place.size() < 2)
          return std::nullopt;
        // Kept where column - row >= k (upper) or <= k (lower).
        AffineExpr distance = subDims(place.back(), place[place.size() - 2]);
        AffineExpr bound = trilu.getUpper() ? subDims(k, distance) : subDims(distance, k);
        return combine({atMostZero(bound), *inner}, [](ArrayRef<double> x) { return x[0] != 0 ? x[1] : 0; });
      })
      .Case([&](onnx::SliceOp slice) -> Result {
        auto starts = shapes.getConstants(slice.getStarts());
        auto axes = slice.getAxes() ? shapes.getConstants(slice.getAxes()) : std::nullopt;
        auto steps = slice.getSteps() ? shapes.getConstants(slice.getSteps()) : std::nullopt;
        if (!starts || !axes || (slice.getSteps() && !steps))
          return std::nullopt;
        Place source(place);
        for (auto [i, start] : llvm::enumerate(*starts)) {
          auto axis = onnx::normalizeAxis((*axes)[i], place.size());
          if (!axis || start < 0 || (steps && (*steps)[i] != 1))
            return std::nullopt;
          source[*axis] = addDims(source[*axis], shapes.constant(start));
        }
        return at(slice.getData(), source);
      })
      .Default([&](Operation *) -> Result {
        return op->hasTrait<onnx::BroadcastElementwise>() ? elementwise(op, place) : load(value, place);
      });
}

} // namespace caat
