// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "AttentionScores.h"

#include "Match.h"

using namespace mlir;

namespace caat {

static constexpr unsigned kMaxSteps = 32;

bool learnMerged(Operation *op, MergedHeads &merged, const SymbolicShapes &shapes) {
  auto reshape = dyn_cast_if_present<onnx::ReshapeOp>(op);
  auto from = reshape ? shapes.getDims(reshape.getData()) : std::nullopt;
  auto to = reshape ? shapes.getDims(reshape.getReshaped()) : std::nullopt;
  if (!from || !to || from->size() + to->size() != 7)
    return false;
  const SymbolicShapes::Dims &four = from->size() == 4 ? *from : *to, &three = from->size() == 4 ? *to : *from;
  if (four.size() != 4 || mulDims(four[0], four[1]) != three[0] || four[2] != three[1] || four[3] != three[2])
    return false;
  merged = {four[0], four[1]};
  return true;
}

Value unmergeHeads(Value value, const MergedHeads &merged, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto dims = shapes.getDims(value);
  if (!dims || dims->size() != 3)
    return dims && dims->size() == 4 ? value : Value();
  MergedHeads own;
  if (auto reshape = definedBy<onnx::ReshapeOp>(value); reshape && learnMerged(reshape, own, shapes))
    if (shapes.getRank(reshape.getData()) == 4 && (!merged.batch || own.batch == merged.batch))
      return reshape.getData();
  if (!merged.batch || mulDims(merged.batch, merged.heads) != (*dims)[0])
    return {};
  Value shape = b.sizeVector({merged.batch, merged.heads, (*dims)[1], (*dims)[2]});
  return shape ? b.make<onnx::ReshapeOp>(value, shape, b.getI64IntegerAttr(1)) : Value();
}

/// Whether `value` is a product of two computed tensors, through what may stand between it and the softmax.
static bool leadsToProduct(Value value) {
  SmallVector<Value> worklist{value};
  llvm::SmallPtrSet<Value, 16> seen;
  for (unsigned steps = 0; !worklist.empty() && steps < 2 * kMaxSteps; ++steps) {
    Value next = worklist.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!op || !seen.insert(next).second)
      continue;
    if (auto matmul = dyn_cast<onnx::MatMulOp>(op)) {
      if (!definedBy<onnx::GetInitializerOp>(matmul.getB()) && !definedBy<onnx::ConstantOp>(matmul.getB()))
        return true;
    } else if (auto hidden = matchHidden(next)) {
      worklist.push_back(hidden->otherwise);
    } else if (isa<onnx::DivOp, onnx::TanhOp, onnx::ReshapeOp, onnx::CastOp>(op)) {
      worklist.push_back(op->getOperand(0));
    } else if (isa<onnx::MulOp, onnx::AddOp, onnx::SubOp, onnx::MaxOp>(op)) {
      llvm::append_range(worklist, op->getOperands().take_front(2));
    }
  }
  return false;
}

static bool hasPerm(Value value, ArrayRef<int64_t> perm) {
  auto transpose = definedBy<onnx::TransposeOp>(value);
  return transpose && transpose.getPerm() && *transpose.getPerm() == perm;
}

/// k [B, H, T, D] of `value` [B, H, D, T]; scalar factors met on the way go to `scale`. What is no transposition of
/// keys is transposed. Null where merged heads cannot be told apart.
static Value untransposedKeys(Value value, double &scale, const MergedHeads &merged, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  auto [inner, factor] = takeScale(value);
  scale *= factor;
  if (hasPerm(inner, {0, 1, 3, 2})) {
    auto [keys, before] = takeScale(definedBy<onnx::TransposeOp>(inner).getData());
    scale *= before;
    return keys;
  }
  if (hasPerm(inner, {0, 2, 1})) {
    auto [keys, before] = takeScale(definedBy<onnx::TransposeOp>(inner).getData());
    scale *= before;
    return unmergeHeads(keys, merged, b);
  }
  // [B, S, H, D] → [B, H, D, S] at once.
  if (hasPerm(inner, {0, 2, 3, 1}))
    return b.transpose(definedBy<onnx::TransposeOp>(inner).getData(), {0, 2, 1, 3});
  // torch's exporter merges batch and heads around the transposition.
  auto outer = definedBy<onnx::ReshapeOp>(inner);
  if (outer && hasPerm(outer.getData(), {0, 2, 1})) {
    Value transpose = outer.getData();
    auto merge = definedBy<onnx::ReshapeOp>(definedBy<onnx::TransposeOp>(transpose).getData());
    auto from = merge ? shapes.getDims(merge.getData()) : std::nullopt, to = shapes.getDims(inner),
         middle = shapes.getDims(transpose);
    if (from && to && middle && from->size() == 4 && to->size() == 4 && (*from)[0] == (*to)[0] &&
        (*from)[1] == (*to)[1] && (*from)[2] == (*to)[3] && (*from)[3] == (*to)[2] && (*middle)[1] == (*to)[2] &&
        (*middle)[2] == (*to)[3])
      return merge.getData();
  }
  Value whole = unmergeHeads(inner, merged, b);
  return whole ? b.transpose(whole, {0, 1, 3, 2}) : Value();
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

namespace {

/// Goes from the softmax's operand to the product of queries and keys.
class ScoreMatcher {
public:
  ScoreMatcher(MergedHeads &merged, OnnxBuilder &b, std::string &reason)
      : merged(merged), b(b), shapes(b.getShapes()), reason(reason) {}

  std::optional<AttentionScores> match(Value value) {
    for (unsigned steps = 0; steps < kMaxSteps; ++steps) {
      if (auto matmul = definedBy<onnx::MatMulOp>(value))
        return takeProduct(matmul) ? std::optional(scores) : std::nullopt;
      Value next = step(value);
      if (!next) {
        if (reason.empty())
          reason = "the scores are no product of queries and keys";
        return std::nullopt;
      }
      value = next;
    }
    reason = "too many steps between the softmax and the product of queries and keys";
    return std::nullopt;
  }

private:
  Value step(Value value);
  bool takeProduct(onnx::MatMulOp matmul);
  void addBias(Value term, bool negative);

  MergedHeads &merged;
  OnnxBuilder &b;
  const SymbolicShapes &shapes;
  std::string &reason;
  AttentionScores scores;
  double factor = 1;        // of everything further in
  SmallVector<Value> terms; // biases, perhaps with merged heads
};

} // namespace

void ScoreMatcher::addBias(Value term, bool negative) {
  double scale = negative ? -factor : factor;
  if (scale != 1)
    term = b.make<onnx::MulOp>(term, b.scalar(scale, getElementTypeOrSelf(term)));
  terms.push_back(term);
}

/// One op further in; null where it is none that may stand there.
Value ScoreMatcher::step(Value value) {
  if (auto [inner, scale] = takeScale(value); inner != value) {
    factor *= scale;
    return inner;
  }
  if (auto hidden = matchHidden(value)) {
    scores.visible.push_back(hidden->negated ? b.make<onnx::NotOp>(hidden->condition) : hidden->condition);
    return hidden->otherwise;
  }
  if (auto max = definedBy<onnx::MaxOp>(value); max && max->getNumOperands() == 2)
    for (unsigned i : {0, 1})
      if (auto bound = onnx::constantFloat(max->getOperand(1 - i)); bound && *bound <= kHidden)
        return max->getOperand(i); // scores are larger, hidden ones stay hidden
  if (auto cast = definedBy<onnx::CastOp>(value); cast && isa<FloatType>(getElementTypeOrSelf(cast.getInput())))
    return cast.getInput(); // attention is computed in at least float32
  if (auto reshape = definedBy<onnx::ReshapeOp>(value)) {
    if (learnMerged(reshape, merged, shapes))
      return reshape.getData();
    reason = "the scores are reshaped otherwise than by merging batch and heads";
    return {};
  }
  if (auto tanh = definedBy<onnx::TanhOp>(value)) {
    if (scores.softcap != 0 || factor <= 0)
      return {};
    scores.softcap = factor;
    auto [inner, scale] = takeScale(tanh.getInput());
    factor *= scale;
    return inner;
  }
  bool isSub = static_cast<bool>(definedBy<onnx::SubOp>(value));
  if (!isSub && !definedBy<onnx::AddOp>(value)) {
    if (definedBy<onnx::WhereOp>(value))
      reason = "the scores are chosen from by a Where that is no mask";
    return {};
  }
  Operation *op = value.getDefiningOp();
  bool left = leadsToProduct(op->getOperand(0));
  if (!left && (isSub || !leadsToProduct(op->getOperand(1)))) {
    reason = "no product of queries and keys under the mask";
    return {};
  }
  if (scores.softcap != 0) {
    reason = "something is added to the scores before they are capped";
    return {};
  }
  addBias(op->getOperand(left ? 1 : 0), isSub);
  return op->getOperand(left ? 0 : 1);
}

bool ScoreMatcher::takeProduct(onnx::MatMulOp matmul) {
  double scale = factor;
  auto fail = [&](const char *why) {
    reason = why;
    return false;
  };
  auto [queries, onQueries] = takeScale(matmul.getA());
  scale *= onQueries;
  auto rank = shapes.getRank(matmul.getY());
  if (rank != 3 && rank != 4)
    return fail("queries, keys and values must have rank 4, or 3 with batch and heads merged");
  if (!merged.batch && rank == 3) {
    for (Value side : {queries, takeScale(matmul.getB()).first})
      if (learnMerged(side.getDefiningOp(), merged, shapes))
        break;
  }
  scores.q = unmergeHeads(queries, merged, b);
  if (scores.q)
    scores.q = unscaledQueries(scores.q, scale, b);
  scores.k = untransposedKeys(matmul.getB(), scale, merged, b);
  if (!scores.q || !scores.k)
    return fail("queries or keys have rank 3 and it is not known how batch and heads are merged in it");
  if (scale <= 0)
    return fail("the scale is not positive");
  scores.scale = scale;
  for (Value term : terms) {
    auto dims = shapes.getDims(term);
    if (dims && dims->size() == 3 && merged.batch)
      term = constantDim((*dims)[0]) == 1 ? b.unsqueeze(term, {0}) : unmergeHeads(term, merged, b);
    if (!term || !dims || dims->size() > 4)
      return fail("a mask or bias of the scores does not have the shape of the scores");
    scores.biases.push_back(term);
  }
  for (Value &condition : scores.visible) {
    auto dims = shapes.getDims(condition);
    if (dims && dims->size() == 3 && merged.batch)
      condition = constantDim((*dims)[0]) == 1 ? b.unsqueeze(condition, {0}) : unmergeHeads(condition, merged, b);
    if (!condition || !dims || dims->size() > 4)
      return fail("a mask of the scores does not have the shape of the scores");
  }
  return true;
}

std::optional<AttentionScores> matchScores(Value value, MergedHeads &merged, OnnxBuilder &b, std::string &reason) {
  return ScoreMatcher(merged, b, reason).match(value);
}

/// The condition of a bias that is 0 where it holds and hides a key elsewhere; null for others.
static Value asCondition(Value bias, OnnxBuilder &b) {
  auto hidden = matchHidden(bias);
  if (!hidden || !isConstantNear(hidden->otherwise, 0))
    return {};
  return hidden->negated ? b.make<onnx::NotOp>(hidden->condition) : hidden->condition;
}

Value joinMasks(const AttentionScores &scores, OnnxBuilder &b) {
  Value visible, bias;
  auto hide = [&](Value condition) { visible = visible ? b.make<onnx::AndOp>(visible, condition) : condition; };
  for (Value condition : scores.visible)
    hide(condition);
  for (Value term : scores.biases)
    if (Value condition = asCondition(term, b))
      hide(condition);
    else
      bias = bias ? b.make<onnx::AddOp>(bias, term) : term;
  if (!visible || !bias)
    return visible ? visible : bias;
  Type type = getElementTypeOrSelf(bias);
  return b.makeOf<onnx::WhereOp>(type, visible, bias, b.scalar(-std::numeric_limits<double>::infinity(), type));
}

} // namespace caat
