// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-raise-rotary: see Passes.td.
#include "ChannelEvaluator.h"
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXRAISEROTARYPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

static constexpr int64_t kMaxChannels = 1024;

namespace {

/// y = x but for its first `size` channels, which are rotated in pairs by cos and sin of the first pair.
struct Rotation {
  Value x;
  int64_t size = 0;
  bool interleaved = false;
  ChannelFactor cos, sin;
  double cosScale = 1, sinScale = 1;
};

/// Tensors of shape [B, H, S, D] (heads at axis 1) or [B, S, H, D] (at 2).
struct Layout {
  unsigned heads, tokens;
};

class RotaryRaiser {
public:
  RotaryRaiser(Value root, OnnxBuilder &b) : root(root), b(b), shapes(b.getShapes()) {}
  bool run();

private:
  SmallVector<Value> candidates();
  std::optional<Rotation> match(Value x);
  std::optional<Layout> layoutOf(const Rotation &rotation);
  Value cacheOf(const ChannelFactor &factor, double scale, int64_t half, const Layout &layout);
  AffineExpr placeOf(unsigned axis) {
    return shapes.getStaticDim(root, axis) == 1 ? shapes.constant(0) : getAffineDimExpr(axis, shapes.getContext());
  }
  bool missed(const Twine &reason) {
    remarkMissed(root.getDefiningOp(), "raise-rotary", reason);
    return false;
  }

  Value root;
  OnnxBuilder &b;
  const SymbolicShapes &shapes;
};

} // namespace

/// What may be rotated: values of the root's shape from which it is made by moving, multiplying and adding; the nearest
/// first.
SmallVector<Value> RotaryRaiser::candidates() {
  SmallVector<std::pair<Value, unsigned>> queue{{root, 0}};
  SmallVector<Value> found;
  llvm::SmallPtrSet<Value, 16> seen;
  for (size_t i = 0; i < queue.size() && found.size() < 8; ++i) {
    auto [value, depth] = queue[i];
    Operation *op = value.getDefiningOp();
    if (value != root && shapes.sameShape(value, root))
      found.push_back(value);
    if (!op || depth == 8 ||
        !isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::NegOp, onnx::ConcatOp, onnx::SliceOp, onnx::SplitOp,
             onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::CastOp>(op))
      continue;
    bool moves = isa<onnx::SliceOp, onnx::SplitOp, onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp>(op);
    for (Value operand : op->getOperands().take_front(moves ? 1 : op->getNumOperands()))
      if (seen.insert(operand).second)
        queue.push_back({operand, depth + 1});
  }
  return found;
}

/// Whether the channels of `root` are those of `x` rotated in pairs.
std::optional<Rotation> RotaryRaiser::match(Value x) {
  int64_t width = *shapes.getStaticDim(root, -1);
  ChannelEvaluator evaluator(shapes, x);
  Rotation rotation;
  rotation.x = x;
  std::vector<std::pair<ChannelTerm, ChannelTerm>> rotated; // the channel itself, and its partner
  for (int64_t channel = 0; channel < width; ++channel) {
    auto terms = evaluator.evaluate(root, channel);
    if (!terms || !llvm::all_of(*terms, [](auto &term) { return term.channel; }))
      return std::nullopt;
    if (terms->size() == 1) { // the rest is passed through
      const ChannelTerm &only = terms->front();
      if (only.factor || only.scale != 1 || only.channel != channel)
        return std::nullopt;
      continue;
    }
    if (terms->size() != 2 || !(*terms)[0].factor || !(*terms)[1].factor ||
        channel != static_cast<int64_t>(rotated.size()))
      return std::nullopt;
    unsigned self = (*terms)[0].channel == channel ? 0 : 1;
    if ((*terms)[self].channel != channel)
      return std::nullopt;
    rotated.push_back({(*terms)[self], (*terms)[1 - self]});
  }
  rotation.size = rotated.size();
  if (rotation.size < 2 || rotation.size % 2 != 0)
    return std::nullopt;
  rotation.interleaved = rotated[0].second.channel == 1 && rotation.size > 2;
  rotation.cos = *rotated[0].first.factor;
  rotation.sin = *rotated[0].second.factor;
  rotation.cosScale = rotated[0].first.scale;
  rotation.sinScale = -rotated[0].second.scale; // the first of a pair: a cos - b sin
  int64_t half = rotation.size / 2;
  for (int64_t i = 0; i < rotation.size; ++i) {
    const auto &[self, partner] = rotated[i];
    bool isFirst = rotation.interleaved ? i % 2 == 0 : i < half;
    int64_t pair = rotation.interleaved ? i / 2 : i % half, distance = rotation.interleaved ? 1 : half;
    if (partner.channel != i + (isFirst ? distance : -distance) || self.scale != rotation.cosScale ||
        partner.scale != (isFirst ? -rotation.sinScale : rotation.sinScale) || !self.factor->isBesides(rotation.cos) ||
        !partner.factor->isBesides(rotation.sin) || self.factor->channel() != rotation.cos.channel() + pair ||
        partner.factor->channel() != rotation.sin.channel() + pair)
      return std::nullopt;
  }
  return rotation;
}

/// The angles depend on the token, never on the head.
std::optional<Layout> RotaryRaiser::layoutOf(const Rotation &rotation) {
  if (shapes.getRank(root) != 4)
    return std::nullopt;
  for (Layout layout : {Layout{1, 2}, Layout{2, 1}}) {
    auto fits = [&](const ChannelFactor &factor) {
      for (auto [axis, at] : llvm::enumerate(factor.place))
        if (axis != factor.axis && at != shapes.constant(0) && at != placeOf(0) && at != placeOf(layout.tokens))
          return false;
      return true;
    };
    if (fits(rotation.cos) && fits(rotation.sin))
      return layout;
  }
  return std::nullopt;
}

/// `factor` as a cache [B, S, half]. Null where it has other dimensions.
Value RotaryRaiser::cacheOf(const ChannelFactor &factor, double scale, int64_t half, const Layout &layout) {
  Value value = factor.leaf;
  int64_t first = factor.channel(), rank = *shapes.getRank(value);
  if (shapes.getStaticDim(value, factor.axis) != half)
    value = b.slice(value, factor.axis, first, first + half);
  auto times = [&](double number) {
    if (number != 1)
      value = b.make<onnx::MulOp>(value, b.scalar(number, getElementTypeOrSelf(value)));
  };
  for (auto [op, inside] : factor.functions) {
    times(inside);
    if (isa<onnx::CosOp>(op))
      value = b.make<onnx::CosOp>(value);
    else if (isa<onnx::SinOp>(op))
      value = b.make<onnx::SinOp>(value);
    else
      value = b.makeOf<onnx::CastOp>(cast<onnx::CastOp>(op).getTo(), value, cast<onnx::CastOp>(op).getToAttr());
  }
  times(scale);
  Type type = getElementTypeOrSelf(root);
  if (getElementTypeOrSelf(value) != type)
    value = b.makeOf<onnx::CastOp>(type, value, TypeAttr::get(type));

  // Everything but batch, token and channel has size 1.
  AffineExpr batch = shapes.getDim(root, 0);
  SmallVector<int64_t> drop, kept, order;
  int64_t batchAxis = -1, tokenAxis = -1;
  for (int64_t axis = 0; axis < rank; ++axis) {
    AffineExpr at = factor.place[axis];
    if (axis == static_cast<int64_t>(factor.axis)) {
      kept.push_back(axis);
      continue;
    }
    bool isToken = tokenAxis < 0 && at == getAffineDimExpr(layout.tokens, shapes.getContext());
    bool isBatch = batchAxis < 0 && at == getAffineDimExpr(0, shapes.getContext());
    if (!isToken && !isBatch) {
      if (shapes.getStaticDim(value, axis) != 1)
        return {};
      drop.push_back(axis);
      continue;
    }
    (isToken ? tokenAxis : batchAxis) = axis;
    kept.push_back(axis);
  }
  if (tokenAxis < 0 && shapes.getStaticDim(root, layout.tokens) != 1)
    return {};
  if (!drop.empty())
    value = b.make<onnx::SqueezeOp>(value, b.ints(drop));
  for (int64_t axis : {batchAxis, tokenAxis, static_cast<int64_t>(factor.axis)})
    if (axis >= 0)
      order.push_back(llvm::find(kept, axis) - kept.begin());
  if (!llvm::is_sorted(order))
    value = b.transpose(value, order);
  if (tokenAxis < 0)
    value = b.unsqueeze(value, {batchAxis < 0 ? 0 : 1});
  if (batchAxis >= 0)
    return value;
  value = b.unsqueeze(value, {0});
  if (constantDim(batch) == 1)
    return value;
  Value shape = b.sizeVector({batch, shapes.constant(1), shapes.constant(1)});
  return shape ? b.make<onnx::ExpandOp>(value, shape) : Value();
}

/// Whether a part of the sum `root` has channels exchanged and negated, as rotations have.
static bool turnsChannels(Value root) {
  if (auto concat = definedBy<onnx::ConcatOp>(root)) { // both halves apart
    auto isDifference = [](Value x) { return static_cast<bool>(definedBy<onnx::SubOp>(x)); };
    return llvm::any_of(concat.getInputs(), isDifference);
  }
  auto add = definedBy<onnx::AddOp>(root);
  auto isNegated = [](Value x) { return static_cast<bool>(definedBy<onnx::NegOp>(x)); };
  auto turns = [&](Value value) {
    if (auto reshape = definedBy<onnx::ReshapeOp>(value))
      value = reshape.getData();
    auto concat = definedBy<onnx::ConcatOp>(value);
    return concat && llvm::any_of(concat.getInputs(), [&](Value x) {
             auto unsqueeze = definedBy<onnx::UnsqueezeOp>(x);
             return isNegated(unsqueeze ? unsqueeze.getData() : x);
           });
  };
  return add && llvm::any_of(add->getOperands(), [&](Value value) {
           auto mul = definedBy<onnx::MulOp>(value);
           return mul && (turns(mul.getA()) || turns(mul.getB()));
         });
}

bool RotaryRaiser::run() {
  auto width = shapes.getStaticDim(root, -1);
  if (!width || *width < 2 || *width > kMaxChannels || shapes.getRank(root).value_or(0) < 2)
    return false;
  std::optional<Rotation> rotation;
  for (Value x : candidates())
    if (rotation = match(x); rotation)
      break;
  if (!rotation)
    return turnsChannels(root) && missed("the channels are not rotated in pairs by angles that each pair shares");
  auto layout = layoutOf(*rotation);
  if (!layout)
    return missed("what is rotated is no tensor of rank 4 whose angles are the same for all heads");
  int64_t half = rotation->size / 2;
  Value cos = cacheOf(rotation->cos, rotation->cosScale, half, *layout);
  Value sin = cos ? cacheOf(rotation->sin, rotation->sinScale, half, *layout) : Value();
  if (!sin)
    return missed("the angles are not known to have the shape [batch, sequence, half]");
  bool turned = layout->heads == 2;
  Value x = turned ? b.transpose(rotation->x, {0, 2, 1, 3}) : rotation->x;
  Value result = b.make<onnx::RotaryEmbeddingOp>(x, cos, sin, Value(), b.getI64IntegerAttr(rotation->interleaved),
                                                 b.getI64IntegerAttr(0),
                                                 b.getI64IntegerAttr(rotation->size == *width ? 0 : rotation->size));
  root.replaceAllUsesWith(turned ? b.transpose(result, {0, 2, 1, 3}) : result);
  std::string text = "RotaryEmbedding";
  if (rotation->size != *width)
    text += ", " + std::to_string(rotation->size) + " of " + std::to_string(*width) + " channels";
  remarkPassed(root.getDefiningOp(), "raise-rotary", text + (rotation->interleaved ? ", interleaved" : ""));
  return true;
}

/// Whether `concat` puts the parts of one tensor together of which the first is rotated: x's rotation of fewer
/// channels.
static bool widen(onnx::ConcatOp concat, OnnxBuilder &b) {
  const SymbolicShapes &shapes = b.getShapes();
  Value root = concat.getConcatResult();
  auto rank = shapes.getRank(root);
  auto width = rank ? shapes.getStaticDim(root, -1) : std::nullopt;
  if (rank != 4 || !width || *width > kMaxChannels || onnx::normalizeAxis(concat.getAxis(), *rank) != *rank - 1)
    return false;
  // Heads may be put in their place between the rotation and the concatenation.
  Value first = concat.getInputs()[0];
  auto turn = definedBy<onnx::TransposeOp>(first);
  bool turned = turn && turn.getPerm() && *turn.getPerm() == ArrayRef<int64_t>{0, 2, 1, 3};
  auto rotary = definedBy<onnx::RotaryEmbeddingOp>(turned ? turn.getData() : first);
  if (!rotary || rotary.getPositionIds())
    return false;
  auto size = shapes.getStaticDim(rotary.getX(), -1);
  Value part = rotary.getX();
  if (turned) {
    auto back = definedBy<onnx::TransposeOp>(part);
    if (!back || !back.getPerm() || *back.getPerm() != ArrayRef<int64_t>{0, 2, 1, 3})
      return false;
    part = back.getData();
  }
  Value x;
  if (auto slice = definedBy<onnx::SliceOp>(part))
    x = slice.getData();
  else if (auto split = definedBy<onnx::SplitOp>(part))
    x = split.getInput();
  if (!x || !size || !shapes.sameShape(x, root))
    return false;
  ChannelEvaluator evaluator(shapes, x);
  auto isChannel = [&](Value value, int64_t at, int64_t channel) {
    auto terms = evaluator.evaluate(value, at);
    return terms && terms->size() == 1 && terms->front().scale == 1 && !terms->front().factor &&
           terms->front().channel == channel;
  };
  for (int64_t channel = 0; channel < *size; ++channel)
    if (!isChannel(part, channel, channel))
      return false;
  int64_t channel = *size;
  for (Value rest : concat.getInputs().drop_front()) {
    auto restSize = shapes.getStaticDim(rest, -1);
    for (int64_t i = 0; restSize && i < *restSize; ++i, ++channel)
      if (!isChannel(rest, i, channel))
        return false;
  }
  if (channel != *width)
    return false;
  int64_t rotated = rotary.getRotaryEmbeddingDim() ? rotary.getRotaryEmbeddingDim() : *size;
  Value operand = turned ? b.transpose(x, {0, 2, 1, 3}) : x;
  Value result = b.make<onnx::RotaryEmbeddingOp>(operand, rotary.getCosCache(), rotary.getSinCache(), Value(),
                                                 rotary.getInterleavedAttr(), b.getI64IntegerAttr(0),
                                                 b.getI64IntegerAttr(rotated));
  root.replaceAllUsesWith(turned ? b.transpose(result, {0, 2, 1, 3}) : result);
  remarkPassed(concat, "raise-rotary",
               "RotaryEmbedding, " + Twine(rotated) + " of " + Twine(*width) + " channels in place of slices");
  return true;
}

/// Whether `op` may be the last of a rotation: a sum of two products, or both rotated halves put together.
static bool isCandidate(Operation *op) {
  auto isTurned = [](Value value) {
    Operation *inner = value.getDefiningOp();
    return inner && isa<onnx::AddOp, onnx::SubOp>(inner);
  };
  if (isa<onnx::AddOp>(op))
    return llvm::all_of(op->getOperands(), [](Value x) { return static_cast<bool>(definedBy<onnx::MulOp>(x)); });
  if (auto concat = dyn_cast<onnx::ConcatOp>(op))
    return concat.getInputs().size() >= 2 && llvm::all_of(concat.getInputs().take_front(2), isTurned);
  if (auto reshape = dyn_cast<onnx::ReshapeOp>(op)) // [..., half, 2] of both
    if (auto stack = definedBy<onnx::ConcatOp>(reshape.getData()))
      return stack.getInputs().size() == 2 && llvm::all_of(stack.getInputs(), [&](Value x) {
               auto unsqueeze = definedBy<onnx::UnsqueezeOp>(x);
               return unsqueeze && isTurned(unsqueeze.getData());
             });
  return false;
}

namespace {
class RaiseRotary : public caat::impl::ONNXRaiseRotaryPassBase<RaiseRotary> {
  void runOnOperation() override {
    rewriteInOrder(getOperation(), [](Operation *op, OnnxBuilder &b) {
      if (isCandidate(op))
        RotaryRaiser(op->getResult(0), b).run();
      else if (auto concat = dyn_cast<onnx::ConcatOp>(op))
        widen(concat, b);
      // A head count is only needed for X of rank 3; sharding would have to change it.
      if (auto rotary = dyn_cast<onnx::RotaryEmbeddingOp>(op); rotary && b.getShapes().getRank(rotary.getX()) == 4)
        rotary.setNumHeads(0);
    });
  }
};
} // namespace
