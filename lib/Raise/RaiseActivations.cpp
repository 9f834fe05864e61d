// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-activations: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
#include <array>

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

using Polynomial = std::array<double, 4>;

/// `value` as a polynomial in `x` of degree 3 at most; nullopt where it is none.
static std::optional<Polynomial> polynomialIn(Value value, Value x, unsigned depth = 8) {
  if (value == x)
    return Polynomial{0, 1, 0, 0};
  if (auto number = onnx::constantFloat(value))
    return Polynomial{*number, 0, 0, 0};
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0)
    return std::nullopt;
  auto of = [&](Value operand) { return polynomialIn(operand, x, depth - 1); };
  auto product = [](const Polynomial &a, const Polynomial &b) -> std::optional<Polynomial> {
    Polynomial result{};
    for (unsigned i = 0; i < 4; ++i)
      for (unsigned j = 0; j < 4; ++j)
        if (i + j < 4)
          result[i + j] += a[i] * b[j];
        else if (a[i] != 0 && b[j] != 0)
          return std::nullopt;
    return result;
  };
  if (auto pow = dyn_cast<onnx::PowOp>(op)) {
    auto ints = onnx::constantInts(pow.getY());
    auto number = onnx::constantFloat(pow.getY());
    double exponent = number ? *number : ints && ints->size() == 1 ? static_cast<double>(ints->front()) : 0;
    auto base = exponent == 2 || exponent == 3 ? of(pow.getX()) : std::nullopt;
    auto square = base ? product(*base, *base) : std::nullopt;
    return exponent == 3 && square ? product(*square, *base) : square;
  }
  if (!isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp>(op))
    return std::nullopt;
  auto a = of(op->getOperand(0)), b = a ? of(op->getOperand(1)) : std::nullopt;
  if (!b)
    return std::nullopt;
  if (isa<onnx::MulOp>(op))
    return product(*a, *b);
  for (unsigned i = 0; i < 4; ++i) {
    if (isa<onnx::DivOp>(op)) {
      if (i > 0 && (*b)[i] != 0)
        return std::nullopt;
      (*a)[i] /= (*b)[0];
    } else {
      (*a)[i] += isa<onnx::AddOp>(op) ? (*b)[i] : -(*b)[i];
    }
  }
  return a;
}

/// The tensor in which `value` is the polynomial `wanted`; the nearest of those it is computed from.
static Value solve(Value value, const Polynomial &wanted) {
  SmallVector<Value> queue{value};
  for (size_t i = 0; i < queue.size() && i < 24; ++i) {
    Operation *op = queue[i].getDefiningOp();
    if (!onnx::constantFloat(queue[i]))
      if (auto found = polynomialIn(value, queue[i]); found && llvm::all_of(llvm::zip(*found, wanted), [](auto pair) {
                                                        auto [is, should] = pair;
                                                        return should == 0 ? is == 0 : isNear(is, should);
                                                      }))
        return queue[i];
    if (op && isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::PowOp>(op))
      queue.append(op->operand_begin(), op->operand_end());
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
  double root2OverPi = std::sqrt(2 / M_PI);
  x = solve(inner.getDefiningOp()->getOperand(0),
            isTanh ? Polynomial{0, root2OverPi, 0, 0.044715 * root2OverPi} : Polynomial{0, M_SQRT1_2, 0, 0});
  if (!x || !isProduct(root.getC(), x, bell, 0.5))
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

/// Says of every erf, tanh and sigmoid that is still there which part of an activation is missing around it.
static void explainRest(func::FuncOp function) {
  function.walk([](Operation *op) {
    if (isa<onnx::SigmoidOp>(op))
      remarkMissed(op, "raise-swish", "not multiplied by its own argument");
    else if (isa<onnx::ErfOp, onnx::TanhOp>(op)) // soft-caps are raise-attention's
      remarkMissed(op, "raise-gelu", "not part of 0.5 * x * (1 + erf or tanh of Gelu's argument)");
  });
}

namespace {
class RaiseActivations : public caat::impl::ONNXRaiseActivationsPassBase<RaiseActivations> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto mul = dyn_cast<onnx::MulOp>(op))
        if (!raiseGelu(mul, b))
          raiseSwish(mul, b);
    });
    explainRest(getOperation());
  }
};
} // namespace
