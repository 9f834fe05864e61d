// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/WeightEvaluator.h"
#include "FloatCasts.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace caat;
using llvm::Expected;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

static llvm::Error unsupported(Operation *op, const Twine &why) {
  return llvm::createStringError("cannot evaluate " + op->getName().getStringRef() + " at compile time: " + why);
}

/// The same elements, dense.
static TensorView densified(const TensorView &view) {
  if (view.isDense())
    return view;
  auto [result, data] = TensorView::create(RankedTensorType::get(view.shape, view.element));
  copyDense(view, data);
  return result;
}

static TensorView reshaped(const TensorView &view, RankedTensorType type) {
  TensorView dense = densified(view);
  return TensorView::dense(dense.data, type, dense.owner);
}

/// `view` repeated to `shape` by numpy's rules.
static TensorView broadcast(const TensorView &view, ArrayRef<int64_t> shape) {
  TensorView result = view;
  result.shape.assign(shape.begin(), shape.end());
  result.strides.assign(shape.size(), 0);
  for (size_t d = 0; d < view.shape.size(); ++d) {
    size_t to = d + shape.size() - view.shape.size();
    result.strides[to] = view.shape[d] == 1 ? 0 : view.strides[d];
  }
  return result;
}

static double readNumber(const char *at, Type element) {
  auto read = [&](auto zero) {
    std::memcpy(&zero, at, sizeof(zero));
    return zero;
  };
  if (element.isF32())
    return read(0.0f);
  if (element.isF64())
    return read(0.0);
  if (auto type = dyn_cast<FloatType>(element)) {
    llvm::APInt bits(type.getWidth(), type.getWidth() == 8 ? read(uint8_t(0)) : read(uint16_t(0)));
    return llvm::APFloat(type.getFloatSemantics(), bits).convertToDouble();
  }
  bool isUnsigned = element.isUnsignedInteger();
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return *at != 0;
  case 2: // in a byte of its own: see unpackedElements
  case 4:
  case 8:
    return isUnsigned ? double(read(uint8_t(0))) : double(read(int8_t(0)));
  case 16:
    return isUnsigned ? double(read(uint16_t(0))) : double(read(int16_t(0)));
  case 32:
    return isUnsigned ? double(read(uint32_t(0))) : double(read(int32_t(0)));
  default:
    return isUnsigned ? double(read(uint64_t(0))) : double(read(int64_t(0)));
  }
}

static void writeNumber(char *at, Type element, double value) {
  auto write = [&](auto number) { std::memcpy(at, &number, sizeof(number)); };
  if (element.isF32())
    return write(static_cast<float>(value));
  if (element.isF64())
    return write(value);
  if (auto type = dyn_cast<FloatType>(element)) {
    // Twice rounded values differ from once rounded ones only where float's own rounding already decided.
    llvm::APFloat number(static_cast<float>(value));
    bool inexact;
    number.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &inexact);
    uint64_t bits = number.bitcastToAPInt().getZExtValue();
    return type.getWidth() == 8 ? write(static_cast<uint8_t>(bits)) : write(static_cast<uint16_t>(bits));
  }
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return write(static_cast<uint8_t>(value != 0));
  case 8:
    return element.isUnsignedInteger() ? write(static_cast<uint8_t>(value)) : write(static_cast<int8_t>(value));
  case 16:
    return element.isUnsignedInteger() ? write(static_cast<uint16_t>(value)) : write(static_cast<int16_t>(value));
  case 32:
    return element.isUnsignedInteger() ? write(static_cast<uint32_t>(value)) : write(static_cast<int32_t>(value));
  default:
    return element.isUnsignedInteger() ? write(static_cast<uint64_t>(value)) : write(static_cast<int64_t>(value));
  }
}

/// Visits the elements in row-major order.
static void forEachElement(const TensorView &view, llvm::function_ref<void(const char *)> visit) {
  forEachRun(view, [&](const char *first, int64_t length, int64_t stride) {
    for (int64_t i = 0; i < length; ++i)
      visit(first + i * stride * view.elementBytes());
  });
}

static SmallVector<int64_t> integers(const TensorView &view) {
  SmallVector<int64_t> result;
  forEachElement(view, [&](const char *at) { result.push_back(static_cast<int64_t>(readNumber(at, view.element))); });
  return result;
}

static TensorView mapped(RankedTensorType type, const TensorView &x, llvm::function_ref<double(double)> function) {
  auto [result, data] = TensorView::create(type);
  int64_t bytes = result.elementBytes();
  forEachElement(x, [&, to = data](const char *at) mutable {
    writeNumber(to, type.getElementType(), function(readNumber(at, x.element)));
    to += bytes;
  });
  return result;
}

static TensorView combined(RankedTensorType type, const TensorView &x, const TensorView &y,
                           llvm::function_ref<double(double, double)> function) {
  auto [result, data] = TensorView::create(type);
  TensorView a = broadcast(x, type.getShape()), b = broadcast(y, type.getShape());
  int64_t bytes = result.elementBytes(), count = result.numElements();
  bool isFloat = type.getElementType().isF32();
  for (int64_t i = 0; i < count; ++i) {
    double value = function(readNumber(a.at(i), a.element), readNumber(b.at(i), b.element));
    writeNumber(data + i * bytes, type.getElementType(), isFloat ? static_cast<float>(value) : value);
  }
  return result;
}

static bool isBelowByte(Type element) {
  return element.isIntOrFloat() && element.getIntOrFloatBitWidth() > 1 && element.getIntOrFloatBitWidth() < 8;
}

/// Integers below a byte, each in a byte of its own. `packed`: their bytes as files have them, lowest bits first.
static TensorView unpackedElements(RankedTensorType type, ArrayRef<char> packed) {
  auto [result, data] = TensorView::create(type);
  unsigned bits = type.getElementTypeBitWidth(), perByte = 8 / bits;
  bool isUnsigned = type.getElementType().isUnsignedInteger();
  for (int64_t i = 0, count = type.getNumElements(); i < count; ++i) {
    auto top = static_cast<uint8_t>(static_cast<uint8_t>(packed[i / perByte]) << (8 - bits - i % perByte * bits));
    data[i] =
        isUnsigned ? static_cast<char>(top >> (8 - bits)) : static_cast<char>(static_cast<int8_t>(top) >> (8 - bits));
  }
  return result;
}

static Expected<TensorView> evaluateConstant(Operation *op, ElementsAttr attr) {
  auto type = cast<RankedTensorType>(attr.getShapedType());
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
    return TensorView::dense(resource.getData().data(), type);
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense)
    return unsupported(op, "the constant is not dense");
  if (dense.getElementType().isInteger(1)) {
    auto [result, data] = TensorView::create(type);
    for (bool value : dense.getValues<bool>())
      *data++ = value;
    return result;
  }
  if (isBelowByte(dense.getElementType()) && dense.getElementType().isInteger()) {
    auto [result, data] = TensorView::create(type);
    for (const APInt &value : dense.getValues<APInt>())
      *data++ = dense.getElementType().isUnsignedInteger() ? value.getZExtValue() : value.getSExtValue();
    return result;
  }
  ArrayRef<char> raw = dense.getRawData();
  if (dense.isSplat()) {
    auto owner = std::make_shared<std::vector<char>>(raw.begin(), raw.end());
    TensorView result = TensorView::dense(owner->data(), type, owner);
    llvm::fill(result.strides, 0);
    return result;
  }
  return TensorView::dense(raw.data(), type);
}

static Expected<TensorView> evaluateShard(tp::ShardOp op, const TensorView &input, int64_t rank) {
  auto pieces = cast<DenseI64ArrayAttr>(op.getPieces()[rank]).asArrayRef();
  int64_t dim = op.getDim(), used = 0;
  if (pieces.size() == 2 && pieces[1] == static_cast<int64_t>(op.getSize()))
    return input.slice(dim, pieces[0], pieces[1]);
  auto type = typeOf(op.getResult());
  auto [result, data] = TensorView::create(type);
  SmallVector<int64_t> offsets(type.getRank());
  for (size_t i = 0; i + 1 < pieces.size(); i += 2) {
    if (pieces[i] >= 0 && pieces[i + 1] > 0) {
      offsets[dim] = used;
      copyInto(input.slice(dim, pieces[i], pieces[i + 1]), data, type.getShape(), offsets);
    }
    used += pieces[i + 1];
  }
  return result;
}

static Expected<TensorView> evaluateSlice(onnx::SliceOp op, ArrayRef<TensorView> operands) {
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
  auto type = typeOf(op.getResult());
  int64_t rank = data.shape.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis();
  SmallVector<int64_t> indices = integers(operands[1]);
  // The gathered dimension as one, then in the indices' shape.
  SmallVector<int64_t> shape(data.shape), offsets(rank);
  shape[axis] = indices.size();
  auto [result, to] = TensorView::create(RankedTensorType::get(shape, data.element));
  for (auto [i, index] : llvm::enumerate(indices)) {
    int64_t at = index < 0 ? index + data.shape[axis] : index;
    if (at < 0 || at >= data.shape[axis])
      return unsupported(op, "index " + Twine(index) + " is outside of a dimension of " + Twine(data.shape[axis]));
    offsets[axis] = i;
    copyInto(data.slice(axis, at, 1), to, shape, offsets);
  }
  return TensorView::dense(result.data, type, result.owner);
}

static Expected<TensorView> evaluatePad(onnx::PadOp op, ArrayRef<TensorView> operands) {
  const TensorView &data = operands[0];
  auto type = typeOf(op.getResult());
  SmallVector<int64_t> pads = integers(operands[1]), axes;
  size_t next = 2;
  double value = 0;
  if (op.getConstantValue())
    value = readNumber(operands[next].data, operands[next].element), ++next;
  if (op.getAxes())
    axes = integers(operands[next]);
  else
    for (int64_t d = 0; d < type.getRank(); ++d)
      axes.push_back(d);
  if (op.getMode() != "constant" || llvm::any_of(pads, [](int64_t pad) { return pad < 0; }))
    return unsupported(op, "only padding with a constant is");
  auto [result, to] = TensorView::create(type);
  if (value != 0)
    for (int64_t i = 0, count = result.numElements(); i < count; ++i)
      writeNumber(to + i * result.elementBytes(), result.element, value);
  SmallVector<int64_t> offsets(type.getRank());
  for (auto [i, axis] : llvm::enumerate(axes))
    offsets[axis < 0 ? axis + type.getRank() : axis] = pads[i];
  copyInto(data, to, type.getShape(), offsets);
  return result;
}

/// Numbers below a byte, one to a byte.
static TensorView unpacked(RankedTensorType type, const TensorView &packed, unsigned bits) {
  auto [result, data] = TensorView::create(type);
  auto *to = reinterpret_cast<uint8_t *>(data);
  uint8_t mask = (1u << bits) - 1;
  forEachRun(packed, [&, to](const char *first, int64_t length, int64_t stride) mutable {
    for (int64_t i = 0; i < length; ++i)
      for (unsigned shift = 0; shift < 8; shift += bits)
        *to++ = static_cast<uint8_t>(first[i * stride]) >> shift & mask;
  });
  return result;
}

/// dequantized() of a matrix of bytes in blocks along its rows, which large weights are. Products of a byte and an f32
/// are rounded once, as in the general form.
template <typename Byte>
static void dequantizeRows(const TensorView &x, const TensorView &scale, const TensorView *zero, int64_t block,
                           float *to) {
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    const auto *row = reinterpret_cast<const Byte *>(x.data + r * x.strides[0]);
    for (int64_t b = 0; b * block < x.shape[1]; ++b) {
      int64_t offset = r * scale.strides[0] + b * scale.strides[1];
      float s = static_cast<float>(readNumber(scale.data + offset * scale.elementBytes(), scale.element));
      int z =
          zero ? static_cast<int>(readNumber(zero->data + r * zero->strides[0] + b * zero->strides[1], zero->element))
               : 0;
      int64_t end = std::min((b + 1) * block, x.shape[1]);
      for (int64_t i = b * block; i < end; ++i)
        *to++ = static_cast<float>(static_cast<int>(row[i]) - z) * s;
    }
  }
}

/// (x - zero) * scale, whose scale is of one element, of one for each slice of `axis`, or of one for each block along
/// it.
static Expected<TensorView> dequantized(onnx::DequantizeLinearOp op, ArrayRef<TensorView> operands) {
  auto type = typeOf(op.getResult());
  const TensorView &x = operands[0], &scale = operands[1];
  const TensorView *zero = operands.size() > 2 ? &operands[2] : nullptr;
  int64_t rank = x.shape.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis(),
          block = op.getBlockSize();
  int64_t scaleRank = scale.shape.size();
  bool single = scale.numElements() == 1, blocked = !single && block > 0;
  if (!single && (axis >= rank || (blocked ? scaleRank != rank : scaleRank != 1)))
    return unsupported(op, "with a scale of this shape");
  // Scale and zero point along a row; a row is the last dimension.
  int64_t row = rank ? x.shape.back() : 1, rows = row ? x.numElements() / row : 0;
  auto [result, data] = TensorView::create(type);
  int64_t bytes = result.elementBytes();
  bool isF32 = type.getElementType().isF32();
  auto inByte = [](Type element) { return element.isInteger(8) || element.isInteger(4) || element.isInteger(2); };
  bool ofBytes = inByte(x.element) && (!zero || inByte(zero->element));
  if (blocked && rank == 2 && axis == 1 && x.strides[1] == 1 && ofBytes && isF32 && isa<FloatType>(scale.element)) {
    auto *to = reinterpret_cast<float *>(data);
    x.element.isUnsignedInteger() ? dequantizeRows<uint8_t>(x, scale, zero, block, to)
                                  : dequantizeRows<int8_t>(x, scale, zero, block, to);
    return result;
  }
  for (int64_t r = 0; r < rows; ++r) {
    SmallVector<int64_t> index(rank);
    int64_t rest = r;
    for (int64_t d = rank - 2; d >= 0; --d) {
      index[d] = rest % x.shape[d];
      rest /= x.shape[d];
    }
    const char *from = x.data, *last = nullptr;
    for (int64_t d = 0; d + 1 < rank; ++d)
      from += index[d] * x.strides[d] * x.elementBytes();
    double s = 0, z = 0;
    for (int64_t i = 0; i < row; ++i) {
      int64_t offset = 0, zeroOffset = 0;
      if (rank)
        index[rank - 1] = i;
      if (blocked)
        for (int64_t d = 0; d < rank; ++d) {
          int64_t at = d == axis ? index[d] / block : index[d];
          offset += at * scale.strides[d];
          zeroOffset += zero ? at * zero->strides[d] : 0;
        }
      else if (!single) {
        offset = index[axis] * scale.strides[0];
        zeroOffset = zero ? index[axis] * zero->strides[0] : 0;
      }
      const char *place = scale.data + offset * scale.elementBytes();
      if (place != last) {
        last = place;
        s = readNumber(place, scale.element);
        z = zero ? readNumber(zero->data + zeroOffset * zero->elementBytes(), zero->element) : 0;
      }
      const char *at = from + (rank ? i * x.strides[rank - 1] : 0) * x.elementBytes();
      double value = (readNumber(at, x.element) - z) * s;
      char *to = data + (r * row + i) * bytes;
      if (isF32) {
        float narrow = static_cast<float>(value);
        std::memcpy(to, &narrow, sizeof(narrow));
      } else {
        writeNumber(to, type.getElementType(), value);
      }
    }
  }
  return result;
}

WeightEvaluator::WeightEvaluator(ModuleOp module) : files(module), symbols(module), limit(int64_t(1) << 30) {
  // 16: a 4-bit weight as double. The rest is room for masks and tables that a model computes from small constants.
  for (auto initializer : module.getOps<onnx::InitializerOp>())
    limit += std::min<int64_t>(initializer.getLength(), (int64_t(1) << 46)) * 16;
}

Expected<TensorView> WeightEvaluator::evaluateOp(OpResult value, ArrayRef<TensorView> operands, int64_t rank) {
  Operation *op = value.getOwner();
  RankedTensorType type = typeOf(value);
  return llvm::TypeSwitch<Operation *, Expected<TensorView>>(op)
      .Case([&](onnx::GetInitializerOp get) -> Expected<TensorView> {
        auto initializer = symbols.lookup<onnx::InitializerOp>(get.getName());
        if (!initializer)
          return unsupported(op, "no initializer '" + get.getName() + "'");
        Expected<ArrayRef<char>> bytes = files.bytes(initializer);
        if (!bytes)
          return bytes.takeError();
        if (isBelowByte(type.getElementType()))
          return type.getElementType().isInteger() ? Expected<TensorView>(unpackedElements(type, *bytes))
                                                   : unsupported(op, "floats below a byte are not known");
        return TensorView::dense(bytes->data(), type);
      })
      .Case([&](onnx::ConstantOp constant) { return evaluateConstant(op, constant.getValue()); })
      .Case([&](arith::ConstantOp constant) { return evaluateConstant(op, cast<ElementsAttr>(constant.getValue())); })
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
          [&](auto) -> Expected<TensorView> { return reshaped(operands[0], type); })
      .Case([&](onnx::IdentityOp) -> Expected<TensorView> { return operands[0]; })
      .Case([&](onnx::ExpandOp) -> Expected<TensorView> { return broadcast(operands[0], type.getShape()); })
      .Case([&](tp::ShardOp shard) { return evaluateShard(shard, operands[0], rank); })
      .Case([&](onnx::SliceOp slice) { return evaluateSlice(slice, operands); })
      .Case([&](onnx::GatherOp gather) { return evaluateGather(gather, operands); })
      .Case([&](onnx::PadOp pad) { return evaluatePad(pad, operands); })
      .Case(
          [&](onnx::UnpackOp unpack) -> Expected<TensorView> { return unpacked(type, operands[0], unpack.getBits()); })
      .Case([&](onnx::DequantizeLinearOp op) { return dequantized(op, operands); })
      .Case([&](onnx::SplitOp split) -> Expected<TensorView> {
        int64_t axis = split.getAxis() < 0 ? split.getAxis() + type.getRank() : split.getAxis(), start = 0;
        for (unsigned i = 0; i < value.getResultNumber(); ++i)
          start += typeOf(op->getResult(i)).getDimSize(axis);
        return operands[0].slice(axis, start, type.getDimSize(axis));
      })
      .Case([&](onnx::ConcatOp concat) -> Expected<TensorView> {
        auto [result, data] = TensorView::create(type);
        int64_t axis = concat.getAxis() < 0 ? concat.getAxis() + type.getRank() : concat.getAxis();
        SmallVector<int64_t> offsets(type.getRank());
        for (const TensorView &part : operands) {
          copyInto(part, data, type.getShape(), offsets);
          offsets[axis] += part.shape[axis];
        }
        return result;
      })
      .Case([&](onnx::CastOp) -> Expected<TensorView> {
        if (FloatCast cast = floatCast(operands[0].element, type.getElementType())) {
          auto [result, data] = TensorView::create(type);
          cast(operands[0], data);
          return result;
        }
        bool toBool = type.getElementType().isInteger(1);
        return mapped(type, operands[0], [&](double x) { return toBool ? x != 0 : x; });
      })
      .Case(
          [&](onnx::AddOp) -> Expected<TensorView> { return combined(type, operands[0], operands[1], std::plus<>()); })
      .Case(
          [&](onnx::SubOp) -> Expected<TensorView> { return combined(type, operands[0], operands[1], std::minus<>()); })
      .Case([&](onnx::MulOp) -> Expected<TensorView> {
        return combined(type, operands[0], operands[1], std::multiplies<>());
      })
      .Case([&](onnx::DivOp) -> Expected<TensorView> {
        if (!isa<FloatType>(type.getElementType()))
          return unsupported(op, "only of floating-point numbers");
        return combined(type, operands[0], operands[1], std::divides<>());
      })
      .Case([&](onnx::NegOp) -> Expected<TensorView> { return mapped(type, operands[0], std::negate<>()); })
      .Case([&](onnx::SqrtOp) -> Expected<TensorView> {
        return mapped(type, operands[0], [](double x) { return std::sqrt(x); });
      })
      .Case([&](onnx::ExpOp) -> Expected<TensorView> {
        return mapped(type, operands[0], [](double x) { return std::exp(x); });
      })
      .Default([&](Operation *) -> Expected<TensorView> { return unsupported(op, "not known"); });
}

Expected<TensorView> WeightEvaluator::evaluate(Value value, int64_t rank, llvm::DenseMap<Value, TensorView> &known) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  std::optional<int64_t> bytes = onnx::storageBytes(typeOf(value));
  if (!bytes || *bytes > limit)
    return unsupported(value.getDefiningOp(), "its result would be larger than " + Twine(limit >> 20) + " MiB");
  SmallVector<TensorView> operands;
  for (Value operand : value.getDefiningOp()->getOperands()) {
    Expected<TensorView> view = evaluate(operand, rank, known);
    if (!view)
      return view.takeError();
    operands.push_back(std::move(*view));
  }
  Expected<TensorView> result = evaluateOp(cast<OpResult>(value), operands, rank);
  if (result)
    known[value] = *result;
  return result;
}

Expected<TensorView> WeightEvaluator::evaluate(Value value, int64_t rank) {
  llvm::DenseMap<Value, TensorView> known;
  return evaluate(value, rank, known);
}

Expected<TensorView> WeightEvaluator::evaluate(rt::WeightOp weight, int64_t rank) {
  return evaluate(weight.getYielded(), rank);
}

bool WeightEvaluator::supports(Operation *op) {
  bool isStatic = llvm::all_of(op->getResultTypes(), [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape() && tensor.getElementType().isIntOrFloat() &&
           (tensor.getElementTypeBitWidth() == 1 || tensor.getElementTypeBitWidth() % 8 == 0);
  });
  // The cases of evaluateOp.
  return isStatic &&
         isa<onnx::GetInitializerOp, onnx::ConstantOp, arith::ConstantOp, onnx::TransposeOp, onnx::ReshapeOp,
             onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::IdentityOp, onnx::ExpandOp, tp::ShardOp,
             onnx::SliceOp, onnx::GatherOp, onnx::PadOp, onnx::SplitOp, onnx::ConcatOp, onnx::CastOp, onnx::AddOp,
             onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::NegOp, onnx::SqrtOp, onnx::ExpOp>(op);
}
