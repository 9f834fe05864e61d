// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-masks: see Passes.td.
#include "MaskEvaluator.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEMASKSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Numbers added to scores that hide a key; real biases are larger.
static constexpr double hidden = -1e4;

namespace {
/// Which of the atoms a mask is the conjunction of; -1: none.
struct Conjunction {
  int causal = -1, padding = -1;
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
    else if (entry <= hidden)
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

static bool equals(const MaskElement &element, ArrayRef<bool> visible, Conjunction terms) {
  for (unsigned assignment = 0; assignment < visible.size(); ++assignment) {
    if (!isPossible(element, assignment))
      continue;
    auto holds = [&](int term) { return term < 0 || ((assignment >> term) & 1); };
    if (visible[assignment] != (holds(terms.causal) && holds(terms.padding)))
      return false;
  }
  return true;
}

/// The conjunction that the mask is, of `key <= query + past` and one value loaded at [batch, key].
static std::optional<Conjunction> asConjunction(const MaskElement &element, ArrayRef<bool> visible, AffineExpr past,
                                                bool oneQuery, SymbolicShapes &shapes) {
  MLIRContext *context = shapes.getContext();
  AffineExpr zero = shapes.constant(0), batch = getAffineDimExpr(0, context), key = getAffineDimExpr(3, context),
             query = oneQuery ? zero : getAffineDimExpr(2, context);
  SmallVector<int> causal{-1}, padding{-1};
  for (auto [i, atom] : llvm::enumerate(element.atoms)) {
    if (atom.bound && shapes.resolve(atom.bound) == subDims(key, addDims(query, past)))
      causal.push_back(i);
    if (!atom.loaded || atom.place.size() != 2 || atom.place[1] != key)
      continue;
    if (atom.place[0] == batch || (atom.place[0] == zero && constantDim(shapes.getDim(atom.loaded, 0)) == 1))
      padding.push_back(i);
  }
  for (int c : causal)
    for (int p : padding)
      if (equals(element, visible, {c, p}))
        return Conjunction{c, p};
  return std::nullopt;
}

static void raiseMask(onnx::AttentionOp attention, OnnxBuilder &b) {
  SymbolicShapes &shapes = b.getShapes();
  Value mask = attention.getAttnMask();
  auto missed = [&](const Twine &reason) { remarkMissed(attention, "raise-masks", reason); };
  if (!mask)
    return;
  if (shapes.getRank(mask) != 4 || shapes.getRank(attention.getQ()) != 4)
    return missed("mask and queries must have rank 4");
  AffineExpr past = attention.getPastKey() ? shapes.getDim(attention.getPastKey(), 2) : shapes.constant(0);
  if (!past)
    return missed("the length of the cache is not known");
  auto element = MaskEvaluator(shapes).evaluate(mask);
  if (!element || element->integer)
    return missed("the mask is not computed from places and a padding mask alone");
  auto visible = visibility(*element, getElementTypeOrSelf(mask).isInteger(1));
  if (!visible)
    return missed("the mask holds numbers other than 0 and very small ones");
  auto terms = asConjunction(*element, *visible, past, shapes.getStaticDim(attention.getQ(), 2) == 1, shapes);
  if (!terms)
    return missed("the mask is not key <= query + past, a padding mask, or both");

  Value padding;
  if (terms->padding >= 0) {
    Value loaded = element->atoms[terms->padding].loaded;
    if (!getElementTypeOrSelf(loaded).isInteger(1))
      loaded = b.makeOf<onnx::CastOp>(b.getI1Type(), loaded, TypeAttr::get(b.getI1Type()));
    padding = b.unsqueeze(loaded, {1, 2});
  }
  if (terms->causal >= 0)
    attention.setIsCausal(1);
  if (padding)
    attention.getAttnMaskMutable().assign(padding);
  else
    attention.getAttnMaskMutable().clear();
  remarkPassed(attention, "raise-masks",
               Twine(terms->causal >= 0 ? "causal" : "not causal") +
                   (padding ? ", with padding" : ", without padding"));
}

namespace {
class RaiseMasks : public caat::impl::ONNXRaiseMasksPassBase<RaiseMasks> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (auto attention = dyn_cast<onnx::AttentionOp>(op))
        raiseMask(attention, b);
    });
  }
};
} // namespace
