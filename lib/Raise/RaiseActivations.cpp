// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-activations: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEACTIVATIONSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The leaf of a product of at most three nested Mul ops for which `is` holds.
static Value findFactor(Value product, llvm::function_ref<bool(Value)> is, unsigned depth = 3) {
  if (is(product))
    return product;
  auto mul = definedBy<onnx::MulOp>(product);
  if (!mul || depth == 0)
    return {};
  Value left = findFactor(mul.getA(), is, depth - 1);
  return left ? left : findFactor(mul.getB(), is, depth - 1);
}

/// Whether `product` is factor * x * other, in any order.
static bool isProduct(Value product, Value x, Value other, double factor) {
  unsigned foundX = 0, foundOther = 0;
  double constant = 1;
  SmallVector<Value> pending{product};
  for (unsigned steps = 0; !pending.empty(); ++steps) {
    Value value = pending.pop_back_val();
    if (value == x) {
      ++foundX;
    } else if (value == other) {
      ++foundOther;
    } else if (auto number = onnx::constantFloat(value)) {
      constant *= *number;
    } else if (auto mul = definedBy<onnx::MulOp>(value); mul && steps < 8) {
      pending.append({mul.getA(), mul.getB()});
    } else if (auto div = definedBy<onnx::DivOp>(value); div && onnx::constantFloat(div.getB()) && steps < 8) {
      constant /= *onnx::constantFloat(div.getB());
      pending.push_back(div.getA());
    } else {
      return false;
    }
  }
  return foundX == 1 && foundOther == 1 && isNear(constant, factor);
}

/// x of `x^3`.
static Value cubed(Value value) {
  if (auto pow = definedBy<onnx::PowOp>(value)) {
    auto ints = onnx::constantInts(pow.getY());
    bool three = isConstantNear(pow.getY(), 3) || (ints && ints->size() == 1 && ints->front() == 3);
    return three ? pow.getX() : Value();
  }
  if (auto mul = definedBy<onnx::MulOp>(value)) {
    if (isSquareOf(mul.getA(), mul.getB()))
      return mul.getB();
    if (isSquareOf(mul.getB(), mul.getA()))
      return mul.getA();
  }
  return {};
}

/// x of `sqrt(2 / pi) * (x + 0.044715 * x^3)`.
static Value tanhArgument(Value value) {
  auto [sum, scale] = takeScale(value);
  auto add = definedBy<onnx::AddOp>(sum);
  if (!add || !isNear(scale, std::sqrt(2 / M_PI)))
    return {};
  for (auto [x, rest] : {std::pair(add.getA(), add.getB()), std::pair(add.getB(), add.getA())}) {
    auto [cube, factor] = takeScale(rest);
    if (isNear(factor, 0.044715) && cubed(cube) == x)
      return x;
  }
  return {};
}

/// x * 0.5 * (1 + erf(x / sqrt(2))) or its tanh form.
static bool raiseGelu(onnx::MulOp root, OnnxBuilder &b) {
  auto isOne = [](Value value) { return isConstantNear(value, 1); };
  auto isBell = [&](Value value) {
    Value inner = otherOperand<onnx::AddOp>(value, isOne);
    return inner && (definedBy<onnx::ErfOp>(inner) || definedBy<onnx::TanhOp>(inner));
  };
  Value bell = findFactor(root.getC(), isBell);
  if (!bell)
    return false;
  Value inner = otherOperand<onnx::AddOp>(bell, isOne), x;
  bool isTanh = static_cast<bool>(definedBy<onnx::TanhOp>(inner));
  if (isTanh) {
    x = tanhArgument(definedBy<onnx::TanhOp>(inner).getInput());
  } else {
    auto [argument, scale] = takeScale(definedBy<onnx::ErfOp>(inner).getInput());
    x = isNear(scale, M_SQRT1_2) ? argument : Value();
  }
  if (!x) {
    remarkMissed(root, "raise-gelu", "the argument of erf or tanh is not the one of Gelu");
    return false;
  }
  if (!isProduct(root.getC(), x, bell, 0.5))
    return false; // a part of the product: the whole one comes later
  root.getC().replaceAllUsesWith(b.make<onnx::GeluOp>(x, b.getStringAttr(isTanh ? "tanh" : "none")));
  remarkPassed(root, "raise-gelu", isTanh ? "Gelu, tanh form" : "Gelu, erf form");
  return true;
}

/// x * sigmoid(alpha * x).
static bool raiseSwish(onnx::MulOp root, OnnxBuilder &b) {
  for (auto [x, gate] : {std::pair(root.getA(), root.getB()), std::pair(root.getB(), root.getA())}) {
    auto sigmoid = definedBy<onnx::SigmoidOp>(gate);
    if (!sigmoid)
      continue;
    auto [argument, alpha] = takeScale(sigmoid.getX());
    if (sigmoid.getX() == x)
      alpha = 1;
    else if (argument != x)
      continue;
    root.getC().replaceAllUsesWith(b.make<onnx::SwishOp>(x, b.getF32FloatAttr(static_cast<float>(alpha))));
    remarkPassed(root, "raise-swish", "Swish");
    return true;
  }
  return false;
}

namespace {
class RaiseActivations : public caat::impl::ONNXRaiseActivationsPassBase<RaiseActivations> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto mul = dyn_cast<onnx::MulOp>(op))
        if (!raiseGelu(mul, b))
          raiseSwish(mul, b);
    });
  }
};
} // namespace
