// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SinkAllReduces.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace caat::shard {

namespace {
enum class Effect { None, Keeps, Shrinks };
} // namespace

/// What a linear op that `value` flows through does to its size; None where the op is not linear in it, or grows it.
static Effect effectOf(Operation *op, Value value, llvm::function_ref<bool(Value)> isReplicated) {
  if (op->getNumResults() != 1)
    return Effect::None;
  auto othersReplicated = [&] {
    return llvm::all_of(op->getOperands(), [&](Value other) { return other == value || isReplicated(other); }) &&
           llvm::count(op->getOperands(), value) == 1;
  };
  bool first = op->getOperand(0) == value;
  if (isa<onnx::MulOp>(op) || (isa<onnx::DivOp>(op) && first))
    return othersReplicated() && op->getResult(0).getType() == value.getType() ? Effect::Keeps : Effect::None;
  if (isa<onnx::ReshapeOp, onnx::TransposeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::FlattenOp, onnx::NegOp,
          onnx::IdentityOp>(op))
    return first && othersReplicated() ? Effect::Keeps : Effect::None;
  if (isa<onnx::ReduceSumOp, onnx::ReduceMeanOp, onnx::SliceOp>(op))
    return first && othersReplicated() ? Effect::Shrinks : Effect::None;
  return Effect::None;
}

SmallVector<Value> sinkAllReduce(RewriterBase &rewriter, tp::AllReduceOp reduce,
                                 llvm::function_ref<bool(Value)> isReplicated) {
  if (!isa<FloatType>(getElementTypeOrSelf(reduce.getInput().getType())))
    return {};
  SmallVector<Operation *> chain;
  size_t length = 0; // of the chain that the reduction moves behind
  Value value = reduce.getResult();
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    if (isa<onnx::AddOp, onnx::SumOp>(user))
      length = chain.size();
    Effect effect = effectOf(user, value, isReplicated);
    if (effect == Effect::None)
      break;
    chain.push_back(user);
    value = user->getResult(0);
    if (effect == Effect::Shrinks)
      length = chain.size();
  }
  if (length == 0)
    return {};
  Operation *last = chain[length - 1];
  rewriter.replaceAllUsesWith(reduce.getResult(), reduce.getInput());
  rewriter.setInsertionPointAfter(last);
  Value partial = last->getResult(0);
  auto moved = tp::AllReduceOp::create(rewriter, reduce.getLoc(), partial.getType(), partial, reduce.getMeshAttr(),
                                       reduce.getAxesAttr(), reduce.getSiteAttr());
  rewriter.replaceAllUsesExcept(partial, moved->getResult(0), moved);
  remark::passed(reduce.getLoc(), remark::RemarkOpts::name("sink-all-reduce").category("caat"))
      << llvm::formatv("site {0} is summed over the ranks behind {1} linear ops", reduce.getSite().value_or(""), length)
             .str();
  rewriter.eraseOp(reduce);
  return llvm::map_to_vector(ArrayRef(chain).take_front(length),
                             [](Operation *op) -> Value { return op->getResult(0); });
}

} // namespace caat::shard
