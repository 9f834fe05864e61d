// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-attention: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEATTENTIONPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// The most negative number an exporter writes for "not visible"; smaller penalties (ALiBi) are real biases.
static constexpr double masked = -1e4;

static bool hasPerm(Value value, ArrayRef<int64_t> perm) {
  auto transpose = definedBy<onnx::TransposeOp>(value);
  return transpose && transpose.getPerm() && *transpose.getPerm() == perm;
}

/// k of `value` = k with its last two dimensions exchanged; scalar factors met on the way go to `scale`.
static Value untransposedKeys(Value value, double &scale, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto [inner, factor] = takeScale(value);
  scale *= factor;
  if (hasPerm(inner, {0, 1, 3, 2})) {
    auto [keys, before] = takeScale(definedBy<onnx::TransposeOp>(inner).getData());
    scale *= before;
    return keys;
  }
  // [B, S, H, D] → [B, H, D, S] at once.
  if (hasPerm(inner, {0, 2, 3, 1}))
    return b.transpose(definedBy<onnx::TransposeOp>(inner).getData(), {0, 2, 1, 3});
  // torch's exporter merges batch and heads around the transposition.
  auto outer = definedBy<onnx::ReshapeOp>(inner);
  auto transpose = outer ? outer.getData() : Value();
  if (!outer || !hasPerm(transpose, {0, 2, 1}))
    return {};
  auto merge = definedBy<onnx::ReshapeOp>(definedBy<onnx::TransposeOp>(transpose).getData());
  if (!merge)
    return {};
  Value keys = merge.getData();
  auto from = shapes.getDims(keys), to = shapes.getDims(inner), middle = shapes.getDims(transpose);
  if (!from || !to || !middle || from->size() != 4 || to->size() != 4)
    return {};
  bool same = (*from)[0] == (*to)[0] && (*from)[1] == (*to)[1] && (*from)[2] == (*to)[3] && (*from)[3] == (*to)[2] &&
              (*middle)[1] == (*to)[2] && (*middle)[2] == (*to)[3];
  return same ? keys : Value();
}

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

/// Queries without a scalar factor that stands before the split into heads (OPT).
static Value unscaledQueries(Value queries, double &scale, OnnxBuilder &b) {
  auto transpose = definedBy<onnx::TransposeOp>(queries);
  auto reshape = transpose ? definedBy<onnx::ReshapeOp>(transpose.getData()) : onnx::ReshapeOp();
  if (!reshape)
    return queries;
  auto [inner, factor] = takeScale(reshape.getData());
  if (inner == reshape.getData() || !b.getShapes().sameShape(inner, reshape.getData()))
    return queries;
  scale *= factor;
  Value heads = b.make<onnx::ReshapeOp>(inner, reshape.getShape(), reshape.getAllowzeroAttr());
  return b.make<onnx::TransposeOp>(heads, transpose.getPermAttr());
}

/// The condition of Where(condition, 0, very small), or its negation with the branches exchanged; the mask itself else.
static Value booleanMask(Value mask, OnnxBuilder &b) {
  auto where = definedBy<onnx::WhereOp>(mask);
  if (!where)
    return mask;
  auto yes = onnx::constantFloat(where.getX()), no = onnx::constantFloat(where.getY());
  if (!yes || !no)
    return mask;
  if (*yes == 0 && *no <= masked)
    return where.getCondition();
  if (*no == 0 && *yes <= masked)
    return b.make<onnx::NotOp>(where.getCondition());
  return mask;
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

/// MatMul(Softmax(scores), v).
static void raiseDecomposed(onnx::MatMulOp root, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto missed = [&](const Twine &reason) { remarkMissed(root, "raise-attention", reason); };
  Value weights = root.getA();
  if (auto guard = definedBy<onnx::WhereOp>(weights)) { // NaN → 0
    auto isNaN = definedBy<onnx::IsNaNOp>(guard.getCondition());
    if (!isNaN || isNaN.getX() != guard.getY() || !isConstantNear(guard.getX(), 0))
      return;
    weights = guard.getY();
  }
  auto softmax = definedBy<onnx::SoftmaxOp>(weights);
  if (!softmax)
    return;
  if (shapes.getRank(weights) != 4 || onnx::normalizeAxis(softmax.getAxis(), 4) != 3)
    return missed("the softmax is not over the last of four dimensions");

  AttentionForm form;
  double scale = 1;
  Value scores = softmax.getInput();
  if (auto add = definedBy<onnx::AddOp>(scores)) {
    auto isProduct = [](Value value) {
      Value inner = takeScale(value).first;
      return definedBy<onnx::MatMulOp>(inner) || definedBy<onnx::TanhOp>(inner);
    };
    bool left = isProduct(add.getA());
    if (!left && !isProduct(add.getB()))
      return missed("no product of queries and keys under the mask");
    scores = left ? add.getA() : add.getB();
    form.mask = booleanMask(left ? add.getB() : add.getA(), b);
  } else if (auto where = definedBy<onnx::WhereOp>(scores)) {
    auto hidden = onnx::constantFloat(where.getY());
    if (!hidden || *hidden > masked)
      return missed("the scores are chosen from by a Where that is no mask");
    form.mask = where.getCondition();
    scores = where.getX();
  }
  if (auto [inner, cap] = takeScale(scores); definedBy<onnx::TanhOp>(inner)) {
    auto [argument, factor] = takeScale(definedBy<onnx::TanhOp>(inner).getInput());
    scores = argument;
    scale = factor * cap;
    form.softcap = static_cast<float>(cap);
  }
  auto [product, after] = takeScale(scores);
  scale *= after;
  auto matmul = definedBy<onnx::MatMulOp>(product);
  if (!matmul)
    return missed("the scores are no product of queries and keys");
  auto [queries, onQueries] = takeScale(matmul.getA());
  scale *= onQueries;
  form.q = unscaledQueries(queries, scale, b);
  form.k = untransposedKeys(matmul.getB(), scale, b);
  form.v = root.getB();
  if (!form.k)
    return missed("the second operand of the product of queries and keys is no transposed tensor of keys");
  for (Value operand : {form.q, form.k, form.v})
    if (shapes.getRank(operand) != 4)
      return missed("queries, keys and values must have rank 4");
  AffineExpr heads = shapes.getDim(form.q, 1);
  if (!constantDim(heads) || shapes.getDim(form.k, 1) != heads || shapes.getDim(form.v, 1) != heads)
    return missed("queries, keys and values must have the same known number of heads");
  if (form.mask && shapes.getRank(form.mask).value_or(5) > 4)
    return missed("the mask has more than four dimensions");
  if (scale <= 0)
    return missed("the scale is not positive");
  form.scale = static_cast<float>(scale);

  SmallVector<Value> presents;
  simplifyKeysAndValues(form, b, presents);
  auto attention = b.attention(form);
  root.getY().replaceAllUsesWith(attention.getY());
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
  if (op.getNonpadKvSeqlen() || op.getQkMatmulOutput() || op.getLeftWindowSize() != -1 || op.getRightWindowSize() != -1)
    return missed("lengths per row, windows and the product as a result are not supported");
  AttentionForm form{.q = op.getQ(),
                     .k = op.getK(),
                     .v = op.getV(),
                     .mask = op.getAttnMask(),
                     .pastKey = op.getPastKey(),
                     .pastValue = op.getPastValue(),
                     .causal = op.getIsCausal() != 0,
                     .scale = op.getScale() ? op.getScale()->convertToFloat() : 0.0f,
                     .softcap = op.getSoftcap().convertToFloat()};
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
  if (form.mask)
    form.mask = booleanMask(form.mask, b);
  bool changed = flat || form.k != before.k || form.v != before.v || form.mask != before.mask;
  if (!changed && (!hadPresent || form.pastKey))
    return;
  if (form.causal && !before.pastKey && form.pastKey)
    return missed("a causal mask that ignores the keys before the new ones cannot be expressed with a cache");
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
    rewriteInOrder(getOperation(), [&](Operation *op, OnnxBuilder &b) {
      if (auto matmul = dyn_cast<onnx::MatMulOp>(op))
        raiseDecomposed(matmul, b);
      else if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        normalizeAttention(attention, b);
    });
  }
};
} // namespace
