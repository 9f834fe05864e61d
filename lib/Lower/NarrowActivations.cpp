// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "caat/Support/HalfTypes.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "lib/Lower/AttentionCache.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTNARROWACTIVATIONSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// Ops that only move elements of their first operand.
static bool moves(Operation *op) {
  return isa<onnx::ReshapeOp, onnx::FlattenOp, onnx::TransposeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::SliceOp,
             onnx::SplitOp, onnx::IdentityOp, tensor::CastOp>(op);
}

static bool isProduct(Operation *op) {
  return isa<rt::LinearOp, onnx::AttentionOp, onnx::LinearAttentionOp, onnx::MatMulOp>(op);
}

/// Whether `value` is an argument, or a part of one that something was appended to.
static bool comesFromArgument(Value value) {
  SmallVector<Value> worklist{value};
  llvm::SmallPtrSet<Operation *, 16> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op)
      return true;
    if (!seen.insert(op).second)
      continue;
    if (auto concat = dyn_cast<onnx::ConcatOp>(op))
      llvm::append_range(worklist, concat.getInputs());
    else if (moves(op) || isa<onnx::ExpandOp, onnx::TileOp, tensor::ExtractSliceOp>(op))
      worklist.push_back(op->getOperand(0));
  }
  return false;
}

namespace {

class Narrower {
public:
  explicit Narrower(func::FuncOp function)
      : function(function), symbols(function->getParentOfType<ModuleOp>()),
        wide(Float32Type::get(function.getContext())) {}

  /// `replaced`: names of biases in whose place others are read.
  void run(DenseSet<StringAttr> &replaced) {
    Block &block = function.getBody().front();
    for (Operation &op : llvm::reverse(block))
      if (llvm::any_of(op.getUsers(), [&](Operation *user) {
            Operation *at = block.findAncestorOpInBlock(*user);
            return isProduct(at) || leadsToProduct.contains(at);
          }))
        leadsToProduct.insert(&op);
    for (auto linear : block.getOps<rt::LinearOp>())
      if (!narrow)
        narrow = typeOf(linear);
    if (!narrow)
      return;
    for (Operation &op : llvm::make_early_inc_range(block))
      visit(&op);
    for (auto &[bias, rounded] : narrowBiases)
      replaced.insert(bias.first);
    updateType(function);
    remark::passed(function.getLoc(), remark::RemarkOpts::name("narrow-activations").category("caat"))
        << (std::to_string(inputs) + " inputs and " + std::to_string(results) + " results of products, " +
            std::to_string(attentions) + " attentions and " + std::to_string(caches) + " caches in 16 bits");
  }

private:
  /// The type that a product's operand has in 16 bits; null where it stays f32.
  Type typeOf(rt::LinearOp linear) {
    auto weight = symbols.lookup<rt::WeightOp>(linear.getWeight());
    bool fits = weight && isHalf(weight.getTensorType()) && !linear.getShard();
    return fits && getElementTypeOrSelf(linear.getX()).isF32() ? weight.getTensorType().getElementType() : Type();
  }

  /// `value` rounded to `type` by what makes it. Ops that only move elements, for this use alone, move rounded ones.
  Value narrowed(Value value, Type type) {
    if (getElementTypeOrSelf(value) == type)
      return value;
    if (Value before = beforeWidening(value); before && getElementTypeOrSelf(before) == type)
      return before;
    Operation *op = value.getDefiningOp();
    bool hasOne = op && op->getNumResults() == 1 && value.hasOneUse();
    if (hasOne && moves(op))
      op->setOperand(0, narrowed(op->getOperand(0), type));
    if (hasOne && (moves(op) || isa<onnx::RotaryEmbeddingOp>(op))) {
      setElementType(value, type);
      return value;
    }
    Value &rounded = casts[{value, type}];
    if (!rounded) {
      OpBuilder b(function.getContext());
      b.setInsertionPointAfterValue(value);
      rounded = onnx::CastOp::create(b, value.getLoc(), value, type).getOutput();
    }
    return rounded;
  }

  /// Gives `value` the type `type`; who reads it gets it widened.
  void widenBehind(Value value, Type type) {
    setElementType(value, type);
    if (value.use_empty())
      return;
    OpBuilder b(function.getContext());
    b.setInsertionPointAfterValue(value);
    auto cast = onnx::CastOp::create(b, value.getLoc(), value, wide);
    value.replaceAllUsesExcept(cast.getOutput(), cast);
  }

  /// Whether other ranks see `value`, or sums of it: what they add up is f32.
  static bool isSent(Value value) {
    SmallVector<Value> worklist{value};
    llvm::SmallPtrSet<Operation *, 16> seen;
    while (!worklist.empty())
      for (Operation *user : worklist.pop_back_val().getUsers()) {
        if (isa<tp::TPDialect>(user->getDialect()) || isa<rt::SyncPointOp>(user))
          return true;
        bool passes = moves(user) || isa<onnx::AddOp, onnx::GatherOp, onnx::WhereOp>(user);
        if (passes && seen.insert(user).second)
          llvm::append_range(worklist, user->getResults());
      }
    return false;
  }

  void visit(Operation *op) {
    if (auto linear = dyn_cast<rt::LinearOp>(op))
      return visitLinear(linear);
    if (auto attention = dyn_cast<onnx::AttentionOp>(op))
      return visitAttention(attention);
    if (auto rotary = dyn_cast<onnx::RotaryEmbeddingOp>(op)) {
      if (Value x = beforeWidening(rotary.getX()))
        rotary.getXMutable().assign(x);
      return;
    }
    if (!moves(op))
      return;
    Value before = beforeWidening(op->getOperand(0));
    if (!before)
      return;
    op->setOperand(0, before);
    for (Value result : op->getResults())
      widenBehind(result, getElementTypeOrSelf(before));
  }

  void visitLinear(rt::LinearOp linear) {
    Type type = typeOf(linear);
    if (!type)
      return;
    linear.getXMutable().assign(narrowed(linear.getX(), type));
    ++inputs;
    Value y = linear->getResult(0);
    auto empty = linear.getInit().getDefiningOp<tensor::EmptyOp>();
    // What is sent in 16 bits anyway is rounded by the product that makes it.
    auto rounds = y.hasOneUse() ? dyn_cast<onnx::CastOp>(*y.user_begin()) : onnx::CastOp();
    bool isRounded = rounds && rounds.getTo() == type;
    // The last products' results are the program's, or what it chooses by.
    if (!empty || (!isRounded && (!leadsToProduct.contains(linear) || isSent(y))))
      return;
    OpBuilder b(linear);
    linear.getInitMutable().assign(
        tensor::EmptyOp::create(b, linear.getLoc(), empty.getMixedSizes(), type).getResult());
    if (Value bias = linear.getBias()) {
      linear.getBiasMutable().assign(narrowedBias(bias, type));
      if (bias.use_empty() && bias.getDefiningOp<tensor::CollapseShapeOp>())
        bias.getDefiningOp()->erase();
    }
    if (isRounded) {
      setElementType(y, type);
      rounds.getOutput().replaceAllUsesWith(y);
    } else {
      widenBehind(y, type);
    }
    ++results;
  }

  /// The bias rounded when the artifact is written, as libraries want it that add it to results of that type.
  Value narrowedBias(Value bias, Type type) {
    auto collapse = bias.getDefiningOp<tensor::CollapseShapeOp>();
    auto parameter = (collapse ? collapse.getSrc() : bias).getDefiningOp<rt::ParameterOp>();
    if (!parameter || parameter.getShard() || !getElementTypeOrSelf(bias).isF32())
      return bias;
    auto wideType = cast<RankedTensorType>(parameter.getType());
    StringAttr &weight = narrowBiases[{parameter.getWeightAttr().getAttr(), type}];
    if (!weight) {
      auto declared = symbols.lookup<rt::WeightOp>(parameter.getWeight());
      rt::WeightOp copy = declared.clone();
      weight = symbols.insert(copy);
      copy.setType(wideType.clone(type));
      auto yield = cast<rt::YieldOp>(copy.getBody().front().back());
      Value before = beforeWidening(yield.getValue());
      if (!before || getElementTypeOrSelf(before) != type) {
        OpBuilder inside(yield);
        before = onnx::CastOp::create(inside, yield.getLoc(), yield.getValue(), type).getOutput();
      }
      yield.getValueMutable().assign(before);
    }
    OpBuilder b(parameter);
    Value narrowBias =
        rt::ParameterOp::create(b, parameter.getLoc(), wideType.clone(type), FlatSymbolRefAttr::get(weight), Value());
    if (collapse)
      narrowBias =
          tensor::CollapseShapeOp::create(b, collapse.getLoc(), narrowBias, collapse.getReassociationIndices());
    return narrowBias;
  }

  void visitAttention(onnx::AttentionOp op) {
    auto isWide = [](Value value) { return getElementTypeOrSelf(value).isF32(); };
    if (!isWide(op.getQ()) || !isWide(op.getK()) || !isWide(op.getV()))
      return;
    std::optional<AttentionCache> keys, values;
    if (op.getPastKey()) {
      keys = AttentionCache::find(function, op.getPastKey());
      values = AttentionCache::find(function, op.getPastValue());
      auto isAlone = [](auto &cache) { return cache && cache->appended.size() == 1; };
      if (!isAlone(keys) || !isAlone(values))
        return;
    } else if (comesFromArgument(op.getK()) || comesFromArgument(op.getV()) || op.getPresentKey()) {
      return; // a cache by other means: it would be rounded at each step
    }
    for (OpOperand *operand : {&op.getQMutable(), &op.getKMutable(), &op.getVMutable()})
      operand->set(narrowed(operand->get(), narrow));
    for (std::optional<AttentionCache> *cache : {&keys, &values})
      if (*cache) {
        (*cache)->setElementType(function, narrow);
        ++caches;
      }
    widenBehind(op.getY(), narrow);
    ++attentions;
  }

  func::FuncOp function;
  SymbolTable symbols;
  Type wide, narrow;
  DenseSet<Operation *> leadsToProduct;
  DenseMap<std::pair<Value, Type>, Value> casts;
  DenseMap<std::pair<StringAttr, Type>, StringAttr> narrowBiases;
  int64_t inputs = 0, results = 0, attentions = 0, caches = 0;
};

struct NarrowActivationsPass : caat::impl::RTNarrowActivationsPassBase<NarrowActivationsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && function.getBody().hasOneBlock())
        Narrower(function).run(replaced);
    eraseUnused();
  }

  /// Biases of which only the rounded ones are read now.
  void eraseUnused() {
    getOperation().walk([&](rt::ParameterOp parameter) {
      if (!parameter->use_empty())
        replaced.erase(parameter.getWeightAttr().getAttr());
      else if (replaced.contains(parameter.getWeightAttr().getAttr()))
        parameter.erase();
    });
    for (auto weight : llvm::make_early_inc_range(getOperation().getOps<rt::WeightOp>()))
      if (replaced.contains(weight.getSymNameAttr()))
        weight.erase();
  }

  DenseSet<StringAttr> replaced;
};

} // namespace
