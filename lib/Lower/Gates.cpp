// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/Gates.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace caat;
using namespace caat::lower;

std::optional<std::pair<rt::Activation, float>> lower::activationOf(Operation *op) {
  if (isa<onnx::ReluOp>(op))
    return std::pair(rt::Activation::Relu, 1.0f);
  if (auto gelu = dyn_cast<onnx::GeluOp>(op))
    return std::pair(gelu.getApproximate() == "tanh" ? rt::Activation::GeluTanh : rt::Activation::Gelu, 1.0f);
  if (auto swish = dyn_cast<onnx::SwishOp>(op))
    return std::pair(rt::Activation::Swish, swish.getAlpha().convertToFloat());
  return std::nullopt;
}

Value lower::throughCasts(Value value) {
  while (value.hasOneUse())
    if (auto cast = dyn_cast<tensor::CastOp>(*value.getUsers().begin()))
      value = cast.getDest();
    else
      break;
  return value;
}

Operation *lower::onlyUser(Value value) {
  if (!value.hasOneUse())
    return nullptr;
  Operation *user = *value.getUsers().begin();
  return user->getBlock() == value.getParentBlock() ? user : nullptr;
}

static int64_t columnsOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape().back(); }

/// The column at which `op` begins to take columns of a value of known width, one after the other.
static std::optional<int64_t> beginOfSlice(Operation *op, RankedTensorType type) {
  auto slice = dyn_cast<onnx::SliceOp>(op);
  if (!slice || slice.getData().getType() != type || slice->getBlock() != slice.getData().getParentBlock())
    return std::nullopt;
  auto only = [](Value list) -> std::optional<int64_t> {
    std::optional<SmallVector<int64_t>> numbers = onnx::constantInts(list);
    return numbers && numbers->size() == 1 ? std::optional(numbers->front()) : std::nullopt;
  };
  std::optional<int64_t> start = only(slice.getStarts()), axis = slice.getAxes() ? only(slice.getAxes()) : 0;
  std::optional<int64_t> step = slice.getSteps() ? only(slice.getSteps()) : 1;
  if (!start || !axis || step != 1 || onnx::normalizeAxis(*axis, type.getRank()) != type.getRank() - 1)
    return std::nullopt;
  return *start < 0 ? *start + type.getShape().back() : *start;
}

/// The first and the second half of the columns of `value`, where they are all that is read of it.
static std::optional<std::pair<Value, Value>> halvesOf(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.isDynamicDim(type.getRank() - 1))
    return std::nullopt;
  Value first, second;
  if (auto split = dyn_cast_or_null<onnx::SplitOp>(onlyUser(value))) {
    if (onnx::normalizeAxis(split.getAxis(), type.getRank()) != type.getRank() - 1 || split.getNumResults() != 2)
      return std::nullopt;
    first = split.getResult(0);
    second = split.getResult(1);
  } else if (value.hasNUses(2)) {
    for (Operation *user : value.getUsers())
      if (std::optional<int64_t> begin = beginOfSlice(user, type))
        (*begin == 0 ? first : second) = user->getResult(0);
    if (!first || !second || beginOfSlice(second.getDefiningOp(), type) != type.getShape().back() / 2)
      return std::nullopt;
  }
  bool areHalves = first && 2 * columnsOf(first) == type.getShape().back() && columnsOf(second) == columnsOf(first);
  return areHalves ? std::optional(std::pair(first, second)) : std::nullopt;
}

std::optional<Gate> lower::findGate(Value value) {
  std::optional<std::pair<Value, Value>> halves = halvesOf(throughCasts(value));
  if (!halves)
    return std::nullopt;
  for (rt::Gate half : {rt::Gate::First, rt::Gate::Second}) {
    auto [gate, factor] = half == rt::Gate::First ? *halves : std::pair(halves->second, halves->first);
    Operation *function = onlyUser(throughCasts(gate));
    auto activation = function ? activationOf(function) : std::nullopt;
    if (!activation)
      continue;
    auto product = dyn_cast_or_null<onnx::MulOp>(onlyUser(throughCasts(function->getResult(0))));
    if (product && product == onlyUser(throughCasts(factor)) &&
        succeeded(verifyCompatibleShape(product.getResult().getType(), factor.getType())))
      return Gate{product, half, activation->first, activation->second};
  }
  return std::nullopt;
}

void lower::eraseGate(const Gate &gate, Operation *product) {
  SmallVector<Operation *> dead{gate.product};
  while (!dead.empty()) {
    Operation *op = dead.pop_back_val();
    SetVector<Operation *> makers;
    for (Value operand : op->getOperands())
      if (Operation *maker = operand.getDefiningOp(); maker && maker != product)
        makers.insert(maker);
    op->erase();
    for (Operation *maker : makers)
      if (maker->use_empty() && isMemoryEffectFree(maker))
        dead.push_back(maker);
  }
}
