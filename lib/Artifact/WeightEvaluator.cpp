// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/WeightEvaluator.h"
#include "FloatCasts.h"
#include "WeightCodes.h"
#include "WeightMovement.h"
#include "WeightNumbers.h"
#include "caat/Lower/BlockStructure.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace caat;
using llvm::Expected;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

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

WeightEvaluator::WeightEvaluator(ModuleOp module) : files(module), symbols(module), limit(int64_t(1) << 30) {
  // 16: a 4-bit weight as double. The rest is room for masks and tables that a model computes from small constants.
  for (auto initializer : module.getOps<onnx::InitializerOp>())
    limit += std::min<int64_t>(initializer.getLength(), (int64_t(1) << 46)) * 16;
}

Expected<TensorView> WeightEvaluator::evaluateOp(OpResult value, ArrayRef<TensorView> operands, int64_t rank) {
  Operation *op = value.getOwner();
  RankedTensorType type = typeOf(value);
  if (movesElements(op))
    return moved(value, operands, rank);
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
      .Case(
          [&](onnx::UnpackOp unpack) -> Expected<TensorView> { return unpacked(type, operands[0], unpack.getBits()); })
      .Case([&](onnx::DequantizeLinearOp op) { return dequantized(op, operands); })
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
        if (isa<FloatType>(type.getElementType()))
          return combined(type, operands[0], operands[1], std::divides<>());
        constexpr double most = int64_t(1) << 53;
        bool isExact = true, isByZero = false;
        TensorView quotients = combined(type, operands[0], operands[1], [&](double x, double y) {
          isExact &= std::abs(x) <= most && std::abs(y) <= most;
          isByZero |= y == 0;
          return y == 0 ? 0 : std::trunc(x / y);
        });
        if (isByZero)
          return unsupported(op, "it divides by an integer that is 0");
        if (!isExact)
          return unsupported(op, "of integers with more than 53 bits");
        return quotients;
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
  return isStatic && (movesElements(op) ||
                      isa<onnx::GetInitializerOp, onnx::ConstantOp, arith::ConstantOp, onnx::CastOp, onnx::AddOp,
                          onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::NegOp, onnx::SqrtOp, onnx::ExpOp>(op));
}
