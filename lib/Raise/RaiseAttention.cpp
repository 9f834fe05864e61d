// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-attention: see Passes.td.
#include "AttentionScores.h"
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEATTENTIONPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// x of Reshape(Expand(Unsqueeze(x, 2))): every head of x repeated. Null where `value` is no such thing.
static Value unrepeatedHeads(Value value, const SymbolicShapes &shapes) {
  auto reshape = definedBy<onnx::ReshapeOp>(value);
  auto expand = reshape ? definedBy<onnx::ExpandOp>(reshape.getData()) : onnx::ExpandOp();
  auto unsqueeze = expand ? definedBy<onnx::UnsqueezeOp>(expand.getInput()) : onnx::UnsqueezeOp();
  if (!unsqueeze)
    return {};
  Value x = unsqueeze.getData();
  auto axes = shapes.getConstants(unsqueeze.getAxes());
  auto from = shapes.getDims(x), wide = shapes.getDims(expand.getOutput()), to = shapes.getDims(value);
  if (!axes || axes->size() != 1 || axes->front() != 2 || !from || !wide || !to || from->size() != 4 ||
      wide->size() != 5 || to->size() != 4)
    return {};
  auto heads = constantDim((*from)[1]), times = constantDim((*wide)[2]), all = constantDim((*to)[1]);
  bool same = heads && times && all && *heads * *times == *all && (*wide)[0] == (*from)[0] &&
              (*wide)[1] == (*from)[1] && (*wide)[3] == (*from)[2] && (*wide)[4] == (*from)[3] &&
              (*to)[0] == (*from)[0] && (*to)[2] == (*from)[2] && (*to)[3] == (*from)[3];
  return same ? x : Value();
}

/// Keys and values as they are before repetition, and the cache that they are appended to.
static void simplifyKeysAndValues(AttentionForm &form, OnnxBuilder &b, SmallVectorImpl<Value> &presents) {
  const SymbolicShapes &shapes = b.getShapes();
  Value keys = unrepeatedHeads(form.k, shapes), values = unrepeatedHeads(form.v, shapes);
  if (keys && values && shapes.getDim(keys, 1) == shapes.getDim(values, 1)) {
    form.k = keys;
    form.v = values;
  }
  if (form.pastKey)
    return;
  auto appended = [&](Value value) -> onnx::ConcatOp {
    auto concat = definedBy<onnx::ConcatOp>(value);
    bool fits = concat && concat.getInputs().size() == 2 && onnx::normalizeAxis(concat.getAxis(), 4) == 2 &&
                shapes.getRank(value) == 4 && isa<BlockArgument>(concat.getInputs()[0]);
    return fits ? concat : onnx::ConcatOp();
  };
  onnx::ConcatOp key = appended(form.k), value = appended(form.v);
  if (!key || !value)
    return;
  presents.append({key.getConcatResult(), value.getConcatResult()});
  form.pastKey = key.getInputs()[0];
  form.k = key.getInputs()[1];
  form.pastValue = value.getInputs()[0];
  form.v = value.getInputs()[1];
}

/// Uses of the concatenated caches behind the attention become its present results.
static void replacePresents(onnx::AttentionOp attention, ArrayRef<Value> presents) {
  auto isBehind = [&](OpOperand &use) { return attention->isBeforeInBlock(use.getOwner()); };
  for (auto [i, old] : llvm::enumerate(presents))
    Value(old).replaceUsesWithIf(i == 0 ? attention.getPresentKey() : attention.getPresentValue(), isBehind);
}

/// The softmax of attention weights: through casts, merged heads and the guard that turns the NaN of hidden rows to 0.
static onnx::SoftmaxOp softmaxOf(Value weights, MergedHeads &merged, const SymbolicShapes &shapes) {
  for (unsigned steps = 0; steps < 8; ++steps) {
    if (auto softmax = definedBy<onnx::SoftmaxOp>(weights))
      return softmax;
    if (auto cast = definedBy<onnx::CastOp>(weights)) {
      weights = cast.getInput();
    } else if (auto guard = definedBy<onnx::WhereOp>(weights)) {
      auto isNaN = definedBy<onnx::IsNaNOp>(guard.getCondition());
      if (!isNaN || isNaN.getX() != guard.getY() || !isConstantNear(guard.getX(), 0))
        return {};
      weights = guard.getY();
    } else if (auto reshape = definedBy<onnx::ReshapeOp>(weights); reshape && learnMerged(reshape, merged, shapes)) {
      weights = reshape.getData();
    } else {
      return {};
    }
  }
  return {};
}

/// MatMul(Softmax(scores), v).
static void raiseDecomposed(onnx::MatMulOp root, OnnxBuilder &b, llvm::SmallPtrSetImpl<Operation *> &explained) {
  const SymbolicShapes &shapes = b.getShapes();
  MergedHeads merged;
  auto softmax = softmaxOf(root.getA(), merged, shapes);
  if (!softmax)
    return;
  explained.insert(softmax);
  auto missed = [&](const Twine &reason) { remarkMissed(root, "raise-attention", reason); };
  auto rank = shapes.getRank(softmax.getInput()), outer = shapes.getRank(root.getY());
  if (!rank || !outer || *rank < 3 || *rank > 4 || onnx::normalizeAxis(softmax.getAxis(), *rank) != *rank - 1)
    return missed("the softmax is not over the last of four dimensions, or of three with batch and heads merged");
  std::string reason;
  auto scores = matchScores(softmax.getInput(), merged, b, reason);
  if (!scores)
    return missed(reason);

  AttentionForm form;
  form.q = scores->q;
  form.k = scores->k;
  form.scale = static_cast<float>(scores->scale);
  form.softcap = static_cast<float>(scores->softcap);
  form.v = unmergeHeads(root.getB(), merged, b);
  if (!form.v || (*outer != 3 && *outer != 4))
    return missed("the values have rank 3 and it is not known how batch and heads are merged in it");
  AffineExpr heads = shapes.getDim(form.q, 1), keyHeads = shapes.getDim(form.k, 1);
  auto isOne = [](AffineExpr dim) { return constantDim(dim) == 1; };
  if (!constantDim(heads) || (keyHeads != heads && !isOne(keyHeads)) || shapes.getDim(form.v, 1) != keyHeads)
    return missed("queries, keys and values must have the same known number of heads, or keys and values one");
  if (isOne(shapes.getDim(form.q, 0)) != isOne(shapes.getDim(form.k, 0)))
    return missed("queries and keys must have the same batch");
  form.mask = joinMasks(*scores, b);

  SmallVector<Value> presents;
  simplifyKeysAndValues(form, b, presents);
  Value shape;
  if (*outer == 3)
    if (shape = b.sizeVector(*shapes.getDims(root.getY())); !shape)
      return missed("the sizes of the result are not known");
  auto attention = b.attention(form);
  Value result = attention.getY();
  if (shape)
    result = b.make<onnx::ReshapeOp>(result, shape, b.getI64IntegerAttr(1));
  root.getY().replaceAllUsesWith(result);
  replacePresents(attention, presents);
  remarkPassed(root, "raise-attention",
               Twine("Attention, ") + Twine(*constantDim(heads)) + " query and " +
                   Twine(shapes.getStaticDim(form.k, 1).value_or(0)) + " key heads" +
                   (form.pastKey ? ", with a cache" : ""));
}

/// An Attention of the standard in the canonical form: rank 4, keys and values not repeated.
static void normalizeAttention(onnx::AttentionOp op, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto missed = [&](const Twine &reason) { remarkMissed(op, "raise-attention", reason); };
  if (op.getQkMatmulOutput())
    return missed("the product of queries and keys as a result is not supported");
  AttentionForm form{.q = op.getQ(),
                     .k = op.getK(),
                     .v = op.getV(),
                     .mask = op.getAttnMask(),
                     .pastKey = op.getPastKey(),
                     .pastValue = op.getPastValue(),
                     .causal = op.getIsCausal() != 0,
                     .scale = op.getScale() ? op.getScale()->convertToFloat() : 0.0f,
                     .softcap = op.getSoftcap().convertToFloat(),
                     .left = op.getLeftWindowSize(),
                     .right = op.getRightWindowSize(),
                     .lengths = op.getNonpadKvSeqlen()};
  bool flat = shapes.getRank(form.q) == 3;
  int64_t width = 0;
  if (flat) {
    auto heads = op.getQNumHeads(), groups = op.getKvNumHeads();
    auto q = shapes.getStaticDim(form.q, 2), k = shapes.getStaticDim(form.k, 2), v = shapes.getStaticDim(form.v, 2);
    if (!heads || !groups || !q || !k || !v || *heads <= 0 || *groups <= 0)
      return missed("operands of rank 3 need head counts and known widths");
    width = *heads * (*v / *groups);
    form.q = b.splitHeads(form.q, *heads, *q / *heads);
    form.k = b.splitHeads(form.k, *groups, *k / *groups);
    form.v = b.splitHeads(form.v, *groups, *v / *groups);
  }
  AttentionForm before = form;
  SmallVector<Value> presents;
  bool hadPresent = static_cast<bool>(op.getPresentKey());
  if (!hadPresent || form.pastKey) // a present without a past is what is there already
    simplifyKeysAndValues(form, b, presents);
  if (form.mask) {
    AttentionScores masks;
    masks.biases = {form.mask};
    form.mask = joinMasks(masks, b);
  }
  bool changed = flat || form.k != before.k || form.v != before.v || form.mask != before.mask;
  if (!changed && (!hadPresent || form.pastKey))
    return;
  bool placed = form.causal || form.left >= 0 || form.right >= 0 || form.lengths;
  if (placed && !before.pastKey && form.pastKey)
    return missed(
        "a causal mask, window or length that ignores the keys before the new ones cannot be expressed with a "
        "cache");
  auto attention = b.attention(form);
  op.getY().replaceAllUsesWith(flat ? b.joinHeads(attention.getY(), width) : attention.getY());
  if (hadPresent) {
    op.getPresentKey().replaceAllUsesWith(form.pastKey ? attention.getPresentKey() : before.k);
    if (op.getPresentValue())
      op.getPresentValue().replaceAllUsesWith(form.pastKey ? attention.getPresentValue() : before.v);
  }
  replacePresents(attention, presents);
  remarkPassed(op, "raise-attention", flat ? "operands of rank 3 split into heads" : "Attention in canonical form");
}

namespace {
class RaiseAttention : public caat::impl::ONNXRaiseAttentionPassBase<RaiseAttention> {
  void runOnOperation() override {
    llvm::SmallPtrSet<Operation *, 32> explained;
    rewriteInOrder(getOperation(), [&](Operation *op, OnnxBuilder &b) {
      if (auto matmul = dyn_cast<onnx::MatMulOp>(op))
        raiseDecomposed(matmul, b, explained);
      else if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        normalizeAttention(attention, b);
    });
    getOperation().walk([&](onnx::SoftmaxOp softmax) {
      if (!explained.contains(softmax))
        remarkMissed(softmax, "raise-attention", "the softmax's result is no left operand of a product with values");
    });
  }
};
} // namespace
