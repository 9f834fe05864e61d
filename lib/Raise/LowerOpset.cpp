// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-lower-opset: see Passes.td.
#include "LowerOpset.h"
#include "caat/Raise/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace caat {
#define GEN_PASS_DEF_ONNXLOWEROPSETPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

static Type elementOf(Value value) { return getElementTypeOrSelf(value.getType()); }

Value caat::castTo(OnnxBuilder &b, Value x, Type element) {
  if (elementOf(x) == element)
    return x;
  return b.learn(onnx::CastOp::create(b, b.getLocation(), x, element));
}

/// The axes from `axis` on, as ReduceMean takes them; null where they cannot be counted.
static Value axesFrom(OnnxBuilder &b, Value x, int64_t axis) {
  std::optional<int64_t> rank = b.getShapes().getRank(x);
  if (axis >= 0 && !rank)
    return {};
  return b.ints(llvm::to_vector(llvm::seq<int64_t>(axis, axis < 0 ? 0 : *rank)));
}

/// x / sqrt(mean(x^2) + epsilon), computed in f32 where `stash` says so.
static Value normalise(OnnxBuilder &b, Value x, int64_t axis, const APFloat &epsilon, int64_t stash, bool centred,
                       StringRef &why) {
  Type wide = stash == 1 ? Type(b.getF32Type()) : elementOf(x);
  Value axes = axesFrom(b, x, axis);
  if (!axes) {
    why = "the rank of its operand is not known";
    return {};
  }
  x = castTo(b, x, wide);
  if (centred)
    x = b.make<onnx::SubOp>(x, b.make<onnx::ReduceMeanOp>(x, axes));
  Value mean = b.make<onnx::ReduceMeanOp>(b.make<onnx::MulOp>(x, x), axes);
  Value deviation = b.make<onnx::SqrtOp>(b.make<onnx::AddOp>(mean, b.scalar(epsilon.convertToFloat(), wide)));
  return b.make<onnx::DivOp>(x, deviation);
}

static Value lowerRMSNormalization(onnx::RMSNormalizationOp op, OnnxBuilder &b, StringRef &why) {
  Value x = normalise(b, op.getX(), op.getAxis(), op.getEpsilon(), op.getStashType(), /*centred=*/false, why);
  return x ? b.make<onnx::MulOp>(castTo(b, x, elementOf(op.getScale())), op.getScale()) : Value();
}

static Value lowerLayerNormalization(onnx::LayerNormalizationOp op, OnnxBuilder &b, StringRef &why) {
  if ((op.getMean() && !op.getMean().use_empty()) || (op.getInvStdDev() && !op.getInvStdDev().use_empty())) {
    why = "its mean or deviation is used";
    return {};
  }
  Value x = normalise(b, op.getX(), op.getAxis(), op.getEpsilon(), op.getStashType(), /*centred=*/true, why);
  if (!x)
    return {};
  x = b.make<onnx::MulOp>(castTo(b, x, elementOf(op.getScale())), op.getScale());
  return op.getB() ? b.make<onnx::AddOp>(x, op.getB()) : x;
}

/// [N, C, ...] as [N, groups, rest], normalised, and back.
static Value lowerGroupNormalization(onnx::GroupNormalizationOp op, OnnxBuilder &b, StringRef &why) {
  std::optional<int64_t> rank = b.getShapes().getRank(op.getX());
  SmallVector<int64_t> shape = {0}, channels = {1}; // the batch's size stays
  for (int64_t dim = 1; rank && dim < *rank; ++dim) {
    shape.push_back(b.getShapes().getStaticDim(op.getX(), dim).value_or(-1));
    channels.push_back(dim == 1 ? shape.back() : 1);
  }
  if (!rank || *rank < 3 || shape[1] < 0 || llvm::count(shape, -1) > 1) {
    why = "its channels, or more than one of its other sizes, are not known";
    return {};
  }
  Value x = b.reshape(op.getX(), {0, static_cast<int64_t>(op.getNumGroups()), -1});
  x = normalise(b, x, -1, op.getEpsilon(), op.getStashType(), /*centred=*/true, why);
  x = castTo(b, b.reshape(x, shape), elementOf(op.getScale()));
  x = b.make<onnx::MulOp>(x, b.reshape(op.getScale(), channels));
  return b.make<onnx::AddOp>(x, b.reshape(op.getBias(), channels));
}

static Value lowerGelu(onnx::GeluOp op, OnnxBuilder &b) {
  Value x = op.getX();
  auto number = [&](double value) { return b.scalar(value, elementOf(x)); };
  Value inner;
  if (op.getApproximate() == "tanh") {
    Value cube = b.make<onnx::MulOp>(b.make<onnx::MulOp>(x, x), x);
    Value sum = b.make<onnx::AddOp>(x, b.make<onnx::MulOp>(cube, number(0.044715)));
    inner = b.make<onnx::TanhOp>(b.make<onnx::MulOp>(sum, number(0.7978845608028654)));
  } else {
    inner = b.make<onnx::ErfOp>(b.make<onnx::MulOp>(x, number(0.7071067811865476)));
  }
  Value half = b.make<onnx::MulOp>(x, number(0.5));
  return b.make<onnx::MulOp>(half, b.make<onnx::AddOp>(inner, number(1.0)));
}

static Value lowerSwish(onnx::SwishOp op, OnnxBuilder &b) {
  Value x = op.getX(), gate = x;
  if (double alpha = op.getAlpha().convertToFloat(); alpha != 1.0)
    gate = b.make<onnx::MulOp>(x, b.scalar(alpha, elementOf(x)));
  return b.make<onnx::MulOp>(x, b.make<onnx::SigmoidOp>(gate));
}

/// The opset that an operator came with, for those that are lowered here and those that cannot be.
static int64_t introducedIn(Operation *op) {
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case<onnx::SwishOp, onnx::TensorScatterOp>([](auto) { return 24; })
      .Case<onnx::AttentionOp, onnx::RotaryEmbeddingOp, onnx::RMSNormalizationOp>([](auto) { return 23; })
      .Case<onnx::GroupNormalizationOp>([](auto) { return 21; })
      .Case<onnx::GeluOp>([](auto) { return 20; })
      .Case<onnx::LayerNormalizationOp>([](auto) { return 17; })
      .Default(int64_t(0));
}

static LogicalResult lower(Operation *op, OnnxBuilder &b, StringRef &why) {
  auto replace = [&](Value by) -> LogicalResult {
    if (!by)
      return failure();
    op->getResult(0).replaceAllUsesWith(by);
    return success();
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](onnx::SwishOp swish) { return replace(lowerSwish(swish, b)); })
      .Case([&](onnx::GeluOp gelu) { return replace(lowerGelu(gelu, b)); })
      .Case([&](onnx::RMSNormalizationOp norm) { return replace(lowerRMSNormalization(norm, b, why)); })
      .Case([&](onnx::LayerNormalizationOp norm) { return replace(lowerLayerNormalization(norm, b, why)); })
      .Case([&](onnx::GroupNormalizationOp norm) { return replace(lowerGroupNormalization(norm, b, why)); })
      .Case([&](onnx::RotaryEmbeddingOp rotary) { return lowerRotaryEmbedding(rotary, b, why); })
      .Case([&](onnx::AttentionOp attention) { return lowerAttention(attention, b, why); })
      .Default([&](Operation *) {
        why = "it has no older form";
        return failure();
      });
}

namespace {
struct LowerOpset : caat::impl::ONNXLowerOpsetPassBase<LowerOpset> {
  using ONNXLowerOpsetPassBase::ONNXLowerOpsetPassBase;

  void runOnOperation() override {
    bool failed = false;
    rewriteInOrder(getOperation(), [&](Operation *op, OnnxBuilder &builder) {
      StringRef why;
      if (failed || introducedIn(op) <= opset || mlir::succeeded(lower(op, builder, why)))
        return;
      op->emitError() << op->getName().stripDialect() << " came with opset " << introducedIn(op)
                      << " and cannot be written in opset " << opset.getValue() << ": " << why;
      failed = true;
    });
    if (failed)
      signalPassFailure();
  }
};
} // namespace
