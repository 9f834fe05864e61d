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

/// mean(square) + epsilon: the square. An epsilon of zero is dropped by exporters.
static std::optional<std::pair<Value, float>> meanAndEpsilon(Value sum, const SymbolicShapes &shapes) {
  if (Value square = meanOverLast(sum, shapes))
    return {{square, 0.0f}};
  auto add = definedBy<onnx::AddOp>(sum);
  if (!add)
    return std::nullopt;
  for (auto [mean, epsilon] : {std::pair(add.getA(), add.getB()), std::pair(add.getB(), add.getA())})
    if (auto number = onnx::constantFloat(epsilon))
      if (Value square = meanOverLast(mean, shapes))
        return {{square, static_cast<float>(*number)}};
  return std::nullopt;
}

static std::optional<Normalized> matchNormalized(Value value, const SymbolicShapes &shapes) {
  auto finish = [&](Value x, Value sum) -> std::optional<Normalized> {
    if (onnx::constantFloat(x)) // 1 / sqrt(...) alone
      return std::nullopt;
    auto found = meanAndEpsilon(sum, shapes);
    return found ? std::optional(Normalized{x, found->first, found->second}) : std::nullopt;
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

/// `weight` as one number for each element of x's last dimension; null where it is none.
static Value channelVector(Value weight, Value x, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto channels = shapes.getStaticDim(x, -1);
  auto dims = shapes.getDims(weight);
  if (!channels || !dims || dims->empty() || constantDim(dims->back()) != channels ||
      !llvm::all_of(ArrayRef(*dims).drop_back(), [](AffineExpr dim) { return constantDim(dim) == 1; }) ||
      static_cast<int64_t>(dims->size()) > *shapes.getRank(x))
    return {};
  return dims->size() == 1 ? weight : b.reshape(weight, {*channels});
}

/// Whether `value`'s only use is a product with a vector of its channels, perhaps behind a Cast: its scale.
static bool isScaledLater(Value value, OnnxBuilder &b) {
  if (!value.hasOneUse())
    return false;
  Operation *user = *value.user_begin();
  if (isa<onnx::CastOp>(user))
    return isScaledLater(user->getResult(0), b);
  auto mul = dyn_cast<onnx::MulOp>(user);
  return mul && channelVector(mul.getA() == value ? mul.getB() : mul.getA(), value, b);
}

/// A normalisation with the given scale (null: ones) in place of `root`. False, with a remark, where it is none.
static bool raise(Value root, const Normalized &normalized, Value x, Value scale, bool mixed, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto channels = shapes.getStaticDim(x, -1);
  auto ones = [&](Value like) {
    auto type = RankedTensorType::get({*channels}, getElementTypeOrSelf(like));
    auto one = DenseElementsAttr::get(type, static_cast<Attribute>(b.getFloatAttr(type.getElementType(), 1)));
    return b.learn(onnx::ConstantOp::create(b, b.getLocation(), one));
  };
  StringRef unscaled = scale ? "" : " without scale";
  // (x - mean(x)) squared is LayerNormalization's variance.
  if (auto center = definedBy<onnx::SubOp>(normalized.x); center && !mixed &&
                                                          meanOverLast(center.getB(), shapes) == center.getA() &&
                                                          isSquareOf(normalized.square, center.getC())) {
    auto norm = onnx::LayerNormalizationOp::create(b, b.getLocation(), center.getA(), scale ? scale : ones(x), Value(),
                                                   -1, b.getF32FloatAttr(normalized.epsilon));
    root.replaceAllUsesWith(b.learn(norm.getY()));
    remarkPassed(root.getDefiningOp(), "raise-norms", "LayerNormalization" + unscaled);
    return true;
  }
  if (!isSquareOf(normalized.square, normalized.x))
    return false;
  root.replaceAllUsesWith(b.make<onnx::RMSNormalizationOp>(x, scale ? scale : ones(x), b.getI64IntegerAttr(-1),
                                                           b.getF32FloatAttr(normalized.epsilon),
                                                           b.getI64IntegerAttr(1)));
  remarkPassed(root.getDefiningOp(), "raise-norms", "RMSNormalization" + unscaled);
  return true;
}

/// The product of something normalised and a scale: RMSNormalization, or LayerNormalization without a bias.
static bool raiseScaled(onnx::MulOp root, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  for (auto [inner, factor] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
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
    Value scale = channelVector(factor, normalized->x, b);
    if (scale && raise(root.getC(), *normalized, mixed ? widened.getInput() : Value(normalized->x), scale, mixed, b))
      return true;
  }
  return false;
}

/// Something normalised that no vector scales.
static bool raiseUnscaled(Value root, OnnxBuilder &b) {
  auto normalized = matchNormalized(root, b.getShapes());
  if (!normalized || !b.getShapes().getStaticDim(normalized->x, -1) || isScaledLater(root, b))
    return false;
  return raise(root, *normalized, normalized->x, Value(), false, b);
}

/// torch's exporter writes a LayerNormalization in parts as RMSNormalization of what it centred.
static bool raiseCentred(onnx::RMSNormalizationOp root, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto centre = definedBy<onnx::SubOp>(root.getX());
  auto rank = shapes.getRank(root.getX());
  if (!centre || !rank || onnx::normalizeAxis(root.getAxis(), *rank) != *rank - 1 ||
      meanOverLast(centre.getB(), shapes) != centre.getA())
    return false;
  auto norm = onnx::LayerNormalizationOp::create(b, b.getLocation(), centre.getA(), root.getScale(), Value(), -1,
                                                 root.getEpsilonAttr());
  root.getY().replaceAllUsesWith(b.learn(norm.getY()));
  remarkPassed(root, "raise-norms", "LayerNormalization of what RMSNormalization had centred");
  return true;
}

/// LayerNormalization without a bias, plus a vector: its bias.
static void raiseBias(onnx::AddOp root, OnnxBuilder &b) {
  for (auto [inner, addend] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
    auto norm = definedBy<onnx::LayerNormalizationOp>(inner);
    if (!norm || norm.getB() || norm.getMean() || norm.getInvStdDev() || !norm.getY().hasOneUse())
      continue;
    Value bias = channelVector(addend, norm.getX(), b);
    if (!bias)
      continue;
    auto withBias = onnx::LayerNormalizationOp::create(b, b.getLocation(), norm.getX(), norm.getScale(), bias,
                                                       norm.getAxis(), norm.getEpsilonAttr());
    root.getC().replaceAllUsesWith(b.learn(withBias.getY()));
    remarkPassed(root, "raise-norms", "bias of LayerNormalization");
    return;
  }
}

/// Says of every root of a mean that is still there why it is no normalisation.
static void explainRest(func::FuncOp function) {
  if (!wantsRemarks(function))
    return;
  SymbolicShapes shapes(function.getOperation());
  function.walk([&](Operation *op) {
    Value sum = op->getNumResults() == 1 ? sqrtArgument(op->getResult(0), false) : Value();
    if (!sum || !meanAndEpsilon(sum, shapes))
      return;
    bool normalises = false;
    for (Operation *user : op->getUsers())
      for (Value value : user->getResults())
        normalises |= matchNormalized(value, shapes) || isa<onnx::ReciprocalOp>(user);
    remarkMissed(op, "raise-norms",
                 normalises ? "the mean is not that of the square of what is normalised, or the channels are not known"
                            : "nothing is divided by the root of the mean");
  });
}

namespace {
class RaiseNorms : public caat::impl::ONNXRaiseNormsPassBase<RaiseNorms> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto mul = dyn_cast<onnx::MulOp>(op); mul && raiseScaled(mul, b))
        return;
      if (isa<onnx::MulOp, onnx::DivOp>(op))
        raiseUnscaled(op->getResult(0), b);
      else if (auto norm = dyn_cast<onnx::RMSNormalizationOp>(op))
        raiseCentred(norm, b);
      else if (auto add = dyn_cast<onnx::AddOp>(op))
        raiseBias(add, b);
    });
    explainRest(getOperation());
  }
};
} // namespace
