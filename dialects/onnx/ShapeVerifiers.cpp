// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of the ops in Shape.td that keep elements and change shapes.
#include "dialects/onnx/VerifierSupport.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;
using namespace caat::onnx::detail;

/// The number of elements of a 1-D operand, where known.
static std::optional<int64_t> length(Value value) {
  RankedTensorType type = ranked(value);
  return type && type.getRank() == 1 && !type.isDynamicDim(0) ? std::optional(type.getDimSize(0)) : std::nullopt;
}

LogicalResult ReshapeOp::verify() {
  if (failed(verifyRank(*this, "shape", getShape(), 1)))
    return failure();
  if (std::optional<int64_t> rank = length(getShape()))
    if (failed(verifyRank(*this, "reshaped", getReshaped(), *rank)))
      return failure();
  if (std::optional<SmallVector<int64_t>> shape = constantInts(getShape()); shape && llvm::count(*shape, -1) > 1)
    return emitOpError("shape ") << shapeText(*shape) << " leaves more than one dimension open";
  RankedTensorType data = ranked(getData()), result = ranked(getReshaped());
  if (data && result && data.hasStaticShape() && result.hasStaticShape() &&
      data.getNumElements() != result.getNumElements())
    return emitOpError("turns ") << data.getNumElements() << " elements of shape " << shapeText(data.getShape())
                                 << " into " << result.getNumElements() << " of shape " << shapeText(result.getShape());
  return success();
}

LogicalResult FlattenOp::verify() {
  RankedTensorType input = ranked(getInput());
  if (input && (getAxis() < -input.getRank() || getAxis() > input.getRank()))
    return emitOpError("axis ") << getAxis() << " is outside [" << -input.getRank() << ", " << input.getRank() << "]";
  return verifyRank(*this, "output", getOutput(), 2);
}

LogicalResult TransposeOp::verify() {
  RankedTensorType data = ranked(getData());
  if (!data)
    return success();
  SmallVector<int64_t> perm =
      getPerm() ? SmallVector<int64_t>(*getPerm()) : llvm::to_vector(llvm::reverse(llvm::seq(data.getRank())));
  SmallVector<int64_t> sorted(perm);
  llvm::sort(sorted);
  if (sorted != llvm::to_vector(llvm::seq(data.getRank())))
    return emitOpError("perm ") << shapeText(perm) << " is no permutation of 0 to " << data.getRank() - 1;
  SmallVector<int64_t> shape;
  for (int64_t i : perm)
    shape.push_back(data.getDimSize(i));
  return verifyShape(*this, "transposed", getTransposed(), shape);
}

LogicalResult SqueezeOp::verify() {
  RankedTensorType data = ranked(getData());
  std::optional<SmallVector<int64_t>> axes = constantInts(getAxes());
  if (!data || !axes)
    return success();
  FailureOr<SmallVector<int64_t>> positive = verifyAxes(*this, *axes, data.getRank());
  if (failed(positive))
    return failure();
  SmallVector<int64_t> shape;
  for (auto [i, dim] : llvm::enumerate(data.getShape())) {
    if (!llvm::is_contained(*positive, static_cast<int64_t>(i)))
      shape.push_back(dim);
    else if (differ(dim, 1))
      return emitOpError("dimension ") << i << " has size " << dim << ", not 1";
  }
  return verifyShape(*this, "squeezed", getSqueezed(), shape);
}

LogicalResult UnsqueezeOp::verify() {
  RankedTensorType data = ranked(getData());
  std::optional<SmallVector<int64_t>> axes = constantInts(getAxes());
  if (!data || !axes)
    return success();
  int64_t rank = data.getRank() + axes->size();
  FailureOr<SmallVector<int64_t>> positive = verifyAxes(*this, *axes, rank);
  if (failed(positive))
    return failure();
  SmallVector<int64_t> shape;
  for (int64_t i = 0, next = 0; i < rank; ++i)
    shape.push_back(llvm::is_contained(*positive, i) ? 1 : data.getDimSize(next++));
  return verifyShape(*this, "expanded", getExpanded(), shape);
}

LogicalResult ConcatOp::verify() {
  SmallVector<int64_t> shape;
  std::optional<int64_t> axis;
  for (Value input : getInputs()) {
    RankedTensorType type = ranked(input);
    if (!type)
      return success();
    if (!axis) {
      FailureOr<int64_t> positive = verifyAxis(*this, getAxis(), type.getRank());
      if (failed(positive))
        return failure();
      axis = *positive;
      shape.assign(type.getShape().begin(), type.getShape().end());
      continue;
    }
    if (type.getRank() != static_cast<int64_t>(shape.size()))
      return emitOpError("inputs have ranks ") << shape.size() << " and " << type.getRank();
    for (auto [i, dim] : llvm::enumerate(type.getShape())) {
      if (static_cast<int64_t>(i) == *axis)
        shape[i] =
            ShapedType::isDynamic(shape[i]) || ShapedType::isDynamic(dim) ? ShapedType::kDynamic : shape[i] + dim;
      else if (differ(shape[i], dim))
        return emitOpError("inputs have sizes ") << shape[i] << " and " << dim << " in dimension " << i;
      else if (ShapedType::isDynamic(shape[i]))
        shape[i] = dim;
    }
  }
  return verifyShape(*this, "concat_result", getConcatResult(), shape);
}

LogicalResult SplitOp::verify() {
  if (!getSplit() == !getNumOutputs())
    return emitOpError("needs exactly one of split and num_outputs");
  int64_t results = getOutputs().size();
  if (results == 0)
    return emitOpError("has no results");
  if (getNumOutputs() && *getNumOutputs() != results)
    return emitOpError("has ") << results << " results but num_outputs " << *getNumOutputs();
  std::optional<SmallVector<int64_t>> sizes = constantInts(getSplit());
  if (sizes && static_cast<int64_t>(sizes->size()) != results)
    return emitOpError("has ") << results << " results but " << sizes->size() << " sizes";
  RankedTensorType input = ranked(getInput());
  if (!input)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), input.getRank());
  if (failed(axis))
    return failure();
  int64_t total = input.getDimSize(*axis);
  if (getNumOutputs() && !ShapedType::isDynamic(total)) {
    int64_t part = (total + results - 1) / results;
    sizes.emplace();
    for (int64_t i = 0, left = total; i < results; ++i, left -= sizes->back())
      sizes->push_back(std::min(part, left));
  }
  if (sizes && differ(llvm::sum_of(*sizes), total))
    return emitOpError("sizes add up to ") << llvm::sum_of(*sizes) << ", not " << total;
  SmallVector<int64_t> shape(input.getShape());
  for (auto [i, output] : llvm::enumerate(getOutputs())) {
    shape[*axis] = sizes ? (*sizes)[i] : ShapedType::kDynamic;
    if (failed(verifyShape(*this, "outputs", output, shape)))
      return failure();
  }
  return success();
}

LogicalResult SliceOp::verify() {
  std::optional<int64_t> count = length(getStarts());
  for (auto [name, value] : {std::pair<StringRef, Value>("starts", getStarts()),
                             {"ends", getEnds()},
                             {"axes", getAxes()},
                             {"steps", getSteps()}}) {
    if (failed(verifyRank(*this, name, value, 1)))
      return failure();
    std::optional<int64_t> other = length(value);
    if (count && other && *other != *count)
      return emitOpError("'") << name << "' has " << *other << " elements, 'starts' has " << *count;
  }
  if (std::optional<SmallVector<int64_t>> steps = constantInts(getSteps()))
    if (llvm::is_contained(*steps, 0))
      return emitOpError("step 0");
  RankedTensorType data = ranked(getData());
  if (!data)
    return success();
  if (std::optional<SmallVector<int64_t>> axes = constantInts(getAxes()))
    if (failed(verifyAxes(*this, *axes, data.getRank())))
      return failure();
  return verifyRank(*this, "output", getOutput(), data.getRank());
}

LogicalResult ExpandOp::verify() {
  if (failed(verifyRank(*this, "shape", getShape(), 1)))
    return failure();
  RankedTensorType input = ranked(getInput());
  std::optional<SmallVector<int64_t>> shape = constantInts(getShape());
  if (!input || !shape)
    return success();
  std::optional<SmallVector<int64_t>> result = broadcastShapes(input.getShape(), *shape);
  if (!result)
    return emitOpError("'input' of shape ")
           << shapeText(input.getShape()) << " and shape " << shapeText(*shape) << " cannot be broadcast";
  return verifyShape(*this, "output", getOutput(), *result);
}

LogicalResult TileOp::verify() {
  RankedTensorType input = ranked(getInput());
  std::optional<int64_t> count = length(getRepeats());
  if (input && count && *count != input.getRank())
    return emitOpError("'repeats' has ") << *count << " elements for rank " << input.getRank();
  return input ? verifyRank(*this, "output", getOutput(), input.getRank()) : success();
}

LogicalResult PadOp::verify() {
  RankedTensorType data = ranked(getData());
  if (failed(verifyOneOf(*this, "mode", getMode(), {"constant", "reflect", "edge", "wrap"})) ||
      failed(verifyRank(*this, "pads", getPads(), 1)))
    return failure();
  std::optional<int64_t> pads = length(getPads()), axes = length(getAxes());
  int64_t padded = axes ? *axes : !getAxes() && data ? data.getRank() : -1;
  if (pads && padded >= 0 && *pads != 2 * padded)
    return emitOpError("'pads' has ") << *pads << " elements, not 2 * " << padded;
  return data ? verifyRank(*this, "output", getOutput(), data.getRank()) : success();
}

LogicalResult RangeOp::verify() { return verifyRank(*this, "output", getOutput(), 1); }

LogicalResult ConstantOfShapeOp::verify() {
  Type element = cast<TensorType>(getType()).getElementType();
  if (std::optional<ElementsAttr> value = getValue()) {
    if (value->getNumElements() != 1)
      return emitOpError("'value' has ") << value->getNumElements() << " elements, not 1";
    if (value->getElementType() != element)
      return emitOpError("'value' is of type ") << value->getElementType() << ", the result of " << element;
  } else if (!element.isF32()) {
    return emitOpError("without 'value' makes elements of type f32, not ") << element;
  }
  if (std::optional<int64_t> rank = length(getInput()))
    return verifyRank(*this, "output", getOutput(), *rank);
  return success();
}

LogicalResult ShapeOp::verify() {
  if (failed(verifyRank(*this, "shape", getShape(), 1)))
    return failure();
  RankedTensorType data = ranked(getData());
  if (!data)
    return success();
  auto clamp = [&](int64_t bound) {
    return std::clamp(bound < 0 ? bound + data.getRank() : bound, int64_t(0), data.getRank());
  };
  int64_t begin = clamp(getStart()), end = getEnd() ? clamp(*getEnd()) : data.getRank();
  return verifyShape(*this, "shape", getShape(), {std::max(end - begin, int64_t(0))});
}

LogicalResult ReverseSequenceOp::verify() {
  RankedTensorType input = ranked(getInput());
  if (failed(verifyRank(*this, "sequence_lens", getSequenceLens(), 1)))
    return failure();
  if (!input)
    return success();
  FailureOr<int64_t> batch = verifyAxis(*this, getBatchAxis(), input.getRank());
  FailureOr<int64_t> time = verifyAxis(*this, getTimeAxis(), input.getRank());
  if (failed(batch) || failed(time))
    return failure();
  if (*batch == *time)
    return emitOpError("batch_axis and time_axis are both ") << *batch;
  if (failed(verifyShape(*this, "sequence_lens", getSequenceLens(), {input.getDimSize(*batch)})))
    return failure();
  return verifyShape(*this, "Y", getY(), input.getShape());
}

LogicalResult UnpackOp::verify() {
  if (getBits() != 2 && getBits() != 4)
    return emitOpError("bits is ") << getBits() << ", not 2 or 4";
  RankedTensorType packed = ranked(getPacked());
  if (!packed)
    return success();
  if (packed.getRank() == 0)
    return emitOpError("'packed' has rank 0");
  SmallVector<int64_t> shape(packed.getShape());
  if (!ShapedType::isDynamic(shape.back()))
    shape.back() *= 8 / getBits();
  return verifyShape(*this, "unpacked", getUnpacked(), shape);
}
