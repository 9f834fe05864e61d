// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shapes of ops that move elements or are given a shape.
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

using Dims = SymbolicShapes::Dims;

/// As many unknown dims as the shape operand has elements.
static std::optional<Dims> unknownOfLength(Value shape, SymbolicShapes &shapes) {
  auto length = shapes.getStaticDim(shape, 0);
  if (!length || *length > SymbolicShapes::maxElements)
    return std::nullopt;
  return Dims(*length);
}

static bool infer(onnx::ReshapeOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getData());
  auto target = shapes.getElements(op.getShape());
  if (!target)
    target = unknownOfLength(op.getShape(), shapes);
  if (!target)
    return false;
  int64_t inferred = -1;
  bool complete = input.has_value();
  for (auto [axis, dim] : llvm::enumerate(*target)) {
    auto size = constantDim(dim);
    if (size == -1)
      inferred = axis;
    else if (size == 0 && !op.getAllowzero())
      dim = input && axis < input->size() ? (*input)[axis] : AffineExpr();
    complete &= static_cast<bool>(dim);
  }
  if (inferred >= 0) {
    (*target)[inferred] = AffineExpr();
    if (complete) {
      // Equal factors cancel; what is left divides.
      Dims above(*input);
      AffineExpr product = shapes.constant(1), divisor = shapes.constant(1);
      for (auto [axis, dim] : llvm::enumerate(*target)) {
        if (static_cast<int64_t>(axis) == inferred)
          continue;
        auto *it = llvm::find(above, dim);
        if (it != above.end() && dim != shapes.constant(0))
          above.erase(it);
        else
          divisor = mulDims(divisor, dim);
      }
      for (AffineExpr dim : above)
        product = mulDims(product, dim);
      (*target)[inferred] = divDims(product, divisor);
    }
  }
  shapes.setDims(op.getReshaped(), *target);
  return true;
}

static bool infer(onnx::FlattenOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getInput());
  if (!input)
    return false;
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + input->size() : op.getAxis();
  AffineExpr rows = shapes.constant(1), columns = shapes.constant(1);
  for (auto [place, dim] : llvm::enumerate(*input)) {
    AffineExpr &part = static_cast<int64_t>(place) < axis ? rows : columns;
    part = mulDims(part, dim);
  }
  shapes.setDims(op.getOutput(), {rows, columns});
  return true;
}

static bool infer(onnx::TransposeOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getData());
  if (!input)
    return false;
  auto perm = op.getPerm();
  // Of an operand whose type has no rank, the verifier could not tell.
  auto exists = [&](int64_t place) { return place >= 0 && place < static_cast<int64_t>(input->size()); };
  if (perm && (perm->size() != input->size() || !llvm::all_of(*perm, exists)))
    return false;
  Dims result;
  for (size_t i = 0; i < input->size(); ++i)
    result.push_back((*input)[perm ? (*perm)[i] : input->size() - 1 - i]);
  shapes.setDims(op.getTransposed(), result);
  return true;
}

static bool infer(onnx::SqueezeOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getData());
  if (!input)
    return false;
  llvm::SmallBitVector dropped(input->size());
  if (op.getAxes()) {
    auto axes = shapes.getConstants(op.getAxes());
    if (!axes)
      return false;
    for (int64_t axis : *axes) {
      auto place = onnx::normalizeAxis(axis, input->size());
      if (!place)
        return false;
      dropped.set(*place);
    }
  } else {
    for (auto [axis, dim] : llvm::enumerate(*input)) {
      auto size = constantDim(dim);
      if (!size)
        return false; // the rank depends on it
      dropped[axis] = *size == 1;
    }
  }
  Dims result;
  for (auto [axis, dim] : llvm::enumerate(*input)) {
    if (!dropped[axis])
      result.push_back(dim);
    else
      shapes.proveEqual(dim, shapes.constant(1));
  }
  shapes.setDims(op.getSqueezed(), result);
  return true;
}

static bool infer(onnx::UnsqueezeOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getData());
  auto axes = shapes.getConstants(op.getAxes());
  if (!input || !axes)
    return false;
  int64_t rank = input->size() + axes->size();
  llvm::SmallBitVector inserted(rank);
  for (int64_t axis : *axes) {
    auto place = onnx::normalizeAxis(axis, rank);
    if (!place || inserted[*place])
      return false;
    inserted.set(*place);
  }
  Dims result;
  auto *next = input->begin();
  for (int64_t axis = 0; axis < rank; ++axis)
    result.push_back(inserted[axis] ? shapes.constant(1) : *next++);
  shapes.setDims(op.getExpanded(), result);
  return true;
}

static bool infer(onnx::ConcatOp op, SymbolicShapes &shapes) {
  std::optional<Dims> result;
  std::optional<int64_t> axis;
  for (Value input : op.getInputs()) {
    auto dims = shapes.getDims(input);
    if (!dims)
      return false;
    if (!result) {
      result = dims;
      axis = onnx::normalizeAxis(op.getAxis(), dims->size());
      if (!axis)
        return false;
      continue;
    }
    if (dims->size() != result->size())
      return false;
    for (auto [place, dim] : llvm::enumerate(*dims)) {
      AffineExpr &known = (*result)[place];
      if (static_cast<int64_t>(place) == *axis) {
        known = addDims(known, dim);
      } else {
        shapes.proveEqual(known, dim);
        known = shapes.resolve(known);
      }
    }
  }
  if (!result)
    return false;
  shapes.setDims(op.getConcatResult(), *result);
  return true;
}

static bool infer(onnx::SplitOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getInput());
  if (!dims)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), dims->size());
  if (!axis)
    return false;
  AffineExpr whole = (*dims)[*axis], total = shapes.constant(0);
  auto sizes = op.getSplit() ? shapes.getElements(op.getSplit()) : std::nullopt;
  int64_t parts = op.getNumResults();
  for (auto [place, part] : llvm::enumerate(op.getOutputs())) {
    AffineExpr size;
    if (sizes && place < sizes->size()) {
      size = (*sizes)[place];
    } else if (!op.getSplit()) {
      if (auto number = constantDim(whole)) {
        int64_t chunk = llvm::divideCeil(*number, parts);
        size = shapes.constant(std::min(chunk, *number - static_cast<int64_t>(place) * chunk));
      } else if (parts == 1) {
        size = whole;
      }
    }
    (*dims)[*axis] = size;
    shapes.setDims(part, *dims);
    AffineExpr known = shapes.getDim(part, *axis);
    total = addDims(total, known);
  }
  if (op.getSplit())
    shapes.proveEqual(total, whole);
  return true;
}

bool isTable(Value value) {
  while (auto slice = value.getDefiningOp<onnx::SliceOp>())
    value = slice.getData();
  return isa_and_present<onnx::ConstantOp, onnx::GetInitializerOp>(value.getDefiningOp());
}

/// Number of elements of a slice along one dimension; null if it depends on more than the signs show.
static AffineExpr sliceLength(AffineExpr size, AffineExpr start, AffineExpr end, int64_t step, bool isTable,
                              SymbolicShapes &shapes) {
  if (!start || !end)
    return {};
  AffineExpr zero = shapes.constant(0);
  auto place = [&](AffineExpr bound, bool isEnd) -> AffineExpr { // counted from the front and clamped
    if (auto number = constantDim(bound); number && *number < -(int64_t(1) << 40))
      return zero;
    if (auto number = constantDim(bound); number && *number > (int64_t(1) << 40))
      return size;
    if (addDims(size, bound) == zero) // all of it from the end, or none where there is none
      return zero;
    if (shapes.isGreaterEqual(shapes.constant(-1), bound))
      bound = shapes.larger(addDims(size, bound), zero);
    if (!shapes.isGreaterEqual(bound, zero))
      return {}; // counted from the front or from the end, which depends
    // A table of positions is cut to the length of the sequence, which it is taken to be long enough for.
    return isEnd && isTable && constantDim(size) && !constantDim(bound) ? bound : shapes.smaller(size, bound);
  };
  if (auto whole = constantDim(size)) {
    auto from = constantDim(start), to = constantDim(end);
    if (from && to) {
      auto clamp = [&](int64_t bound, int64_t low, int64_t high) {
        if (bound < 0)
          bound = std::max(bound, -1 - *whole) + *whole;
        return std::clamp(bound, low, high);
      };
      int64_t first = step > 0 ? clamp(*from, 0, *whole) : clamp(*from, 0, *whole - 1);
      int64_t last = step > 0 ? clamp(*to, 0, *whole) : clamp(*to, -1, *whole - 1);
      int64_t span = step > 0 ? last - first : first - last;
      return shapes.constant(span <= 0 ? 0 : llvm::divideCeil(span, step > 0 ? step : -step));
    }
  }
  if (step != 1)
    return {};
  AffineExpr first = place(start, false), last = place(end, true);
  if (!first || !last)
    return {};
  return shapes.isGreaterEqual(last, first) ? subDims(last, first) : AffineExpr();
}

static bool infer(onnx::SliceOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getData());
  if (!dims)
    return false;
  int64_t rank = dims->size();
  SmallVector<int64_t> axes;
  if (op.getAxes()) {
    auto known = shapes.getConstants(op.getAxes());
    if (!known) {
      shapes.setDims(op.getOutput(), Dims(rank));
      return true;
    }
    axes = *known;
  } else {
    auto count = shapes.getStaticDim(op.getStarts(), 0);
    if (!count)
      return false;
    axes.append(llvm::to_vector(llvm::seq<int64_t>(0, *count)));
  }
  auto starts = shapes.getElements(op.getStarts()), ends = shapes.getElements(op.getEnds());
  auto steps = op.getSteps() ? shapes.getConstants(op.getSteps()) : SmallVector<int64_t>(axes.size(), 1);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    auto place = onnx::normalizeAxis(axis, rank);
    if (!place)
      return false;
    bool known = starts && ends && steps && i < starts->size() && i < ends->size() && i < steps->size() && (*steps)[i];
    (*dims)[*place] =
        known ? sliceLength((*dims)[*place], (*starts)[i], (*ends)[i], (*steps)[i], isTable(op.getData()), shapes)
              : AffineExpr();
  }
  shapes.setDims(op.getOutput(), *dims);
  return true;
}

static bool infer(onnx::ExpandOp op, SymbolicShapes &shapes) {
  auto input = shapes.getDims(op.getInput());
  auto target = shapes.getElements(op.getShape());
  if (!target)
    target = unknownOfLength(op.getShape(), shapes);
  if (!input || !target)
    return false;
  Dims result(target->size() < input->size() ? *input : *target);
  for (size_t i = 1, e = std::min(target->size(), input->size()); i <= e; ++i)
    result[result.size() - i] = shapes.chooseBroadcast((*input)[input->size() - i], (*target)[target->size() - i]);
  shapes.setDims(op.getOutput(), result);
  return true;
}

static bool infer(onnx::TileOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getInput());
  if (!dims)
    return false;
  auto repeats = shapes.getElements(op.getRepeats());
  for (auto [axis, dim] : llvm::enumerate(*dims)) {
    AffineExpr factor = repeats && axis < repeats->size() ? (*repeats)[axis] : AffineExpr();
    dim = factor ? mulDims(dim, factor) : AffineExpr();
  }
  shapes.setDims(op.getOutput(), *dims);
  return true;
}

static bool infer(onnx::PadOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getData());
  if (!dims)
    return false;
  int64_t rank = dims->size();
  auto axes = op.getAxes() ? shapes.getConstants(op.getAxes()) : llvm::to_vector(llvm::seq<int64_t>(0, rank));
  auto pads = shapes.getElements(op.getPads());
  if (!axes || !pads || pads->size() != 2 * axes->size()) {
    shapes.setDims(op.getOutput(), Dims(rank));
    return true;
  }
  for (auto [i, axis] : llvm::enumerate(*axes)) {
    auto place = onnx::normalizeAxis(axis, rank);
    if (!place)
      return false;
    AffineExpr before = (*pads)[i], after = (*pads)[i + axes->size()];
    (*dims)[*place] = before && after ? addDims((*dims)[*place], before + after) : AffineExpr();
  }
  shapes.setDims(op.getOutput(), *dims);
  return true;
}

static bool infer(onnx::GatherOp op, SymbolicShapes &shapes) {
  auto data = shapes.getDims(op.getData()), indices = shapes.getDims(op.getIndices());
  if (!data || !indices)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), data->size());
  if (!axis)
    return false;
  Dims result(data->begin(), data->begin() + *axis);
  result.append(*indices);
  result.append(data->begin() + *axis + 1, data->end());
  shapes.setDims(op.getOutput(), result);
  return true;
}

static bool infer(onnx::GatherNDOp op, SymbolicShapes &shapes) {
  auto data = shapes.getDims(op.getData()), indices = shapes.getDims(op.getIndices());
  if (!data || !indices || indices->empty())
    return false;
  auto depth = constantDim(indices->back());
  int64_t skipped = op.getBatchDims() + depth.value_or(0);
  if (!depth || skipped > static_cast<int64_t>(data->size()))
    return false;
  Dims result(indices->begin(), indices->end() - 1);
  result.append(data->begin() + skipped, data->end());
  shapes.setDims(op.getOutput(), result);
  return true;
}

static bool infer(onnx::RangeOp op, SymbolicShapes &shapes) {
  AffineExpr start = shapes.getScalar(op.getStart()), limit = shapes.getScalar(op.getLimit());
  auto delta = constantDim(shapes.getScalar(op.getDelta()));
  AffineExpr count;
  if (start && limit && delta && *delta != 0 && *delta != std::numeric_limits<int64_t>::min()) {
    int64_t step = std::abs(*delta);
    AffineExpr low = *delta > 0 ? start : limit, high = *delta > 0 ? limit : start;
    int64_t span;
    if (auto first = constantDim(low), last = constantDim(high); first && last)
      count = llvm::SubOverflow(*last, *first, span) ? AffineExpr()
                                                     : shapes.constant(span <= 0 ? 0 : llvm::divideCeil(span, step));
    else if (shapes.isGreaterEqual(high, low))
      count = addDims(subDims(high, low), shapes.constant(step - 1)).floorDiv(step);
  }
  shapes.setDims(op.getOutput(), {count});
  return true;
}

static bool infer(onnx::ConstantOfShapeOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getElements(op.getInput());
  if (!dims)
    dims = unknownOfLength(op.getInput(), shapes);
  if (!dims)
    return false;
  shapes.setDims(op.getOutput(), *dims);
  return true;
}

static bool infer(onnx::OneHotOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getIndices());
  if (!dims)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), dims->size() + 1);
  if (!axis)
    return false;
  auto number = onnx::constantFloat(op.getDepth()); // the depth may be a float
  dims->insert(dims->begin() + *axis, number && *number >= 0 && *number < 1e9
                                          ? shapes.constant(static_cast<int64_t>(*number))
                                          : shapes.getScalar(op.getDepth()));
  shapes.setDims(op.getOutput(), *dims);
  return true;
}

bool inferMovementShape(Operation *operation, SymbolicShapes &shapes) {
  return TypeSwitch<Operation *, bool>(operation)
      .Case<onnx::ReshapeOp, onnx::FlattenOp, onnx::TransposeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::ConcatOp,
            onnx::SplitOp, onnx::SliceOp, onnx::ExpandOp, onnx::TileOp, onnx::PadOp, onnx::GatherOp, onnx::GatherNDOp,
            onnx::RangeOp, onnx::ConstantOfShapeOp, onnx::OneHotOp>([&](auto op) { return infer(op, shapes); })
      .Case([&](onnx::GatherElementsOp op) {
        auto dims = shapes.getDims(op.getIndices());
        if (dims)
          shapes.setDims(op.getOutput(), *dims);
        return dims.has_value();
      })
      .Case([&](onnx::ShapeOp op) {
        auto rank = shapes.getRank(op.getData());
        if (!rank)
          return false;
        auto clamp = [&](int64_t bound) { return std::clamp(bound < 0 ? bound + *rank : bound, int64_t(0), *rank); };
        int64_t first = clamp(op.getStart()), last = clamp(op.getEnd().value_or(*rank));
        shapes.setDims(op.getShape(), {shapes.constant(std::max(int64_t(0), last - first))});
        return true;
      })
      .Case([&](onnx::UnpackOp op) {
        auto dims = shapes.getDims(op.getPacked());
        if (!dims || dims->empty())
          return false;
        dims->back() = mulDims(dims->back(), shapes.constant(8 / op.getBits()));
        shapes.setDims(op.getUnpacked(), *dims);
        return true;
      })
      .Case([&](onnx::SizeOp op) {
        shapes.setDims(op.getSize(), {});
        return true;
      })
      .Default(false);
}

} // namespace caat
