// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightMovement.h"
#include "WeightNumbers.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace caat;
using llvm::Expected;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

llvm::Error caat::unsupported(Operation *op, const Twine &why) {
  return llvm::createStringError("cannot evaluate " + op->getName().getStringRef() + " at compile time: " + why);
}

TensorView caat::densified(const TensorView &view) {
  if (view.isDense())
    return view;
  auto [result, data] = TensorView::create(RankedTensorType::get(view.shape, view.element));
  copyDense(view, data);
  return result;
}

static TensorView reshaped(const TensorView &view, ArrayRef<int64_t> shape) {
  TensorView dense = densified(view);
  return TensorView::dense(dense.data, RankedTensorType::get(shape, view.element), dense.owner);
}

/// Zeros of a shape, of another view's type.
static std::pair<TensorView, char *> zeros(ArrayRef<int64_t> shape, const TensorView &like) {
  return TensorView::create(RankedTensorType::get(shape, like.element));
}

TensorView caat::broadcast(const TensorView &view, ArrayRef<int64_t> shape) {
  TensorView result = view;
  result.shape.assign(shape.begin(), shape.end());
  result.strides.assign(shape.size(), 0);
  for (size_t d = 0; d < view.shape.size(); ++d) {
    size_t to = d + shape.size() - view.shape.size();
    result.strides[to] = view.shape[d] == 1 ? 0 : view.strides[d];
  }
  return result;
}

static TensorView evaluateShard(tp::ShardOp op, const TensorView &input, int64_t rank) {
  auto pieces = cast<DenseI64ArrayAttr>(op.getPieces()[rank]).asArrayRef();
  int64_t dim = op.getDim(), used = 0;
  if (pieces.size() == 2 && pieces[1] == static_cast<int64_t>(op.getSize()))
    return input.slice(dim, pieces[0], pieces[1]);
  SmallVector<int64_t> shape(input.shape), offsets(shape.size());
  shape[dim] = op.getSize();
  auto [result, data] = zeros(shape, input);
  for (size_t i = 0; i + 1 < pieces.size(); i += 2) {
    if (pieces[i] >= 0 && pieces[i + 1] > 0) {
      offsets[dim] = used;
      copyInto(input.slice(dim, pieces[i], pieces[i + 1]), data, shape, offsets);
    }
    used += pieces[i + 1];
  }
  return result;
}

static TensorView evaluateSlice(onnx::SliceOp op, ArrayRef<TensorView> operands) {
  TensorView result = operands[0];
  SmallVector<int64_t> starts = integers(operands[1]), ends = integers(operands[2]), axes, steps(starts.size(), 1);
  size_t next = 3;
  if (op.getAxes())
    axes = integers(operands[next++]);
  else
    for (size_t i = 0; i < starts.size(); ++i)
      axes.push_back(i);
  if (op.getSteps())
    steps = integers(operands[next]);
  auto type = typeOf(op.getResult());
  for (auto [start, end, axis, step] : llvm::zip_equal(starts, ends, axes, steps)) {
    int64_t d = axis < 0 ? axis + type.getRank() : axis, size = result.shape[d];
    if (start < 0)
      start += size;
    start = std::clamp<int64_t>(start, 0, step > 0 ? size : size - 1);
    result.data += start * result.strides[d] * result.elementBytes();
    result.strides[d] *= step;
    result.shape[d] = type.getDimSize(d);
    (void)end;
  }
  return result;
}

static Expected<TensorView> evaluateGather(onnx::GatherOp op, ArrayRef<TensorView> operands) {
  const TensorView &data = operands[0];
  int64_t rank = data.shape.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis();
  SmallVector<int64_t> indices = integers(operands[1]);
  // The gathered dimension as one, then in the indices' shape.
  SmallVector<int64_t> shape(data.shape), offsets(rank);
  shape[axis] = indices.size();
  auto [result, to] = zeros(shape, data);
  for (auto [i, index] : llvm::enumerate(indices)) {
    int64_t at = index < 0 ? index + data.shape[axis] : index;
    if (at < 0 || at >= data.shape[axis])
      return unsupported(op, "index " + Twine(index) + " is outside of a dimension of " + Twine(data.shape[axis]));
    offsets[axis] = i;
    copyInto(data.slice(axis, at, 1), to, shape, offsets);
  }
  SmallVector<int64_t> final(ArrayRef(shape).take_front(axis));
  llvm::append_range(final, operands[1].shape);
  llvm::append_range(final, ArrayRef(shape).drop_front(axis + 1));
  return reshaped(result, final);
}

static Expected<TensorView> evaluatePad(onnx::PadOp op, ArrayRef<TensorView> operands) {
  const TensorView &data = operands[0];
  SmallVector<int64_t> pads = integers(operands[1]), axes;
  size_t next = 2;
  double value = 0;
  if (op.getConstantValue())
    value = readNumber(operands[next].data, operands[next].element), ++next;
  if (op.getAxes())
    axes = integers(operands[next]);
  else
    for (int64_t d = 0; d < static_cast<int64_t>(data.shape.size()); ++d)
      axes.push_back(d);
  if (op.getMode() != "constant" || llvm::any_of(pads, [](int64_t pad) { return pad < 0; }))
    return unsupported(op, "only padding with a constant is");
  SmallVector<int64_t> shape(data.shape), offsets(shape.size());
  for (auto [i, axis] : llvm::enumerate(axes)) {
    int64_t d = axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis;
    offsets[d] = pads[i];
    shape[d] += pads[i] + pads[i + axes.size()];
  }
  auto [result, to] = zeros(shape, data);
  if (value != 0)
    for (int64_t i = 0, count = result.numElements(); i < count; ++i)
      writeNumber(to + i * result.elementBytes(), result.element, value);
  copyInto(data, to, shape, offsets);
  return result;
}

static TensorView evaluateConcat(onnx::ConcatOp op, ArrayRef<TensorView> operands) {
  SmallVector<int64_t> shape(operands.front().shape), offsets(shape.size());
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + static_cast<int64_t>(shape.size()) : op.getAxis();
  for (const TensorView &part : operands.drop_front())
    shape[axis] += part.shape[axis];
  auto [result, data] = zeros(shape, operands.front());
  for (const TensorView &part : operands) {
    copyInto(part, data, shape, offsets);
    offsets[axis] += part.shape[axis];
  }
  return result;
}

Expected<TensorView> caat::moved(OpResult value, ArrayRef<TensorView> operands, int64_t rank) {
  RankedTensorType type = typeOf(value);
  return llvm::TypeSwitch<Operation *, Expected<TensorView>>(value.getOwner())
      .Case([&](onnx::TransposeOp transpose) -> Expected<TensorView> {
        TensorView result = operands[0];
        for (int64_t d = 0; d < type.getRank(); ++d) {
          int64_t from = transpose.getPerm() ? (*transpose.getPerm())[d] : type.getRank() - 1 - d;
          result.shape[d] = operands[0].shape[from];
          result.strides[d] = operands[0].strides[from];
        }
        return result;
      })
      .Case<onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp>(
          [&](auto) -> Expected<TensorView> { return reshaped(operands[0], type.getShape()); })
      .Case([&](onnx::IdentityOp) -> Expected<TensorView> { return operands[0]; })
      .Case([&](onnx::ExpandOp) -> Expected<TensorView> { return broadcast(operands[0], type.getShape()); })
      .Case([&](tp::ShardOp shard) -> Expected<TensorView> { return evaluateShard(shard, operands[0], rank); })
      .Case([&](onnx::SliceOp slice) -> Expected<TensorView> { return evaluateSlice(slice, operands); })
      .Case([&](onnx::GatherOp gather) { return evaluateGather(gather, operands); })
      .Case([&](onnx::PadOp pad) { return evaluatePad(pad, operands); })
      .Case([&](onnx::ConcatOp concat) -> Expected<TensorView> { return evaluateConcat(concat, operands); })
      .Case([&](onnx::SplitOp split) -> Expected<TensorView> {
        int64_t axis = split.getAxis() < 0 ? split.getAxis() + type.getRank() : split.getAxis(), start = 0;
        for (unsigned i = 0; i < value.getResultNumber(); ++i)
          start += typeOf(split->getResult(i)).getDimSize(axis);
        return operands[0].slice(axis, start, type.getDimSize(axis));
      })
      .Default([&](Operation *op) -> Expected<TensorView> { return unsupported(op, "not known"); });
}
