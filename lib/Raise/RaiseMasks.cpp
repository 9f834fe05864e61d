// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-masks: see Passes.td.
#include "MaskEvaluator.h"
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEMASKSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// A mask as the conjunction of at most three of its atoms; -1: none.
struct Conjunction {
  int upper = -1;   // key <= query + past + right
  int lower = -1;   // the negation of: key < query + past - left
  int padding = -1; // a value loaded at [batch, key]
  int64_t right = -1, left = -1;
};

/// What is known of a mask in the end. Values are of shapes that broadcast to [B, H, S, T].
struct Visibility {
  int64_t right = -1, left = -1; // how far a query sees; -1: no bound
  Value visible;                 // what remains of the mask as booleans; null: nothing
  Value bias;                    // numbers to add; null: nothing
  bool recognised = false;       // whether a part was turned into bounds or padding
  bool padded = false;
};

class MaskRaiser {
public:
  MaskRaiser(onnx::AttentionOp attention, OnnxBuilder &b) : attention(attention), b(b), shapes(b.getShapes()) {}
  void run();

private:
  bool takePart(Value part);
  void takeParts(Value mask);
  void hide(Value condition);
  bool checkEqual(ArrayRef<std::pair<AffineExpr, AffineExpr>> assumptions);
  std::optional<Conjunction> asConjunction(const MaskElement &element, ArrayRef<bool> visible);
  static int64_t tighter(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); }

  onnx::AttentionOp attention;
  OnnxBuilder &b;
  SymbolicShapes &shapes;
  static constexpr unsigned kMaxParts = 32;

  AffineExpr past;
  Visibility found;
  unsigned parts = 0;
  std::string reason;
};

} // namespace

/// For each combination of the atoms' truth values whether the key is visible; nullopt if some entry is a bias.
static std::optional<SmallVector<bool>> visibility(const MaskElement &element, bool isBool) {
  SmallVector<bool> visible;
  for (double entry : element.table) {
    if (isBool)
      visible.push_back(entry != 0);
    else if (entry == 0)
      visible.push_back(true);
    else if (entry <= kHidden)
      visible.push_back(false);
    else
      return std::nullopt;
  }
  return visible;
}

/// Whether the atoms can have these truth values: one bound may imply another.
static bool isPossible(const MaskElement &element, unsigned assignment) {
  auto isTrue = [&](unsigned i) { return (assignment >> i) & 1; };
  for (auto [i, a] : llvm::enumerate(element.atoms))
    for (auto [j, b] : llvm::enumerate(element.atoms))
      if (a.bound && b.bound && isTrue(i) && !isTrue(j) && provablyGreaterEqual(a.bound, b.bound))
        return false;
  return true;
}

static bool equals(const MaskElement &element, ArrayRef<bool> visible, const Conjunction &terms) {
  for (unsigned assignment = 0; assignment < visible.size(); ++assignment) {
    if (!isPossible(element, assignment))
      continue;
    auto holds = [&](int term, bool wanted) { return term < 0 || (((assignment >> term) & 1) != 0) == wanted; };
    if (visible[assignment] != (holds(terms.upper, true) && holds(terms.lower, false) && holds(terms.padding, true)))
      return false;
  }
  return true;
}

std::optional<Conjunction> MaskRaiser::asConjunction(const MaskElement &element, ArrayRef<bool> visible) {
  MLIRContext *context = shapes.getContext();
  bool oneQuery = shapes.getStaticDim(attention.getQ(), 2) == 1;
  AffineExpr zero = shapes.constant(0), batch = getAffineDimExpr(0, context), key = getAffineDimExpr(3, context),
             query = oneQuery ? zero : getAffineDimExpr(2, context), position = addDims(query, past);
  SmallVector<std::pair<int, int64_t>> uppers{{-1, -1}}, lowers{{-1, -1}};
  SmallVector<int> paddings{-1};
  for (auto [i, atom] : llvm::enumerate(element.atoms)) {
    if (atom.bound) { // key - position + offset <= 0
      auto offset = constantDim(subDims(shapes.resolve(atom.bound), subDims(key, position)));
      if (offset && *offset <= 0)
        uppers.push_back({i, -*offset});
      if (offset && *offset >= 1)
        lowers.push_back({i, *offset - 1});
    }
    if (!atom.loaded || atom.place.size() != 2 || atom.place[1] != key)
      continue;
    if (atom.place[0] == batch || (atom.place[0] == zero && constantDim(shapes.getDim(atom.loaded, 0)) == 1))
      paddings.push_back(i);
  }
  for (auto [upper, right] : uppers)
    for (auto [lower, left] : lowers)
      for (int padding : paddings)
        if (Conjunction terms{upper, lower, padding, right, left}; equals(element, visible, terms))
          return terms;
  return std::nullopt;
}

/// `condition` holds where a key is visible, besides what is known already.
void MaskRaiser::hide(Value condition) {
  found.visible = found.visible ? b.make<onnx::AndOp>(found.visible, condition) : condition;
}

/// Leaves a check of each pair of sizes: a mask of one key for all keys would have no bounds.
bool MaskRaiser::checkEqual(ArrayRef<std::pair<AffineExpr, AffineExpr>> assumptions) {
  auto known = [&](auto &pair) {
    return shapes.canMaterialize(b, pair.first) && shapes.canMaterialize(b, pair.second);
  };
  if (!llvm::all_of(assumptions, known)) {
    reason = "the mask may be broadcast";
    return false;
  }
  Location loc = b.getLocation();
  for (auto [size, whole] : assumptions) {
    Value x = shapes.materialize(b, loc, size), y = shapes.materialize(b, loc, whole);
    Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
    Value condition = tensor::FromElementsOp::create(b, loc, RankedTensorType::get({}, b.getI1Type()), equal);
    onnx::CheckOp::create(b, loc, condition,
                          b.getStringAttr("the mask's length " + shapes.describe(size) + " must be that of the keys, " +
                                          shapes.describe(whole)));
  }
  return true;
}

/// Takes a part of the mask that is a conjunction of bounds and padding; false if it is none.
bool MaskRaiser::takePart(Value part) {
  Value whole = part;
  if (int64_t rank = *shapes.getRank(part); rank < 4)
    whole = b.unsqueeze(part, llvm::to_vector(llvm::seq<int64_t>(0, 4 - rank)));
  MaskEvaluator evaluator(shapes);
  auto element = evaluator.evaluate(whole);
  if (!element || element->integer) {
    reason = "the mask is not computed from places and a padding mask alone";
    return false;
  }
  auto visible = visibility(*element, getElementTypeOrSelf(part).isInteger(1));
  if (!visible) {
    reason = "the mask holds numbers other than 0 and very small ones";
    return false;
  }
  auto terms = asConjunction(*element, *visible);
  if (!terms) {
    reason = "the mask is not query + past - left <= key <= query + past + right, a padding mask, or both";
    return false;
  }
  if (!checkEqual(evaluator.getAssumptions()))
    return false;
  found.right = tighter(found.right, terms->right);
  found.left = tighter(found.left, terms->left);
  if (terms->padding >= 0) {
    Value loaded = element->atoms[terms->padding].loaded;
    if (!getElementTypeOrSelf(loaded).isInteger(1))
      loaded = b.makeOf<onnx::CastOp>(b.getI1Type(), loaded, TypeAttr::get(b.getI1Type()));
    hide(b.unsqueeze(loaded, {1, 2}));
    found.padded = true;
  }
  found.recognised = true;
  return true;
}

/// Sums of masks and biases, and biases that are replaced by a very small number where something is hidden.
void MaskRaiser::takeParts(Value mask) {
  if (++parts <= kMaxParts) {
    if (takePart(mask))
      return;
    if (Operation *op = mask.getDefiningOp(); op && isa<onnx::AndOp, onnx::AddOp>(op)) {
      takeParts(op->getOperand(0));
      return takeParts(op->getOperand(1));
    }
    if (auto hidden = matchHidden(mask)) {
      takeParts(hidden->negated ? b.make<onnx::NotOp>(hidden->condition) : hidden->condition);
      return takeParts(hidden->otherwise);
    }
  }
  if (getElementTypeOrSelf(mask).isInteger(1))
    hide(mask);
  else
    found.bias = found.bias ? b.make<onnx::AddOp>(found.bias, mask) : mask;
}

void MaskRaiser::run() {
  Value mask = attention.getAttnMask();
  auto missed = [&](const Twine &why) { remarkMissed(attention, "raise-masks", why); };
  if (!mask)
    return;
  auto rank = shapes.getRank(mask);
  if (!rank || *rank > 4 || shapes.getRank(attention.getQ()) != 4)
    return missed("the queries must have rank 4, the mask at most that");
  past = attention.getPastKey() ? shapes.getDim(attention.getPastKey(), 2) : shapes.constant(0);
  if (!past)
    return missed("the length of the cache is not known");
  takeParts(mask);
  if (!found.recognised)
    return missed(reason);

  Value rest = found.visible;
  if (found.bias && rest) {
    Type type = getElementTypeOrSelf(found.bias);
    Value smallest = b.scalar(-std::numeric_limits<double>::infinity(), type);
    rest = b.makeOf<onnx::WhereOp>(type, rest, found.bias, smallest);
  } else if (found.bias) {
    rest = found.bias;
  }
  if (found.right == 0)
    attention.setIsCausal(1);
  else if (found.right > 0)
    attention.setRightWindowSize(tighter(attention.getRightWindowSize(), found.right));
  if (found.left >= 0)
    attention.setLeftWindowSize(tighter(attention.getLeftWindowSize(), found.left));
  if (rest)
    attention.getAttnMaskMutable().assign(rest);
  else
    attention.getAttnMaskMutable().clear();
  std::string text = attention.getIsCausal() ? "causal" : "not causal";
  if (found.left >= 0)
    text += ", " + std::to_string(found.left) + " keys back";
  if (found.right > 0)
    text += ", " + std::to_string(found.right) + " keys ahead";
  text += found.padded ? ", with padding" : ", without padding";
  remarkPassed(attention, "raise-masks", text + (found.bias ? ", with a bias" : ""));
}

namespace {
class RaiseMasks : public caat::impl::ONNXRaiseMasksPassBase<RaiseMasks> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), llvm::IsaPred<onnx::AttentionOp>, [](Operation *op, OnnxBuilder &b) {
      if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        MaskRaiser(attention, b).run();
    });
  }
};
} // namespace
