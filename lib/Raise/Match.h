// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Small matchers that the raising passes share.
#ifndef CAAT_LIB_RAISE_MATCH_H
#define CAAT_LIB_RAISE_MATCH_H

#include "dialects/onnx/ONNX.h"
#include <cmath>
#include <optional>
#include <utility>

namespace caat {

/// Equal up to the rounding of a constant that was written in float32.
inline bool isNear(double a, double b) { return std::fabs(a - b) <= 1e-4 * std::fabs(b); }

inline bool isConstantNear(mlir::Value value, double number) {
  auto constant = onnx::constantFloat(value);
  return constant && (number == 0 ? *constant == 0 : isNear(*constant, number));
}

/// Numbers up to this one, put in place of a score or added to it, hide a key; real biases (ALiBi) are larger.
inline constexpr double kHidden = -1e4;

/// The op that defines `value`, if it is an `Op`.
template <typename Op> Op definedBy(mlir::Value value) { return value ? value.getDefiningOp<Op>() : Op(); }

/// If `value` is an `Op` (commutative, of two operands) of which one satisfies `is`: the other operand.
template <typename Op, typename Predicate> mlir::Value otherOperand(mlir::Value value, Predicate is) {
  auto op = definedBy<Op>(value);
  if (!op)
    return {};
  if (is(op->getOperand(1)))
    return op->getOperand(0);
  return is(op->getOperand(0)) ? op->getOperand(1) : mlir::Value();
}

/// `value` as a scalar constant times something: Mul and Div by constants are taken off.
inline std::pair<mlir::Value, double> takeScale(mlir::Value value) {
  double factor = 1;
  while (true) {
    if (auto mul = definedBy<onnx::MulOp>(value)) {
      auto left = onnx::constantFloat(mul.getA()), right = onnx::constantFloat(mul.getB());
      if (!left && !right)
        break;
      factor *= right ? *right : *left;
      value = right ? mul.getA() : mul.getB();
    } else if (auto div = definedBy<onnx::DivOp>(value); div && onnx::constantFloat(div.getB())) {
      factor /= *onnx::constantFloat(div.getB());
      value = div.getA();
    } else {
      break;
    }
  }
  return {value, factor};
}

/// Where(condition, otherwise, very small): what stays visible, or its negation with the branches exchanged.
struct HiddenBy {
  mlir::Value condition, otherwise;
  bool negated;
};
inline std::optional<HiddenBy> matchHidden(mlir::Value value) {
  auto where = definedBy<onnx::WhereOp>(value);
  if (!where)
    return std::nullopt;
  if (auto number = onnx::constantFloat(where.getY()); number && *number <= kHidden)
    return HiddenBy{where.getCondition(), where.getX(), false};
  if (auto number = onnx::constantFloat(where.getX()); number && *number <= kHidden)
    return HiddenBy{where.getCondition(), where.getY(), true};
  return std::nullopt;
}

/// Whether `value` is `x` squared.
inline bool isSquareOf(mlir::Value value, mlir::Value x) {
  if (auto mul = definedBy<onnx::MulOp>(value))
    return mul.getA() == x && mul.getB() == x;
  auto pow = definedBy<onnx::PowOp>(value);
  if (!pow || pow.getX() != x)
    return false;
  auto ints = onnx::constantInts(pow.getY());
  return isConstantNear(pow.getY(), 2) || (ints && ints->size() == 1 && ints->front() == 2);
}

} // namespace caat

#endif // CAAT_LIB_RAISE_MATCH_H
