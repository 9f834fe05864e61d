// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-decompose-norms: see Passes.td.
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXDECOMPOSENORMSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Whether `weight` is one number for each of the last dimension's channels.
static bool isChannelVector(Value weight, Value x, const SymbolicShapes &shapes) {
  auto channels = shapes.getStaticDim(x, -1);
  return channels && shapes.getRank(weight) == 1 && shapes.getStaticDim(weight, 0) == channels;
}

/// A norm of the last dimension alone, whose size is known and which gives nothing but its result.
template <typename Norm> static bool isOfLast(Norm norm, const SymbolicShapes &shapes) {
  auto rank = shapes.getRank(norm.getX());
  return rank && norm->getNumResults() == 1 && shapes.getStaticDim(norm.getX(), -1) &&
         onnx::normalizeAxis(norm.getAxis(), *rank) == *rank - 1;
}

static Value ones(Value x, OnnxBuilder &b) {
  auto type = RankedTensorType::get({*b.getShapes().getStaticDim(x, -1)}, getElementTypeOrSelf(x));
  auto one = DenseElementsAttr::get(type, static_cast<Attribute>(b.getFloatAttr(type.getElementType(), 1)));
  return b.learn(onnx::ConstantOp::create(b, b.getLocation(), one));
}

static bool decompose(onnx::RMSNormalizationOp norm, OnnxBuilder &b) {
  if (!isOfLast(norm, b.getShapes()) || isChannelVector(norm.getScale(), norm.getX(), b.getShapes()))
    return false;
  Value y = b.make<onnx::RMSNormalizationOp>(norm.getX(), ones(norm.getX(), b), norm.getAxisAttr(),
                                             norm.getEpsilonAttr(), norm.getStashTypeAttr());
  norm.getY().replaceAllUsesWith(b.make<onnx::MulOp>(y, norm.getScale()));
  return true;
}

static bool decompose(onnx::LayerNormalizationOp norm, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  if (!isOfLast(norm, shapes) || (isChannelVector(norm.getScale(), norm.getX(), shapes) &&
                                  (!norm.getB() || isChannelVector(norm.getB(), norm.getX(), shapes))))
    return false;
  auto bare = onnx::LayerNormalizationOp::create(b, b.getLocation(), norm.getX(), ones(norm.getX(), b), Value(),
                                                 norm.getAxis(), norm.getEpsilonAttr());
  Value y = b.make<onnx::MulOp>(b.learn(bare.getY()), norm.getScale());
  norm.getY().replaceAllUsesWith(norm.getB() ? b.make<onnx::AddOp>(y, norm.getB()) : y);
  return true;
}

namespace {
class DecomposeNorms : public caat::impl::ONNXDecomposeNormsPassBase<DecomposeNorms> {
  void runOnOperation() override {
    auto isNorm = llvm::IsaPred<onnx::RMSNormalizationOp, onnx::LayerNormalizationOp>;
    bool found = rewriteInOrder(getOperation(), isNorm, [](Operation *op, OnnxBuilder &b) {
      auto norm = dyn_cast<onnx::RMSNormalizationOp>(op);
      auto layerNorm = dyn_cast<onnx::LayerNormalizationOp>(op);
      if ((norm && decompose(norm, b)) || (layerNorm && decompose(layerNorm, b)))
        remarkPassed(op, "decompose-norms", "the scale is no vector of the channels: a product of its own");
    });
    if (!found)
      markAllAnalysesPreserved();
  }
};
} // namespace
