// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Divisors.h"
#include "SizeCheck.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace caat {

Value integerDivisor(Operation *op) {
  if (!isa<onnx::DivOp, onnx::ModOp>(op) || !isa<IntegerType>(getElementTypeOrSelf(op->getResult(0))))
    return {};
  return op->getOperand(1);
}

static DenseIntElementsAttr constantIntegers(Value value) {
  auto constant = value.getDefiningOp<onnx::ConstantOp>();
  return constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : DenseIntElementsAttr();
}

std::optional<int64_t> findZero(Value divisor, const SymbolicShapes &shapes) {
  if (DenseIntElementsAttr integers = constantIntegers(divisor)) {
    for (auto [i, element] : llvm::enumerate(integers.getValues<APInt>()))
      if (element.isZero())
        return i;
    return std::nullopt;
  }
  if (auto elements = shapes.getElements(divisor))
    for (auto [i, element] : llvm::enumerate(*elements))
      if (element && constantDim(element) == 0)
        return i;
  return std::nullopt;
}

static bool isNeverZero(AffineExpr size, const SymbolicShapes &shapes) {
  if (auto constant = constantDim(size))
    return *constant != 0;
  return shapes.isGreaterEqual(size, shapes.constant(1));
}

bool isNeverZero(Value divisor, const SymbolicShapes &shapes) {
  if (constantIntegers(divisor))
    return !findZero(divisor, shapes);
  if (auto elements = shapes.getElements(divisor);
      elements && llvm::all_of(*elements, [&](AffineExpr size) { return size && isNeverZero(size, shapes); }))
    return true;
  // `x / where(y == 0, 1, y)` is checked when it runs: what a condition means is not looked at.
  Operation *op = divisor.getDefiningOp();
  if (isa_and_nonnull<onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ExpandOp, onnx::IdentityOp>(op))
    return isNeverZero(op->getOperand(0), shapes);
  if (auto where = dyn_cast_or_null<onnx::WhereOp>(op))
    return isNeverZero(where.getX(), shapes) && isNeverZero(where.getY(), shapes);
  auto isPositive = [](Value value) {
    DenseIntElementsAttr integers = constantIntegers(value);
    bool isSigned = integers && !integers.getElementType().isUnsignedInteger();
    return integers && llvm::all_of(integers.getValues<APInt>(), [&](const APInt &element) {
             return isSigned ? element.isStrictlyPositive() : !element.isZero();
           });
  };
  return isa_and_nonnull<onnx::MaxOp>(op) && llvm::any_of(op->getOperands(), isPositive);
}

bool isOfSizes(OpBuilder &builder, Value divisor, const SymbolicShapes &shapes) {
  auto elements = shapes.getElements(divisor);
  return elements && llvm::all_of(*elements, [&](AffineExpr size) {
           return size && (constantDim(size) || shapes.canMaterialize(builder, size));
         });
}

std::string dividesBy(Operation *op) {
  std::string node;
  if (auto named = dyn_cast<NameLoc>(op->getLoc()))
    node = "node '" + named.getName().str() + "' ";
  return node + "(" + op->getName().stripDialect().str() + ") divides by ";
}

bool checkSizesOf(OpBuilder &builder, Operation *op, const SymbolicShapes &shapes, llvm::StringSet<> &checked) {
  Value divisor = integerDivisor(op);
  if (!divisor || op->use_empty() || !isOfSizes(builder, divisor, shapes))
    return false;
  bool added = false;
  SymbolicShapes::Dims sizes = *shapes.getElements(divisor);
  for (AffineExpr size : sizes) {
    std::string message = dividesBy(op) + shapes.describe(size) + ", which is 0";
    if (constantDim(size) || isNeverZero(size, shapes) || !checked.insert(message).second)
      continue;
    Location loc = op->getLoc();
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
    addSizeCheck(builder, loc, arith::CmpIPredicate::ne, shapes.materialize(builder, loc, size), zero, message);
    added = true;
  }
  return added;
}

} // namespace caat
