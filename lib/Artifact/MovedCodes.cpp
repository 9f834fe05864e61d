// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "MovedCodes.h"
#include "FloatCasts.h"
#include "WeightMovement.h"
#include "WeightNumbers.h"
#include "caat/Lower/BlockStructure.h"
#include "dialects/tp/TP.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace caat;
using llvm::Expected;

/// Scale and offset for each element.
static TensorView spread(const TensorView &view, const CodedView &coded) {
  // Repeated along a further dimension, made one with `axis`, and cut where the last block is short.
  TensorView repeated = view;
  repeated.shape.insert(repeated.shape.begin() + coded.axis + 1, coded.times);
  repeated.strides.insert(repeated.strides.begin() + coded.axis + 1, 0);
  repeated = densified(repeated);
  SmallVector<int64_t> shape(view.shape);
  shape[coded.axis] *= coded.times;
  TensorView joined = TensorView::dense(repeated.data, RankedTensorType::get(shape, view.element), repeated.owner);
  return joined.slice(coded.axis, 0, coded.codes.shape[coded.axis]);
}

static void spread(CodedView &coded) {
  if (coded.times == 1)
    return;
  coded.scale = spread(coded.scale, coded);
  if (coded.offset)
    coded.offset = spread(*coded.offset, coded);
  coded.times = 1;
}

namespace {

class Mover {
public:
  Mover(rt::BlocksAttr form, int64_t rank, WeightEvaluator &evaluator)
      : form(form), rank(rank), evaluator(evaluator),
        ui8(IntegerType::get(form.getContext(), 8, IntegerType::Unsigned)), f32(Float32Type::get(form.getContext())) {}

  Expected<CodedView> move(Value value) {
    if (auto it = known.find(value); it != known.end())
      return it->second;
    Expected<CodedView> result = compute(cast<OpResult>(value));
    if (result)
      known[value] = *result;
    return result;
  }

private:
  Expected<CodedView> compute(OpResult value) {
    Operation *op = value.getOwner();
    if (auto dequantize = dyn_cast<onnx::DequantizeLinearOp>(op))
      return codesOf(dequantize);
    if (auto cast = dyn_cast<onnx::CastOp>(op))
      return move(cast.getInput());
    if (auto sub = dyn_cast<onnx::SubOp>(op))
      return withMinimum(move(sub.getA()), sub.getB(), -1);
    if (auto add = dyn_cast<onnx::AddOp>(op)) {
      bool second = !dequantizationOf(add.getA());
      return withMinimum(move(second ? add.getB() : add.getA()), second ? add.getA() : add.getB(), 1);
    }
    if (!movesElements(op))
      return unsupported(op, "it does not move codes");
    return moveParts(value);
  }

  /// The operands' codes, scales and offsets, each moved alone.
  Expected<CodedView> moveParts(OpResult value) {
    Operation *op = value.getOwner();
    size_t numMoved = movedOperands(op).size();
    std::vector<CodedView> parts;
    SmallVector<TensorView> others;
    for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
      if (i < numMoved) {
        Expected<CodedView> part = move(operand);
        if (!part)
          return part.takeError();
        parts.push_back(std::move(*part));
        continue;
      }
      Expected<TensorView> view = evaluator.evaluate(operand, rank);
      if (!view)
        return view.takeError();
      others.push_back(std::move(*view));
    }
    CodedView result;
    std::optional<int64_t> axis = movedAxis(op, parts, others);
    if (!axis)
      for (CodedView &part : parts)
        spread(part);
    result.axis = axis.value_or(0);
    result.times = parts.front().times;
    auto moveOne = [&](auto member, TensorView &to) -> llvm::Error {
      SmallVector<TensorView> operands;
      for (const CodedView &part : parts)
        operands.push_back(member(part));
      llvm::append_range(operands, others);
      Expected<TensorView> view = moved(value, operands, rank);
      if (!view)
        return view.takeError();
      to = std::move(*view);
      return llvm::Error::success();
    };
    if (llvm::Error error = moveOne([](const CodedView &part) { return part.codes; }, result.codes))
      return std::move(error);
    if (llvm::Error error = moveOne([](const CodedView &part) { return part.scale; }, result.scale))
      return std::move(error);
    if (parts.front().offset) {
      result.offset.emplace();
      if (llvm::Error error = moveOne([](const CodedView &part) { return *part.offset; }, *result.offset))
        return std::move(error);
    }
    return result;
  }

  /// Where the dimension with fewer scales than codes is in the result; nothing where `op` works on it.
  static std::optional<int64_t> movedAxis(Operation *op, ArrayRef<CodedView> parts, ArrayRef<TensorView> others) {
    int64_t axis = parts.front().axis, extents = parts.front().codes.shape.size();
    auto normalized = [&](int64_t dim) { return dim < 0 ? dim + extents : dim; };
    auto other = [&](int64_t dim) { return normalized(dim) == axis ? std::nullopt : std::optional(axis); };
    for (const CodedView &part : parts)
      if (part.axis != axis || part.times != parts.front().times)
        return std::nullopt;
    if (auto transpose = dyn_cast<onnx::TransposeOp>(op)) {
      for (int64_t d = 0; d < extents; ++d)
        if ((transpose.getPerm() ? (*transpose.getPerm())[d] : extents - 1 - d) == axis)
          return d;
      return std::nullopt;
    }
    if (auto shard = dyn_cast<tp::ShardOp>(op))
      return other(shard.getDim());
    if (auto split = dyn_cast<onnx::SplitOp>(op))
      return other(split.getAxis());
    if (auto concat = dyn_cast<onnx::ConcatOp>(op))
      return other(concat.getAxis());
    if (auto slice = dyn_cast<onnx::SliceOp>(op); slice && slice.getAxes()) {
      SmallVector<int64_t> axes = integers(others[2]);
      return llvm::all_of(axes, other) ? std::optional(axis) : std::nullopt;
    }
    if (auto gather = dyn_cast<onnx::GatherOp>(op)) {
      int64_t added = static_cast<int64_t>(others.front().shape.size()) - 1;
      return other(gather.getAxis()) ? std::optional(axis + (normalized(gather.getAxis()) < axis ? added : 0))
                                     : std::nullopt;
    }
    return std::nullopt;
  }

  /// Floats added to each element, or subtracted.
  Expected<CodedView> withMinimum(Expected<CodedView> coded, Value minimum, double sign) {
    if (!coded)
      return coded;
    Expected<TensorView> added = evaluator.evaluate(minimum, rank);
    if (!added)
      return added.takeError();
    spread(*coded);
    TensorView own = mapped(RankedTensorType::get(added->shape, f32), *added, [&](double x) { return sign * x; });
    coded->offset = broadcast(own, coded->codes.shape);
    return coded;
  }

  /// Bytes plus a number, of which the lowest eight bits count.
  TensorView shifted(const TensorView &view, int64_t by) {
    TensorView bytes = view;
    bytes.element = ui8;
    if (by % 256 == 0)
      return bytes;
    auto [result, data] = TensorView::create(RankedTensorType::get(view.shape, ui8));
    auto *to = reinterpret_cast<uint8_t *>(data);
    auto add = static_cast<uint8_t>(by);
    forEachRun(bytes, [&, to, add](const char *first, int64_t length, int64_t stride) mutable {
      for (int64_t i = 0; i < length; ++i)
        to[i] = static_cast<uint8_t>(static_cast<uint8_t>(first[i * stride]) + add);
      to += length;
    });
    return result;
  }

  static llvm::Error wrongShape(onnx::DequantizeLinearOp op) { return unsupported(op, "with a scale of this shape"); }

  /// The numbers of an element, a slice or a block each, in the codes' shape but for the blocks' dimension.
  static Expected<TensorView> placed(onnx::DequantizeLinearOp op, const TensorView &numbers, ArrayRef<int64_t> shape) {
    int64_t rank = shape.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis();
    TensorView result = numbers;
    if (op.getBlockSize() > 0 && numbers.numElements() != 1) {
      SmallVector<int64_t> blocks(shape);
      if (axis >= rank)
        return wrongShape(op);
      blocks[axis] = llvm::divideCeil(blocks[axis], op.getBlockSize());
      return ArrayRef(blocks) == ArrayRef(numbers.shape) ? Expected<TensorView>(result) : wrongShape(op);
    }
    result.shape.assign(shape.begin(), shape.end());
    result.strides.assign(rank, 0);
    if (numbers.numElements() == 1)
      return result;
    if (numbers.shape.size() != 1 || axis >= rank || numbers.shape[0] != shape[axis])
      return wrongShape(op);
    result.strides[axis] = numbers.strides[0];
    return result;
  }

  /// A zero point for each scale, or each of the one that is known.
  Expected<TensorView> zeroPoints(onnx::DequantizeLinearOp op, const Codes &codes, int64_t shift,
                                  const CodedView &coded) {
    if (!codes.zero) {
      Expected<TensorView> zero = evaluator.evaluate(op.getXZeroPoint(), rank);
      return zero ? placed(op, shifted(*zero, shift), coded.codes.shape) : std::move(zero);
    }
    auto [one, data] = TensorView::create(RankedTensorType::get({1}, ui8));
    *data = static_cast<char>(*codes.zero + shift);
    one.shape = coded.scale.shape;
    one.strides.assign(one.shape.size(), 0);
    return one;
  }

  Expected<CodedView> codesOf(onnx::DequantizeLinearOp op) {
    std::optional<Codes> codes = caat::codesOf(op);
    if (!codes)
      return unsupported(op, "it has no codes that are kept");
    Expected<TensorView> x = evaluator.evaluate(op.getX(), rank);
    if (!x)
      return x.takeError();
    Expected<TensorView> scale = evaluator.evaluate(op.getXScale(), rank);
    if (!scale)
      return scale.takeError();
    CodedView coded;
    if (op.getBlockSize() > 0 && scale->numElements() != 1) {
      coded.axis = op.getAxis() < 0 ? op.getAxis() + static_cast<int64_t>(x->shape.size()) : op.getAxis();
      coded.times = op.getBlockSize();
    }
    if (FloatCast cast = floatCast(scale->element, f32)) {
      auto [wide, data] = TensorView::create(RankedTensorType::get(scale->shape, f32));
      cast(*scale, data);
      *scale = wide;
    }
    Expected<TensorView> scales = placed(op, *scale, x->shape);
    if (!scales)
      return scales.takeError();
    coded.scale = std::move(*scales);
    int64_t half = int64_t(1) << (form.getBits() - 1);
    if (form.getOffset() != rt::BlockOffset::Zeros) {
      coded.codes = shifted(*x, (form.getOffset() == rt::BlockOffset::Middle ? half : 0) - codes->zero.value_or(0));
      return coded;
    }
    int64_t shift = codes->lowest < 0 ? half : 0;
    coded.codes = shifted(*x, shift);
    Expected<TensorView> zeros = zeroPoints(op, *codes, shift, coded);
    if (!zeros)
      return zeros.takeError();
    coded.offset = std::move(*zeros);
    return coded;
  }

  rt::BlocksAttr form;
  int64_t rank;
  WeightEvaluator &evaluator;
  Type ui8;
  FloatType f32;
  llvm::DenseMap<Value, CodedView> known;
};

} // namespace

Expected<CodedView> caat::moveCodes(Value value, rt::BlocksAttr form, int64_t rank, WeightEvaluator &evaluator) {
  return Mover(form, rank, evaluator).move(value);
}
