// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-norms: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISENORMSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The argument of a mean over the last dimension that keeps it.
static Value meanOverLast(Value value, const SymbolicShapes &shapes) {
  auto mean = definedBy<onnx::ReduceMeanOp>(value);
  if (!mean || !mean.getKeepdims() || !mean.getAxes())
    return {};
  auto axes = shapes.getConstants(mean.getAxes());
  auto rank = shapes.getRank(mean.getData());
  if (!axes || !rank || axes->size() != 1 || onnx::normalizeAxis(axes->front(), *rank) != *rank - 1)
    return {};
  return mean.getData();
}

namespace {
/// x / sqrt(mean(square) + epsilon), where `square` is not looked at yet.
struct Normalized {
  Value x, square;
  float epsilon;
};
} // namespace

/// `value` as 1 / sqrt(s), or as sqrt(s) where `inverse` is false: s.
static Value sqrtArgument(Value value, bool inverse) {
  if (!inverse) {
    if (auto root = definedBy<onnx::SqrtOp>(value))
      return root.getX();
    auto pow = definedBy<onnx::PowOp>(value);
    return pow && isConstantNear(pow.getY(), 0.5) ? pow.getX() : Value();
  }
  if (auto reciprocal = definedBy<onnx::ReciprocalOp>(value))
    return sqrtArgument(reciprocal.getX(), false);
  if (auto div = definedBy<onnx::DivOp>(value); div && isConstantNear(div.getA(), 1))
    return sqrtArgument(div.getB(), false);
  auto pow = definedBy<onnx::PowOp>(value);
  return pow && isConstantNear(pow.getY(), -0.5) ? pow.getX() : Value();
}

static std::optional<Normalized> matchNormalized(Value value, const SymbolicShapes &shapes) {
  auto finish = [&](Value x, Value sum) -> std::optional<Normalized> {
    auto add = definedBy<onnx::AddOp>(sum);
    if (!add || onnx::constantFloat(x)) // 1 / sqrt(...) alone
      return std::nullopt;
    for (auto [mean, epsilon] : {std::pair(add.getA(), add.getB()), std::pair(add.getB(), add.getA())})
      if (auto number = onnx::constantFloat(epsilon))
        if (Value square = meanOverLast(mean, shapes))
          return Normalized{x, square, static_cast<float>(*number)};
    return std::nullopt;
  };
  if (auto div = definedBy<onnx::DivOp>(value))
    if (Value sum = sqrtArgument(div.getB(), false))
      return finish(div.getA(), sum);
  if (auto mul = definedBy<onnx::MulOp>(value)) {
    if (Value sum = sqrtArgument(mul.getB(), true))
      return finish(mul.getA(), sum);
    if (Value sum = sqrtArgument(mul.getA(), true))
      return finish(mul.getB(), sum);
  }
  return std::nullopt;
}

/// Whether `weight` is one number for each element of x's last dimension.
static bool isChannelVector(Value weight, Value x, const SymbolicShapes &shapes) {
  AffineExpr channels = shapes.getDim(x, -1);
  return shapes.getRank(weight) == 1 && channels && shapes.getDim(weight, 0) == channels;
}

/// The product of something normalised and a scale: RMSNormalization, or LayerNormalization without a bias.
static void raiseScaled(onnx::MulOp root, OnnxBuilder &b) {
  SymbolicShapes &shapes = b.getShapes();
  for (auto [inner, scale] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
    // Half-precision models compute the statistics in f32, as stash_type 1 says.
    auto narrowed = definedBy<onnx::CastOp>(inner);
    auto normalized = matchNormalized(narrowed ? narrowed.getInput() : inner, shapes);
    if (!normalized)
      continue;
    auto widened = definedBy<onnx::CastOp>(normalized->x);
    Type type = getElementTypeOrSelf(root.getC());
    bool mixed = narrowed && widened && getElementTypeOrSelf(widened.getInput()) == type;
    if (narrowed && !mixed)
      continue;
    Value x = mixed ? widened.getInput() : normalized->x;
    if (!isChannelVector(scale, normalized->x, shapes)) {
      remarkMissed(root, "raise-norms", "the scale is no vector of the last dimension's size");
      continue;
    }
    // (x - mean(x)) squared is LayerNormalization's variance.
    if (auto center = definedBy<onnx::SubOp>(normalized->x); center && !narrowed &&
                                                             meanOverLast(center.getB(), shapes) == center.getA() &&
                                                             isSquareOf(normalized->square, center.getC())) {
      auto norm = onnx::LayerNormalizationOp::create(b, b.getLocation(), center.getA(), scale, Value(), -1,
                                                     b.getF32FloatAttr(normalized->epsilon));
      root.getC().replaceAllUsesWith(b.learn(norm.getY()));
      remarkPassed(root, "raise-norms", "LayerNormalization");
      return;
    }
    if (!isSquareOf(normalized->square, normalized->x)) {
      remarkMissed(root, "raise-norms", "the mean is not that of the square of what is normalised");
      continue;
    }
    root.getC().replaceAllUsesWith(b.make<onnx::RMSNormalizationOp>(
        x, scale, b.getI64IntegerAttr(-1), b.getF32FloatAttr(normalized->epsilon), b.getI64IntegerAttr(1)));
    remarkPassed(root, "raise-norms", "RMSNormalization");
    return;
  }
}

/// LayerNormalization without a bias, plus a vector: its bias.
static void raiseBias(onnx::AddOp root, OnnxBuilder &b) {
  for (auto [inner, bias] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
    auto norm = definedBy<onnx::LayerNormalizationOp>(inner);
    if (!norm || norm.getB() || norm.getMean() || norm.getInvStdDev() || !norm.getY().hasOneUse() ||
        !isChannelVector(bias, norm.getX(), b.getShapes()))
      continue;
    auto withBias = onnx::LayerNormalizationOp::create(b, b.getLocation(), norm.getX(), norm.getScale(), bias,
                                                       norm.getAxis(), norm.getEpsilonAttr());
    root.getC().replaceAllUsesWith(b.learn(withBias.getY()));
    remarkPassed(root, "raise-norms", "bias of LayerNormalization");
    return;
  }
}

namespace {
class RaiseNorms : public caat::impl::ONNXRaiseNormsPassBase<RaiseNorms> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto mul = dyn_cast<onnx::MulOp>(op))
        raiseScaled(mul, b);
      else if (auto add = dyn_cast<onnx::AddOp>(op))
        raiseBias(add, b);
    });
  }
};
} // namespace
