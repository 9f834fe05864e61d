// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-rotary: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEROTARYPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Whether `value` is x[..., start:end].
static bool isSliceOfLast(Value value, Value x, int64_t start, int64_t end, const SymbolicShapes &shapes) {
  auto slice = definedBy<onnx::SliceOp>(value);
  auto rank = shapes.getRank(x), size = shapes.getStaticDim(x, -1);
  if (!slice || slice.getData() != x || !rank || !size || !slice.getAxes())
    return false;
  auto starts = shapes.getConstants(slice.getStarts()), ends = shapes.getConstants(slice.getEnds());
  auto axes = shapes.getConstants(slice.getAxes());
  auto steps = slice.getSteps() ? shapes.getConstants(slice.getSteps()) : SmallVector<int64_t>{1};
  auto clamp = [&](int64_t bound) { return std::clamp(bound < 0 ? bound + *size : bound, int64_t(0), *size); };
  return starts && ends && axes && steps && axes->size() == 1 && starts->size() == 1 && ends->size() == 1 &&
         steps->size() == 1 && steps->front() == 1 && onnx::normalizeAxis(axes->front(), *rank) == *rank - 1 &&
         clamp(starts->front()) == start && clamp(ends->front()) == end;
}

/// Whether `value` is concat(-x[half:], x[:half]).
static bool isHalfTurn(Value value, Value x, const SymbolicShapes &shapes) {
  auto concat = definedBy<onnx::ConcatOp>(value);
  auto rank = shapes.getRank(x), size = shapes.getStaticDim(x, -1);
  if (!concat || concat.getInputs().size() != 2 || !rank || !size || *size % 2 != 0 ||
      onnx::normalizeAxis(concat.getAxis(), *rank) != *rank - 1)
    return false;
  auto neg = definedBy<onnx::NegOp>(concat.getInputs()[0]);
  return neg && isSliceOfLast(neg.getX(), x, *size / 2, *size, shapes) &&
         isSliceOfLast(concat.getInputs()[1], x, 0, *size / 2, shapes);
}

/// The first half of `value` along the last dimension, if the second is the same. Built at `b`; null if that is not
/// known.
static Value halve(Value value, OnnxBuilder &b, unsigned depth = 8) {
  const SymbolicShapes &shapes = b.getShapes();
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0)
    return {};
  if (auto concat = dyn_cast<onnx::ConcatOp>(op)) {
    auto rank = shapes.getRank(value);
    bool twice = concat.getInputs().size() == 2 && concat.getInputs()[0] == concat.getInputs()[1];
    return twice && rank && onnx::normalizeAxis(concat.getAxis(), *rank) == *rank - 1 ? concat.getInputs()[0] : Value();
  }
  auto again = [&](Value inner) { return halve(inner, b, depth - 1); };
  if (auto cos = dyn_cast<onnx::CosOp>(op)) {
    Value half = again(cos.getInput());
    return half ? b.make<onnx::CosOp>(half) : Value();
  }
  if (auto sin = dyn_cast<onnx::SinOp>(op)) {
    Value half = again(sin.getInput());
    return half ? b.make<onnx::SinOp>(half) : Value();
  }
  if (auto cast = dyn_cast<onnx::CastOp>(op)) {
    Value half = again(cast.getInput());
    return half ? b.makeOf<onnx::CastOp>(cast.getTo(), half, cast.getToAttr()) : Value();
  }
  if (auto mul = dyn_cast<onnx::MulOp>(op))
    for (auto [inner, scalar] : {std::pair(mul.getA(), mul.getB()), std::pair(mul.getB(), mul.getA())})
      if (onnx::constantFloat(scalar))
        if (Value half = again(inner))
          return b.make<onnx::MulOp>(half, scalar);
  return {};
}

/// cos or sin [B or 1, 1, S, D] as a cache [B, S, D / 2] for x [B, H, S, D].
static Value cacheOf(Value angles, Value x, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto unsqueeze = definedBy<onnx::UnsqueezeOp>(angles);
  if (!unsqueeze || shapes.getRank(angles) != 4)
    return {};
  auto axes = shapes.getConstants(unsqueeze.getAxes());
  if (!axes || axes->size() != 1 || onnx::normalizeAxis(axes->front(), 4) != 1)
    return {};
  Value half = halve(unsqueeze.getData(), b);
  if (!half)
    return {};
  AffineExpr rows = shapes.getDim(half, 0), batch = shapes.getDim(x, 0);
  if (rows == batch)
    return half;
  if (constantDim(rows) != 1)
    return {};
  Value shape = b.sizeVector({batch, shapes.constant(1), shapes.constant(1)});
  return shape ? b.make<onnx::ExpandOp>(half, shape) : Value();
}

/// x * cos + half_turn(x) * sin.
static void raiseRotary(onnx::AddOp root, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  for (auto [straight, turned] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
    auto first = definedBy<onnx::MulOp>(straight), second = definedBy<onnx::MulOp>(turned);
    if (!first || !second)
      return;
    for (unsigned i : {0, 1})
      for (unsigned j : {0, 1}) {
        Value x = first->getOperand(i), cos = first->getOperand(1 - i), sin = second->getOperand(1 - j);
        if (!isHalfTurn(second->getOperand(j), x, shapes))
          continue;
        if (shapes.getRank(x) != 4) {
          remarkMissed(root, "raise-rotary", "what is rotated has another rank than 4");
          return;
        }
        Value cosCache = cacheOf(cos, x, b), sinCache = cosCache ? cacheOf(sin, x, b) : Value();
        if (!sinCache) {
          remarkMissed(root, "raise-rotary",
                       "the angles are not known to be two equal halves of shape [batch, 1, sequence, half]");
          return;
        }
        Value rotated = b.make<onnx::RotaryEmbeddingOp>(x, cosCache, sinCache, Value(), b.getI64IntegerAttr(0),
                                                        b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
        root.getC().replaceAllUsesWith(rotated);
        remarkPassed(root, "raise-rotary", "RotaryEmbedding");
        return;
      }
  }
}

namespace {
class RaiseRotary : public caat::impl::ONNXRaiseRotaryPassBase<RaiseRotary> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto add = dyn_cast<onnx::AddOp>(op))
        raiseRotary(add, b);
      // A head count is only needed for X of rank 3; sharding would have to change it.
      if (auto rotary = dyn_cast<onnx::RotaryEmbeddingOp>(op); rotary && b.getShapes().getRank(rotary.getX()) == 4)
        rotary.setNumHeads(0);
    });
  }
};
} // namespace
