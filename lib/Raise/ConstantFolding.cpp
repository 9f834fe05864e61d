// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/ConstantFolding.h"
#include "Positions.h"

#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

namespace {

/// A tensor's elements on the host: floats as double, all others as 64-bit integers.
struct HostTensor {
  SmallVector<int64_t> shape;
  bool isFloat = false;
  std::vector<double> floats;
  std::vector<int64_t> ints;

  int64_t size() const {
    int64_t count = 1;
    for (int64_t dim : shape)
      count *= dim;
    return count;
  }
  void resize(int64_t count) {
    if (isFloat)
      floats.resize(count);
    else
      ints.resize(count);
  }
  double number(int64_t i) const { return isFloat ? floats[i] : static_cast<double>(ints[i]); }
  void copyElement(int64_t to, const HostTensor &other, int64_t from) {
    if (isFloat)
      floats[to] = other.floats[from];
    else
      ints[to] = other.ints[from];
  }
};

} // namespace

static std::optional<HostTensor> readConstant(Value value) {
  auto constant = value.getDefiningOp<caat::onnx::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!dense)
    return std::nullopt;
  HostTensor tensor;
  tensor.shape.assign(dense.getType().getShape().begin(), dense.getType().getShape().end());
  Type type = dense.getElementType();
  if (isa<FloatType>(type)) {
    tensor.isFloat = true;
    for (APFloat element : dense.getValues<APFloat>()) {
      bool inexact;
      element.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
      tensor.floats.push_back(element.convertToDouble());
    }
    return tensor;
  }
  if (!type.isIntOrIndex())
    return std::nullopt;
  bool zeroExtend = type.isInteger(1) || type.isUnsignedInteger();
  for (const APInt &element : dense.getValues<APInt>())
    tensor.ints.push_back(zeroExtend ? element.getZExtValue() : element.getSExtValue());
  return tensor;
}

static DenseElementsAttr write(const HostTensor &tensor, RankedTensorType type) {
  if (auto floatType = dyn_cast<FloatType>(type.getElementType())) {
    std::vector<APFloat> elements;
    for (double number : tensor.floats) {
      APFloat element(number);
      bool inexact;
      element.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
      elements.push_back(element);
    }
    return DenseElementsAttr::get(type, ArrayRef<APFloat>(elements));
  }
  unsigned width = type.getElementType().getIntOrFloatBitWidth();
  std::vector<APInt> elements;
  for (int64_t number : tensor.ints)
    elements.push_back(APInt(64, number).sextOrTrunc(width));
  return DenseElementsAttr::get(type, ArrayRef<APInt>(elements));
}

static std::optional<double> unary(Operation *op, double x) {
  using namespace caat::onnx;
  return TypeSwitch<Operation *, std::optional<double>>(op)
      .Case([&](NegOp) { return -x; })
      .Case([&](AbsOp) { return std::fabs(x); })
      .Case([&](SqrtOp) { return std::sqrt(x); })
      .Case([&](ReciprocalOp) { return 1.0 / x; })
      .Case([&](ExpOp) { return std::exp(x); })
      .Case([&](LogOp) { return std::log(x); })
      .Case([&](SinOp) { return std::sin(x); })
      .Case([&](CosOp) { return std::cos(x); })
      .Case([&](TanhOp) { return std::tanh(x); })
      .Case([&](ErfOp) { return std::erf(x); })
      .Case([&](FloorOp) { return std::floor(x); })
      .Case([&](CeilOp) { return std::ceil(x); })
      .Default(std::nullopt);
}

/// Integers modulo 2^64; by zero they are not divided.
template <typename T> static std::optional<T> arithmetic(Operation *op, T a, T b) {
  using namespace caat::onnx;
  auto wrapped = [&](auto function) -> std::optional<T> {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(function(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
    else
      return function(a, b);
  };
  return TypeSwitch<Operation *, std::optional<T>>(op)
      .Case([&](AddOp) { return wrapped(std::plus<>()); })
      .Case([&](SubOp) { return wrapped(std::minus<>()); })
      .Case([&](MulOp) { return wrapped(std::multiplies<>()); })
      .Case([&](DivOp) -> std::optional<T> {
        if constexpr (std::is_integral_v<T>)
          if (b == 0)
            return std::nullopt;
        if constexpr (std::is_integral_v<T> && std::is_signed_v<T>)
          if (b == -1)
            return wrapped([](uint64_t a, uint64_t) { return 0 - a; });
        return a / b;
      })
      .Case([&](MinOp) { return std::min(a, b); })
      .Case([&](MaxOp) { return std::max(a, b); })
      .Case([&](PowOp) -> std::optional<T> {
        if constexpr (std::is_integral_v<T>)
          return std::nullopt;
        else
          return std::pow(a, b);
      })
      .Default(std::nullopt);
}

template <typename T> static std::optional<bool> comparison(Operation *op, T a, T b) {
  using namespace caat::onnx;
  return TypeSwitch<Operation *, std::optional<bool>>(op)
      .Case([&](EqualOp) { return a == b; })
      .Case([&](LessOp) { return a < b; })
      .Case([&](LessOrEqualOp) { return a <= b; })
      .Case([&](GreaterOp) { return a > b; })
      .Case([&](GreaterOrEqualOp) { return a >= b; })
      .Case([&](AndOp) { return a != 0 && b != 0; })
      .Case([&](OrOp) { return a != 0 || b != 0; })
      .Case([&](XorOp) { return (a != 0) != (b != 0); })
      .Default(std::nullopt);
}

/// One element of an element-wise op.
static bool elementwise(Operation *op, ArrayRef<HostTensor> in, ArrayRef<int64_t> index, HostTensor &out, int64_t i) {
  using namespace caat::onnx;
  auto at = [&](unsigned operand) { return caat::broadcastPosition(index, in[operand].shape); };
  if (auto cast = dyn_cast<CastOp>(op)) {
    const HostTensor &x = in[0];
    if (out.isFloat) {
      out.floats[i] = x.number(at(0));
    } else if (cast.getTo().isInteger(1)) {
      out.ints[i] = x.number(at(0)) != 0;
    } else if (!x.isFloat) {
      out.ints[i] = x.ints[at(0)];
    } else {
      double number = std::trunc(x.floats[at(0)]);
      if (!(std::fabs(number) < 9.0e18))
        return false;
      out.ints[i] = static_cast<int64_t>(number);
    }
    return true;
  }
  if (isa<IdentityOp>(op)) {
    out.copyElement(i, in[0], at(0));
    return true;
  }
  if (isa<WhereOp>(op)) {
    unsigned chosen = in[0].ints[at(0)] ? 1 : 2;
    out.copyElement(i, in[chosen], at(chosen));
    return true;
  }
  if (isa<NotOp>(op)) {
    out.ints[i] = in[0].ints[at(0)] == 0;
    return true;
  }
  if (in.size() == 1 && !isa<MinOp, MaxOp>(op)) {
    if (!out.isFloat)
      return false;
    auto result = unary(op, in[0].floats[at(0)]);
    if (result)
      out.floats[i] = *result;
    return result.has_value();
  }
  if (in.size() != 2 || in[0].isFloat != in[1].isFloat)
    return false;
  const bool isFloat = in[0].isFloat;
  // The upper half of uint64 is negative in `ints`.
  const bool isUnsigned = getElementTypeOrSelf(op->getOperand(0)).isUnsignedInteger(64);
  auto compute = [&](auto function) {
    return isFloat      ? function(in[0].floats[at(0)], in[1].floats[at(1)])
           : isUnsigned ? function(static_cast<uint64_t>(in[0].ints[at(0)]), static_cast<uint64_t>(in[1].ints[at(1)]))
                        : function(in[0].ints[at(0)], in[1].ints[at(1)]);
  };
  auto truth = compute([&](auto a, auto b) { return comparison(op, a, b); });
  if (truth) {
    out.ints[i] = *truth;
    return true;
  }
  return compute([&](auto a, auto b) {
    auto result = arithmetic(op, a, b);
    if (!result)
      return false;
    if (isFloat)
      out.floats[i] = static_cast<double>(*result);
    else
      out.ints[i] = static_cast<int64_t>(*result);
    return true;
  });
}

/// The element of which operand, and where in it, goes to `index` of an op that only moves elements.
static std::optional<std::pair<unsigned, int64_t>> source(Operation *op, ArrayRef<HostTensor> in,
                                                          ArrayRef<int64_t> index, int64_t linear) {
  using namespace caat::onnx;
  using Place = std::optional<std::pair<unsigned, int64_t>>;
  auto linearize = [](ArrayRef<int64_t> index, ArrayRef<int64_t> shape) {
    int64_t linear = 0;
    for (auto [i, size] : llvm::zip(index, shape))
      linear = linear * size + i;
    return linear;
  };
  return TypeSwitch<Operation *, Place>(op)
      .Case<ReshapeOp, FlattenOp, SqueezeOp, UnsqueezeOp>([&](auto) -> Place { return {{0, linear}}; })
      .Case([&](TransposeOp op) -> Place {
        SmallVector<int64_t> from(index.size());
        for (size_t axis = 0; axis < index.size(); ++axis)
          from[op.getPerm() ? (*op.getPerm())[axis] : index.size() - 1 - axis] = index[axis];
        return {{0, linearize(from, in[0].shape)}};
      })
      .Case([&](ExpandOp) -> Place { return {{0, caat::broadcastPosition(index, in[0].shape)}}; })
      .Case([&](ConcatOp op) -> Place {
        auto axis = normalizeAxis(op.getAxis(), index.size());
        if (!axis)
          return std::nullopt;
        SmallVector<int64_t> from(index);
        for (auto [operand, tensor] : llvm::enumerate(in)) {
          if (from[*axis] < tensor.shape[*axis])
            return {{operand, linearize(from, tensor.shape)}};
          from[*axis] -= tensor.shape[*axis];
        }
        return std::nullopt;
      })
      .Case([&](GatherOp op) -> Place {
        int64_t rank = in[0].shape.size(), indexRank = in[1].shape.size();
        auto axis = normalizeAxis(op.getAxis(), rank);
        if (!axis)
          return std::nullopt;
        int64_t chosen = in[1].ints[linearize(index.slice(*axis, indexRank), in[1].shape)];
        auto place = normalizeAxis(chosen, in[0].shape[*axis]);
        if (!place)
          return std::nullopt;
        SmallVector<int64_t> from(index.take_front(*axis));
        from.push_back(*place);
        from.append(index.begin() + *axis + indexRank, index.end());
        return {{0, linearize(from, in[0].shape)}};
      })
      .Case([&](SliceOp op) -> Place {
        SmallVector<int64_t> from(index);
        unsigned axesAt = 3, stepsAt = op.getAxes() ? 4 : 3;
        for (size_t i = 0; i < in[1].ints.size(); ++i) {
          auto axis = op.getAxes() ? normalizeAxis(in[axesAt].ints[i], index.size()) : std::optional<int64_t>(i);
          int64_t step = op.getSteps() ? in[stepsAt].ints[i] : 1;
          if (!axis)
            return std::nullopt;
          int64_t size = in[0].shape[*axis], start = in[1].ints[i];
          if (start < 0)
            start = std::max(start, -size - 1) + size;
          start = std::clamp(start, int64_t(0), step > 0 ? size : size - 1);
          from[*axis] = start + index[*axis] * step;
        }
        return {{0, linearize(from, in[0].shape)}};
      })
      .Default(std::nullopt);
}

/// The places of all elements that are not zero, [rank, n]; `type` says how many they are.
static DenseElementsAttr foldNonZero(caat::onnx::NonZeroOp op, RankedTensorType type, int64_t maxElements) {
  auto input = dyn_cast<RankedTensorType>(op.getX().getType());
  bool isSmall = input && input.hasStaticShape() && input.getNumElements() <= maxElements;
  auto tensor = isSmall ? readConstant(op.getX()) : std::nullopt;
  if (!tensor || type.getRank() != 2 || type.getDimSize(0) != static_cast<int64_t>(tensor->shape.size()))
    return {};
  HostTensor result;
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  result.isFloat = false;
  result.resize(result.size());
  int64_t count = type.getDimSize(1), found = 0;
  for (int64_t i = 0, e = tensor->size(); i < e; ++i) {
    if (tensor->isFloat ? tensor->floats[i] == 0 : tensor->ints[i] == 0)
      continue;
    if (found == count)
      return {};
    for (auto [axis, index] : llvm::enumerate(caat::delinearize(i, tensor->shape)))
      result.ints[axis * count + found] = index;
    ++found;
  }
  return found == count ? write(result, type) : DenseElementsAttr();
}

DenseElementsAttr caat::foldConstantOp(Operation *op, int64_t maxElements) {
  using namespace caat::onnx;
  if (op->getNumResults() != 1 || !isa<ONNXDialect>(op->getDialect()) || isa<ConstantOp, CustomOp>(op))
    return {};
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.hasStaticShape() || (!isa<FloatType>(type.getElementType()) && !type.getElementType().isInteger()))
    return {};
  if (!storageBytes(type) || type.getNumElements() > maxElements) // a number of elements may wrap
    return {};
  if (auto fill = dyn_cast<ConstantOfShapeOp>(op)) {
    auto value = dyn_cast_if_present<DenseElementsAttr>(fill.getValueAttr());
    if (!value)
      return type.getElementType().isF32() ? DenseElementsAttr::get(type, 0.0f) : DenseElementsAttr();
    return value.getElementType() == type.getElementType() ? value.resizeSplat(type) : DenseElementsAttr();
  }
  if (auto nonZero = dyn_cast<NonZeroOp>(op))
    return foldNonZero(nonZero, type, maxElements);
  bool moves =
      isa<ReshapeOp, FlattenOp, SqueezeOp, UnsqueezeOp, TransposeOp, ExpandOp, ConcatOp, GatherOp, SliceOp>(op);
  if (!moves && !op->hasTrait<BroadcastElementwise>())
    return {};

  SmallVector<HostTensor> operands;
  for (Value operand : op->getOperands()) {
    auto operandType = dyn_cast<RankedTensorType>(operand.getType());
    if (!operandType || !operandType.hasStaticShape() || operandType.getNumElements() > maxElements)
      return {};
    auto tensor = readConstant(operand);
    if (!tensor)
      return {};
    operands.push_back(std::move(*tensor));
  }
  if (operands.empty())
    return {};

  HostTensor result;
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  result.isFloat = isa<FloatType>(type.getElementType());
  int64_t count = result.size();
  if (isa<ReshapeOp, FlattenOp, SqueezeOp, UnsqueezeOp>(op) && operands.front().size() != count)
    return {};
  result.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<int64_t> index = caat::delinearize(i, result.shape);
    if (!moves) {
      if (!elementwise(op, operands, index, result, i))
        return {};
      continue;
    }
    auto from = source(op, operands, index, i);
    if (!from)
      return {};
    result.copyElement(i, operands[from->first], from->second);
  }
  return write(result, type);
}
