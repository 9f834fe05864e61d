// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-simplify-movement: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "Positions.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXSIMPLIFYMOVEMENTPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Indices [n, 1] of rows along the first dimension that are first, first + 1, ...; all within `size`.
static std::optional<std::pair<int64_t, int64_t>> rowRange(Value indices, int64_t size, const SymbolicShapes &shapes) {
  auto depth = shapes.getStaticDim(indices, -1), count = shapes.getStaticDim(indices, 0);
  auto values = shapes.getConstants(indices);
  if (shapes.getRank(indices) != 2 || depth != 1 || !count || *count < 1 || !values)
    return std::nullopt;
  int64_t first = values->front() < 0 ? values->front() + size : values->front();
  for (auto [i, value] : llvm::enumerate(*values))
    if ((value < 0 ? value + size : value) != first + static_cast<int64_t>(i))
      return std::nullopt;
  if (first < 0 || first + *count > size)
    return std::nullopt;
  return {{first, *count}};
}

/// Whether indices [n, depth] are all places of the first `depth` dimensions of `dims`, in order.
static bool isEveryPlace(Value indices, ArrayRef<AffineExpr> dims, const SymbolicShapes &shapes) {
  auto depth = shapes.getStaticDim(indices, -1), count = shapes.getStaticDim(indices, 0);
  auto values = shapes.getConstants(indices);
  if (shapes.getRank(indices) != 2 || !depth || !count || !values || *depth < 1 ||
      *depth > static_cast<int64_t>(dims.size()))
    return false;
  SmallVector<int64_t> sizes;
  for (AffineExpr dim : dims.take_front(*depth))
    sizes.push_back(constantDim(dim).value_or(0));
  if (llvm::product_of(sizes) != *count || *count == 0)
    return false;
  for (int64_t i = 0; i < *count; ++i)
    if (ArrayRef(*values).slice(i * *depth, *depth) != ArrayRef(delinearize(i, sizes)))
      return false;
  return true;
}

/// GatherND of consecutive rows: a Slice. Of everything: a Reshape that merges the dimensions that are indexed.
static Value simplify(onnx::GatherNDOp op, OnnxBuilder &b) {
  auto dims = b.getShapes().getDims(op.getData());
  if (dims && op.getBatchDims() == 0 && isEveryPlace(op.getIndices(), *dims, b.getShapes())) {
    int64_t depth = *b.getShapes().getStaticDim(op.getIndices(), -1);
    SmallVector<AffineExpr> merged{b.getShapes().getDim(op.getIndices(), 0)};
    merged.append(dims->begin() + depth, dims->end());
    if (Value shape = b.sizeVector(merged))
      return b.make<onnx::ReshapeOp>(op.getData(), shape, b.getI64IntegerAttr(1));
  }
  auto size = b.getShapes().getStaticDim(op.getData(), 0);
  auto rows = size && op.getBatchDims() == 0 ? rowRange(op.getIndices(), *size, b.getShapes()) : std::nullopt;
  return rows ? b.slice(op.getData(), 0, rows->first, rows->first + rows->second) : Value();
}

/// A Slice of a Concat that takes whole operands of it.
static Value simplify(onnx::SliceOp op, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto concat = definedBy<onnx::ConcatOp>(op.getData());
  auto starts = shapes.getConstants(op.getStarts()), ends = shapes.getConstants(op.getEnds());
  auto axes = op.getAxes() ? shapes.getConstants(op.getAxes()) : std::nullopt;
  auto steps = op.getSteps() ? shapes.getConstants(op.getSteps()) : SmallVector<int64_t>{1};
  auto rank = shapes.getRank(op.getData());
  if (!concat || !starts || !ends || !axes || !steps || !rank || axes->size() != 1 || starts->size() != 1 ||
      ends->size() != 1 || steps->size() != 1 || steps->front() != 1)
    return {};
  auto axis = onnx::normalizeAxis(axes->front(), *rank);
  auto size = axis ? shapes.getStaticDim(op.getData(), *axis) : std::nullopt;
  if (!size || onnx::normalizeAxis(concat.getAxis(), *rank) != axis)
    return {};
  auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(bound < 0 ? bound + *size : bound, 0, *size); };
  int64_t begin = clamp(starts->front()), end = clamp(ends->front()), at = 0;
  SmallVector<Value> parts;
  for (Value input : concat.getInputs()) {
    auto width = shapes.getStaticDim(input, *axis);
    if (!width)
      return {};
    bool inside = at >= begin && at + *width <= end;
    if (!inside && at < end && at + *width > begin)
      return {}; // a part of an operand
    if (inside)
      parts.push_back(input);
    at += *width;
  }
  if (parts.empty())
    return {};
  if (parts.size() == 1)
    return parts.front();
  Type type = getElementTypeOrSelf(op.getData());
  return b.makeOf<onnx::ConcatOp>(type, ValueRange(parts), b.getI64IntegerAttr(*axis));
}

/// Rows [begin, end) of `data`.
static Value rowsOf(Value data, int64_t begin, int64_t end, OnnxBuilder &b) {
  Value slice = b.slice(data, 0, begin, end);
  Value simple = simplify(slice.getDefiningOp<onnx::SliceOp>(), b);
  return simple ? simple : slice;
}

/// ScatterND to consecutive rows: what is before them, the new rows, what is behind them.
static Value simplify(onnx::ScatterNDOp op, OnnxBuilder &b) {
  auto size = b.getShapes().getStaticDim(op.getData(), 0);
  auto rows = size && op.getReduction() == "none" ? rowRange(op.getIndices(), *size, b.getShapes()) : std::nullopt;
  if (!rows)
    return {};
  auto [first, count] = *rows;
  SmallVector<Value> parts;
  if (first > 0)
    parts.push_back(rowsOf(op.getData(), 0, first, b));
  parts.push_back(op.getUpdates());
  if (first + count < *size)
    parts.push_back(rowsOf(op.getData(), first + count, *size, b));
  if (parts.size() == 1)
    return parts.front();
  Type type = getElementTypeOrSelf(op.getData());
  return b.makeOf<onnx::ConcatOp>(type, ValueRange(parts), b.getI64IntegerAttr(0));
}

static SmallVector<int64_t> permutation(onnx::TransposeOp op, int64_t rank) {
  if (op.getPerm())
    return SmallVector<int64_t>(*op.getPerm());
  return llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank)));
}

/// A Transpose of a Transpose is one or none; that of a Concat of Transposes is a Concat, where all of them cancel.
static Value simplify(onnx::TransposeOp op, OnnxBuilder &b) {
  auto rank = b.getShapes().getRank(op.getData());
  if (!rank)
    return {};
  SmallVector<int64_t> outer = permutation(op, *rank);
  auto before = [&](Value value) -> Value {
    auto inner = definedBy<onnx::TransposeOp>(value);
    if (!inner)
      return {};
    SmallVector<int64_t> perm = permutation(inner, *rank);
    for (int64_t i = 0; i < *rank; ++i)
      if (perm[outer[i]] != i)
        return {};
    return inner.getData();
  };
  if (Value same = before(op.getData()))
    return same;
  if (auto inner = definedBy<onnx::TransposeOp>(op.getData())) {
    SmallVector<int64_t> perm = permutation(inner, *rank), both;
    for (int64_t axis : outer)
      both.push_back(perm[axis]);
    return b.transpose(inner.getData(), both);
  }
  auto concat = definedBy<onnx::ConcatOp>(op.getData());
  auto axis = concat ? onnx::normalizeAxis(concat.getAxis(), *rank) : std::nullopt;
  if (!axis)
    return {};
  SmallVector<Value> parts;
  for (Value input : concat.getInputs()) {
    parts.push_back(before(input));
    if (!parts.back())
      return {};
  }
  int64_t moved = llvm::find(outer, *axis) - outer.begin();
  return b.makeOf<onnx::ConcatOp>(getElementTypeOrSelf(op.getData()), ValueRange(parts), b.getI64IntegerAttr(moved));
}

namespace {
class SimplifyMovement : public caat::impl::ONNXSimplifyMovementPassBase<SimplifyMovement> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      auto replace = [&](auto found) {
        if (!found)
          return;
        if (Value value = simplify(found, b))
          op->getResult(0).replaceAllUsesWith(value);
      };
      replace(dyn_cast<onnx::GatherNDOp>(op));
      replace(dyn_cast<onnx::ScatterNDOp>(op));
      replace(dyn_cast<onnx::SliceOp>(op));
      replace(dyn_cast<onnx::TransposeOp>(op));
    });
  }
};
} // namespace
