// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/Probe.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace caat::shard {

bool mentions(AffineExpr expr, AffineExpr symbol) {
  bool found = false;
  expr.walk([&](AffineExpr part) { found |= part == symbol; });
  return found;
}

bool takesShape(OpOperand &operand) {
  Operation *op = operand.getOwner();
  return isa<onnx::ReshapeOp, onnx::ExpandOp, onnx::TileOp>(op) ? operand.getOperandNumber() == 1
                                                                : isa<onnx::ConstantOfShapeOp>(op);
}

std::string describeNode(Operation *op) {
  std::string name = "(" + op->getName().stripDialect().str() + ") ";
  auto named = dyn_cast<NameLoc>(op->getLoc());
  return named ? "node '" + named.getName().str() + "' " + name : name;
}

void dropChecks(func::FuncOp function) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (isa<onnx::CheckOp>(op) || (op.use_empty() && isMemoryEffectFree(&op) && !op.hasTrait<OpTrait::IsTerminator>()))
      op.erase();
}

Probe::Probe(func::FuncOp function, const SymbolicShapes &shapes, llvm::function_ref<bool(AffineExpr)> counts) {
  for (auto dim : function.getBody().front().getOps<tensor::DimOp>()) {
    std::optional<int64_t> index = dim.getConstantIndex();
    AffineExpr size = index ? shapes.getDim(dim.getSource(), *index) : AffineExpr();
    if (!size || counts(size))
      counted.insert(dim);
  }
  setTypes(function, shapes);
  replaceSizes(function);
}

void Probe::setTypes(func::FuncOp function, const SymbolicShapes &shapes) {
  SmallVector<std::pair<Value, RankedTensorType>> types;
  auto add = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    auto dims = type ? shapes.getDims(value) : std::nullopt;
    if (!dims || type.hasStaticShape() || static_cast<int64_t>(dims->size()) != type.getRank())
      return;
    SmallVector<int64_t> shape;
    for (auto [size, dim] : llvm::zip_equal(type.getShape(), *dims))
      shape.push_back(ShapedType::isDynamic(size) && dim ? evaluate(dim) : size);
    types.emplace_back(value, type.clone(shape));
  };
  llvm::for_each(function.getArguments(), add);
  for (Operation &op : function.getBody().front())
    llvm::for_each(op.getResults(), add);
  for (auto [value, type] : types)
    value.setType(type);
}

void Probe::replaceSizes(func::FuncOp function) {
  for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
    if (auto dim = dyn_cast<tensor::DimOp>(op)) {
      auto type = dyn_cast<RankedTensorType>(dim.getSource().getType());
      std::optional<int64_t> index = dim.getConstantIndex();
      if (!type || !index || *index >= type.getRank() || type.isDynamicDim(*index))
        continue;
      OpBuilder builder(&op);
      Value size = arith::ConstantIndexOp::create(builder, op.getLoc(), type.getDimSize(*index));
      if (counted.erase(dim))
        counted.insert(size);
      dim.replaceAllUsesWith(size);
      dim.erase();
    } else if (op.getName().getDialectNamespace() == "arith" || isa<tensor::FromElementsOp>(op)) {
      if (llvm::any_of(op.getOperands(), [&](Value operand) { return counted.contains(operand); }))
        counted.insert(op.result_begin(), op.result_end());
    }
  }
}

static int64_t nextPrime(int64_t number) {
  for (int64_t candidate = number + 2;; candidate += 2) {
    bool prime = true;
    for (int64_t divisor = 3; prime && divisor * divisor <= candidate; divisor += 2)
      prime = candidate % divisor != 0;
    if (prime)
      return candidate;
  }
}

int64_t Probe::evaluate(AffineExpr expr) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    int64_t &value = values[symbol.getPosition()];
    if (value == 0)
      value = last = nextPrime(last);
    return value;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return ShapedType::kDynamic;
  int64_t a = evaluate(binary.getLHS()), b = evaluate(binary.getRHS());
  if (ShapedType::isDynamic(a) || ShapedType::isDynamic(b))
    return ShapedType::kDynamic;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return a + b > 0 ? a + b : ShapedType::kDynamic;
  case AffineExprKind::Mul:
    return a * b;
  case AffineExprKind::FloorDiv:
    return b > 0 ? llvm::divideFloorSigned(a, b) : ShapedType::kDynamic;
  case AffineExprKind::CeilDiv:
    return b > 0 ? llvm::divideCeilSigned(a, b) : ShapedType::kDynamic;
  default:
    return b > 0 ? llvm::mod(a, b) : ShapedType::kDynamic;
  }
}

} // namespace caat::shard
