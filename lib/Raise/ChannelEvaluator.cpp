// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChannelEvaluator.h"

#include "Match.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

/// Values that are looked at for one channel: operands may be shared, so depth alone does not bound them.
static constexpr unsigned kMaxDepth = 24, kMaxSteps = 256;

bool ChannelFactor::isBesides(const ChannelFactor &other) const {
  if (leaf != other.leaf || functions != other.functions || axis != other.axis)
    return false;
  for (unsigned i = 0; i < place.size(); ++i)
    if (i != axis && place[i] != other.place[i])
      return false;
  return true;
}

std::optional<SmallVector<ChannelTerm, 2>> ChannelEvaluator::evaluate(Value value, int64_t channel) {
  auto dims = shapes.getDims(value);
  if (!dims || dims->empty())
    return std::nullopt;
  lead.clear();
  for (auto [axis, size] : llvm::enumerate(ArrayRef(*dims).drop_back()))
    lead.push_back(constantDim(size) == 1 ? shapes.constant(0) : getAffineDimExpr(axis, shapes.getContext()));
  Place place(lead);
  place.push_back(shapes.constant(channel));
  depth = steps = 0;
  return at(value, place);
}

ChannelEvaluator::Terms ChannelEvaluator::leaf(Value value, ArrayRef<AffineExpr> place) {
  if (place.empty())
    return std::nullopt;
  // The channel's axis is the one of known index, dimensions of size 1 aside.
  std::optional<unsigned> axis;
  for (auto [i, index] : llvm::enumerate(place))
    if (constantDim(index) && shapes.getStaticDim(value, i) != 1) {
      if (axis)
        return std::nullopt;
      axis = i;
    }
  if (!axis && !constantDim(place.back()))
    return std::nullopt;
  ChannelFactor factor{value, Place(place), axis.value_or(place.size() - 1), {}};
  return SmallVector<ChannelTerm, 2>{ChannelTerm{1, std::nullopt, factor}};
}

ChannelEvaluator::Terms ChannelEvaluator::broadcastAt(Value operand, ArrayRef<AffineExpr> place) {
  if (auto number = onnx::constantFloat(operand))
    return SmallVector<ChannelTerm, 2>{ChannelTerm{*number, std::nullopt, std::nullopt}};
  auto dims = shapes.getDims(operand);
  if (!dims || dims->size() > place.size())
    return std::nullopt;
  Place own;
  for (auto [index, size] : llvm::zip(place.take_back(dims->size()), *dims))
    own.push_back(constantDim(size) == 1 ? shapes.constant(0) : index);
  return at(operand, own);
}

ChannelEvaluator::Terms ChannelEvaluator::sum(Operation *op, ArrayRef<AffineExpr> place, double sign) {
  Terms a = broadcastAt(op->getOperand(0), place), b = a ? broadcastAt(op->getOperand(1), place) : std::nullopt;
  if (!b)
    return std::nullopt;
  if (llvm::none_of(*a, [](auto &term) { return term.channel; }) &&
      llvm::none_of(*b, [](auto &term) { return term.channel; }))
    return leaf(op->getResult(0), place);
  for (ChannelTerm &term : *b) {
    term.scale *= sign;
    a->push_back(term);
  }
  return a->size() <= 2 ? a : std::nullopt;
}

ChannelEvaluator::Terms ChannelEvaluator::product(Value left, Value right, Value whole, ArrayRef<AffineExpr> place) {
  Terms a = broadcastAt(left, place), b = a ? broadcastAt(right, place) : std::nullopt;
  if (!b)
    return std::nullopt;
  if (b->size() != 1 || b->front().channel)
    std::swap(a, b);
  if (b->size() != 1 || b->front().channel)
    return std::nullopt;
  const ChannelTerm &by = b->front();
  for (ChannelTerm &term : *a) {
    if (term.factor && by.factor) // of two tensors: one that is not looked into
      return term.channel ? std::nullopt : leaf(whole, place);
    term.scale *= by.scale;
    if (by.factor)
      term.factor = by.factor;
  }
  return a;
}

/// A function of one element: only of one that does not depend on x.
ChannelEvaluator::Terms ChannelEvaluator::function(Operation *op, ArrayRef<AffineExpr> place) {
  Terms inner = at(op->getOperand(0), place);
  if (!inner || inner->size() != 1 || !inner->front().factor || inner->front().channel)
    return std::nullopt;
  inner->front().factor->functions.push_back({op, inner->front().scale});
  inner->front().scale = 1;
  return inner;
}

/// `place` in a tensor of shape `from` as a place in one of shape `to`: equal leading and trailing sizes stay, what is
/// between them has known sizes and indices.
static std::optional<SmallVector<AffineExpr, 4>> reshapedPlace(ArrayRef<AffineExpr> place, ArrayRef<AffineExpr> from,
                                                               ArrayRef<AffineExpr> to, const SymbolicShapes &shapes) {
  SmallVector<AffineExpr, 4> result;
  auto isOne = [](AffineExpr size) { return constantDim(size) == 1; };
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    if (i < from.size() && j < to.size() && from[i] == to[j]) {
      result.push_back(place[i]);
      ++i, ++j;
    } else if (i < from.size() && isOne(from[i])) {
      ++i;
    } else if (j < to.size() && isOne(to[j])) {
      result.push_back(shapes.constant(0));
      ++j;
    } else {
      break;
    }
  }
  size_t equal = 0;
  while (equal < from.size() - i && equal < to.size() - j && from[from.size() - 1 - equal] == to[to.size() - 1 - equal])
    ++equal;
  int64_t linear = 0;
  for (; i < from.size() - equal; ++i) {
    auto index = constantDim(place[i]), size = constantDim(from[i]);
    if (!index || !size)
      return std::nullopt;
    linear = linear * *size + *index;
  }
  SmallVector<AffineExpr, 4> middle;
  for (size_t k = to.size() - equal; k-- > j;) {
    auto size = constantDim(to[k]);
    if (!size || *size <= 0)
      return std::nullopt;
    middle.push_back(shapes.constant(linear % *size));
    linear /= *size;
  }
  result.append(middle.rbegin(), middle.rend());
  result.append(place.end() - equal, place.end());
  return linear == 0 ? std::optional(result) : std::nullopt;
}

std::optional<std::pair<Value, ChannelEvaluator::Place>> ChannelEvaluator::source(Operation *op, Value value,
                                                                                  ArrayRef<AffineExpr> place) {
  using Source = std::optional<std::pair<Value, Place>>;
  auto axisOf = [&](int64_t axis) { return onnx::normalizeAxis(axis, place.size()); };
  return TypeSwitch<Operation *, Source>(op)
      .Case<onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ReshapeOp, onnx::FlattenOp>([&](auto) -> Source {
        Value from = op->getOperand(0);
        auto inner = shapes.getDims(from), outer = shapes.getDims(value);
        auto result = inner && outer ? reshapedPlace(place, *outer, *inner, shapes) : std::nullopt;
        return result ? Source({from, *result}) : std::nullopt;
      })
      .Case([&](onnx::ExpandOp expand) -> Source {
        auto dims = shapes.getDims(expand.getInput()), wide = shapes.getDims(value);
        if (!dims || !wide || dims->size() > place.size())
          return std::nullopt;
        Place result;
        for (auto [index, size, full] :
             llvm::zip(place.take_back(dims->size()), *dims, ArrayRef(*wide).take_back(dims->size()))) {
          if (constantDim(size) != 1 && size != full)
            return std::nullopt; // which may be either
          result.push_back(constantDim(size) == 1 ? shapes.constant(0) : index);
        }
        return Source({expand.getInput(), result});
      })
      .Case([&](onnx::TileOp tile) -> Source {
        auto dims = shapes.getDims(tile.getInput());
        auto repeats = shapes.getConstants(tile.getRepeats());
        if (!dims || !repeats || repeats->size() != place.size() || dims->size() != place.size())
          return std::nullopt;
        Place result(place);
        for (auto [index, size, times] : llvm::zip(result, *dims, *repeats)) {
          auto number = constantDim(index), width = constantDim(size);
          if (times == 1)
            continue;
          if (width == 1)
            index = shapes.constant(0);
          else if (number && width && *width > 0)
            index = shapes.constant(*number % *width);
          else
            return std::nullopt;
        }
        return Source({tile.getInput(), result});
      })
      .Case([&](onnx::TransposeOp transpose) -> Source {
        Place result(place.size());
        for (size_t axis = 0; axis < place.size(); ++axis)
          result[transpose.getPerm() ? (*transpose.getPerm())[axis] : place.size() - 1 - axis] = place[axis];
        return Source({transpose.getData(), result});
      })
      .Case([&](onnx::ConcatOp concat) -> Source {
        auto axis = axisOf(concat.getAxis());
        auto index = axis ? constantDim(place[*axis]) : std::nullopt;
        if (!index)
          return std::nullopt;
        Place result(place);
        for (Value input : concat.getInputs()) {
          auto size = shapes.getStaticDim(input, *axis);
          if (!size)
            return std::nullopt;
          if (*index < *size) {
            result[*axis] = shapes.constant(*index);
            return Source({input, result});
          }
          *index -= *size;
        }
        return std::nullopt;
      })
      .Case([&](onnx::SplitOp split) -> Source {
        auto axis = axisOf(split.getAxis());
        auto index = axis ? constantDim(place[*axis]) : std::nullopt;
        if (!index)
          return std::nullopt;
        for (Value part : split.getOutputs()) {
          if (part == value)
            break;
          auto size = shapes.getStaticDim(part, *axis);
          if (!size)
            return std::nullopt;
          *index += *size;
        }
        Place result(place);
        result[*axis] = shapes.constant(*index);
        return Source({split.getInput(), result});
      })
      .Case([&](onnx::SliceOp slice) -> Source {
        auto starts = shapes.getConstants(slice.getStarts());
        auto axes = slice.getAxes() ? shapes.getConstants(slice.getAxes()) : std::nullopt;
        auto steps = slice.getSteps() ? shapes.getConstants(slice.getSteps()) : std::nullopt;
        if (!starts || !axes || (slice.getSteps() && !steps))
          return std::nullopt;
        Place result(place);
        for (auto [i, start] : llvm::enumerate(*starts)) {
          auto axis = axisOf((*axes)[i]);
          auto size = axis ? shapes.getStaticDim(slice.getData(), *axis) : std::nullopt;
          auto index = axis ? constantDim(place[*axis]) : std::nullopt;
          int64_t step = steps ? (*steps)[i] : 1;
          if (!size || !index || step <= 0)
            return std::nullopt;
          int64_t first = std::clamp<int64_t>(start < 0 ? start + *size : start, 0, *size);
          result[*axis] = shapes.constant(first + *index * step);
        }
        return Source({slice.getData(), result});
      })
      .Default(Source());
}

ChannelEvaluator::Terms ChannelEvaluator::at(Value value, ArrayRef<AffineExpr> place) {
  if (value == x) {
    auto channel = constantDim(place.back());
    if (!channel || place.drop_back() != ArrayRef(lead))
      return std::nullopt;
    return SmallVector<ChannelTerm, 2>{ChannelTerm{1, channel, std::nullopt}};
  }
  Operation *op = value.getDefiningOp();
  if (!op)
    return leaf(value, place);
  if (++steps > kMaxSteps)
    return std::nullopt;
  if (++depth > kMaxDepth) {
    --depth;
    return std::nullopt;
  }
  llvm::scope_exit leave([&] { --depth; });
  if (auto from = source(op, value, place))
    if (Terms terms = at(from->first, from->second))
      return terms;
  Terms terms = TypeSwitch<Operation *, Terms>(op)
                    .Case([&](onnx::AddOp) { return sum(op, place, 1); })
                    .Case([&](onnx::SubOp) { return sum(op, place, -1); })
                    .Case([&](onnx::MulOp mul) { return product(mul.getA(), mul.getB(), value, place); })
                    .Case([&](onnx::DivOp div) -> Terms {
                      auto number = onnx::constantFloat(div.getB());
                      if (!number)
                        return leaf(value, place);
                      Terms inner = broadcastAt(div.getA(), place);
                      if (inner)
                        for (ChannelTerm &term : *inner)
                          term.scale /= *number;
                      return inner;
                    })
                    .Case([&](onnx::NegOp neg) {
                      Terms inner = at(neg.getX(), place);
                      if (inner)
                        for (ChannelTerm &term : *inner)
                          term.scale = -term.scale;
                      return inner;
                    })
                    .Case<onnx::CosOp, onnx::SinOp>([&](auto) { return function(op, place); })
                    .Case([&](onnx::CastOp cast) -> Terms {
                      // Rotations are computed in float32 by some, and rounded to the model's type.
                      Terms inner = at(cast.getInput(), place);
                      bool isFloat =
                          isa<FloatType>(getElementTypeOrSelf(cast.getInput())) && isa<FloatType>(cast.getTo());
                      if (inner && isFloat && llvm::all_of(*inner, [](auto &term) { return term.channel; }))
                        return inner;
                      return function(op, place);
                    })
                    .Default([&](Operation *) { return leaf(value, place); });
  return terms ? terms : leaf(value, place); // what is not understood is an element like any other
}

} // namespace caat
