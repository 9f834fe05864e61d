// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What happens to a product's elements one by one, behind it: libraries do it before they store them, where it costs
// nothing, and a kernel behind the product would read and write all of them again.
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "lib/Lower/Gates.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTFUSEEPILOGUESPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// Ops whose result is their first operand's memory, in another shape or none.
static bool isView(Operation *op) {
  return isa<onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::IdentityOp, tensor::CastOp,
             tensor::ExtractSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

/// Whether a kernel reads `value`: it computes an activation on the way, where it has the elements at hand anyway.
static bool isReadByKernel(Value value) {
  SmallVector<Value> names{value};
  while (!names.empty())
    for (Operation *user : names.pop_back_val().getUsers())
      if (isView(user))
        names.push_back(user->getResult(0));
      else if (!isa<rt::LinearOp, onnx::MatMulOp, onnx::AttentionOp, tensor::DimOp, func::ReturnOp>(user) &&
               !isa<tp::TPDialect>(user->getDialect()))
        return true;
  return false;
}

namespace {

class Fuser {
public:
  Fuser(func::FuncOp function, bool sums, bool gates) : dominance(function), sums(sums), gates(gates) {}

  void fuse(rt::LinearOp linear) {
    if (!getElementTypeOrSelf(linear.getInit()).isF32())
      return;
    SmallVector<StringRef> taken;
    if (takeBias(linear))
      taken.push_back("bias");
    if (sums && takeSum(linear))
      taken.push_back("sum");
    if (gates && takeGate(linear))
      taken.push_back("gate");
    takeActivation(linear);
    if (linear.getActivation())
      taken.push_back(rt::stringifyActivation(*linear.getActivation()));
    if (!taken.empty())
      remark::passed(linear.getLoc(), remark::RemarkOpts::name("fuse-epilogues").category("caat"))
          << "product with '" + linear.getWeight().str() + "' takes in: " + llvm::join(taken, ", ");
  }

private:
  /// `value` as a bias of the product: a parameter [N], or with ones before, that can be had before the product.
  Value asBias(rt::LinearOp linear, Value value) {
    auto parameter = value.getDefiningOp<rt::ParameterOp>();
    if (!parameter)
      return {};
    auto type = cast<RankedTensorType>(parameter.getType());
    auto y = cast<RankedTensorType>(linear.getInit().getType());
    int64_t n = y.getShape().back(), rank = type.getRank();
    if (rank == 0 || rank > y.getRank() || ShapedType::isDynamic(n) || type.getShape().back() != n ||
        type.getNumElements() != n || !type.getElementType().isF32())
      return {};
    if (parameter.getShard() && !dominance.properlyDominates(parameter.getShard(), linear))
      return {};
    OpBuilder b(linear);
    Value bias = rt::ParameterOp::create(b, value.getLoc(), type, parameter.getWeightAttr(), parameter.getShard());
    if (rank > 1)
      bias = tensor::CollapseShapeOp::create(
          b, value.getLoc(), bias, ArrayRef<ReassociationIndices>{llvm::to_vector(llvm::seq<int64_t>(0, rank))});
    return bias;
  }

  /// Puts the product in the place of `op`, which computes what it does now from its result.
  static void replace(Operation *op, rt::LinearOp linear) {
    Value y = linear->getResult(0), result = op->getResult(0);
    if (y.getType() != result.getType()) {
      OpBuilder b(op);
      y = tensor::CastOp::create(b, op->getLoc(), result.getType(), y);
    }
    result.replaceAllUsesWith(y);
    Operation *operand = nullptr;
    do { // with the casts between the two
      SmallVector<Value> operands(op->getOperands());
      op->erase();
      operand = nullptr;
      for (Value value : operands)
        if (auto cast = value.getDefiningOp<tensor::CastOp>(); cast && cast->use_empty())
          operand = cast;
      op = operand;
    } while (op);
  }

  bool takeBias(rt::LinearOp linear) {
    Value y = throughCasts(linear->getResult(0));
    auto add = dyn_cast_or_null<onnx::AddOp>(onlyUser(y));
    if (!add || linear.getBias() || linear.getActivation() ||
        failed(verifyCompatibleShape(add.getResult().getType(), y.getType())))
      return false;
    Value bias = asBias(linear, add.getA() == y ? add.getB() : add.getA());
    if (!bias)
      return false;
    linear.getBiasMutable().assign(bias);
    replace(add, linear);
    return true;
  }

  void takeActivation(rt::LinearOp linear) {
    Operation *op = onlyUser(throughCasts(linear->getResult(0)));
    auto activation = op ? activationOf(op) : std::nullopt;
    if (!activation || linear.getActivation() || isReadByKernel(op->getResult(0)))
      return;
    linear.setActivation(activation->first);
    linear.setAlphaAttr(OpBuilder(linear).getF32FloatAttr(activation->second));
    replace(op, linear);
  }

  /// y = f(gate) * other half, in the place of both halves.
  bool takeGate(rt::LinearOp linear) {
    auto both = linear.getInit().getDefiningOp<tensor::EmptyOp>();
    std::optional<Gate> gate = both && !linear.getActivation() ? findGate(linear->getResult(0)) : std::nullopt;
    if (!gate || isReadByKernel(gate->product.getResult()))
      return false;
    OpBuilder b(linear);
    SmallVector<OpFoldResult> sizes = both.getMixedSizes();
    sizes.back() = b.getIndexAttr(cast<RankedTensorType>(both.getType()).getShape().back() / 2);
    Value half = tensor::EmptyOp::create(b, linear.getLoc(), sizes, both.getType().getElementType());
    linear.getInitMutable().assign(half);
    linear->getResult(0).setType(cast<RankedTensorType>(half.getType()));
    linear.setGate(gate->half);
    linear.setActivation(gate->activation);
    linear.setAlphaAttr(b.getF32FloatAttr(gate->alpha));
    Value y = linear->getResult(0), result = gate->product.getResult();
    b.setInsertionPoint(gate->product);
    if (y.getType() != result.getType())
      y = tensor::CastOp::create(b, linear.getLoc(), result.getType(), y);
    result.replaceAllUsesWith(y);
    eraseGate(*gate, linear);
    return true;
  }

  /// Whether nothing reads `value`, under any name, from `linear` on but `sum`, and it is memory that may be written.
  static bool endsIn(Value value, onnx::AddOp sum, rt::LinearOp linear) {
    Value root = value;
    while (root.getDefiningOp() && isView(root.getDefiningOp()))
      root = root.getDefiningOp()->getOperand(0);
    Operation *maker = root.getDefiningOp();
    if (!maker || maker->getBlock() != linear->getBlock() || isa<rt::ParameterOp>(maker) ||
        maker->hasTrait<OpTrait::ConstantLike>())
      return false;
    SmallVector<Value> names{root};
    while (!names.empty())
      for (Operation *user : names.pop_back_val().getUsers()) {
        if (user == sum || isa<tensor::DimOp>(user))
          continue;
        Operation *at = linear->getBlock()->findAncestorOpInBlock(*user);
        if (user->getNumResults() == 1 && isView(user))
          names.push_back(user->getResult(0));
        else if (!at->isBeforeInBlock(linear))
          return false;
      }
    return true;
  }

  /// y += x W in the place of sum = old + x W, where old is there before the product and read by nobody later.
  bool takeSum(rt::LinearOp linear) {
    if (linear.getAccumulate() || linear.getActivation() || !linear.getInit().getDefiningOp<tensor::EmptyOp>())
      return false;
    Value y = throughCasts(linear->getResult(0));
    auto reshape = dyn_cast_or_null<onnx::ReshapeOp>(onlyUser(y));
    Value shaped = reshape ? reshape->getResult(0) : y;
    auto sum = dyn_cast_or_null<onnx::AddOp>(onlyUser(shaped));
    if (!sum)
      return false;
    Value old = sum.getA() == shaped ? sum.getB() : sum.getA();
    auto type = cast<RankedTensorType>(linear->getResult(0).getType());
    auto oldType = cast<RankedTensorType>(old.getType());
    bool isWhole = oldType == sum.getResult().getType() && oldType.getRank() == sum.getResult().getType().getRank() &&
                   oldType.getShape().back() == type.getShape().back();
    if (!isWhole || old == shaped || !dominance.properlyDominates(old, linear) || !endsIn(old, sum, linear))
      return false;
    OpBuilder b(linear);
    if (reshape) {
      if (type.getRank() != 2)
        return false;
      Value shape = onnx::createInts(b, linear.getLoc(), {-1, type.getShape().back()});
      old = onnx::ReshapeOp::create(b, linear.getLoc(), type, old, shape);
    } else if (oldType != type) {
      old = tensor::CastOp::create(b, linear.getLoc(), type, old);
    }
    linear.getInitMutable().assign(old);
    linear.setAccumulate(true);
    if (reshape)
      sum.getResult().replaceAllUsesWith(shaped), sum.erase();
    else
      replace(sum, linear);
    return true;
  }

  DominanceInfo dominance;
  bool sums, gates;
};

struct FuseEpiloguesPass : caat::impl::RTFuseEpiloguesPassBase<FuseEpiloguesPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<rt::LinearOp> products;
    getOperation().walk([&](rt::LinearOp linear) { products.push_back(linear); });
    Fuser fuser(getOperation(), sums, gates);
    for (rt::LinearOp linear : products)
      fuser.fuse(linear);
  }
};

} // namespace
