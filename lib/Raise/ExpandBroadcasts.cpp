// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-expand-broadcasts: see Passes.td.
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
#include "dialects/onnx/Einsum.h"

namespace caat {
#define GEN_PASS_DEF_ONNXEXPANDBROADCASTSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

using Dims = SymbolicShapes::Dims;

namespace {

/// The operands of an op whose dims are broadcast against each other: for each of their dims the number of a size,
/// which all dims of that number share. -1: the dim is nobody else's.
struct BroadcastOperands {
  SmallVector<std::pair<OpOperand *, SmallVector<int64_t>>> operands;
  int64_t sizes = 0;
  unsigned leading = ~0u; ///< of so many operands the sizes are; the others are broadcast to them

  /// The last dims of `operand` but `kept` are those before number `end`.
  void align(OpOperand &operand, int64_t rank, int64_t end, int64_t kept = 0) {
    SmallVector<int64_t> numbers;
    for (int64_t axis = 0; axis < rank; ++axis)
      numbers.push_back(axis < rank - kept ? end - (rank - kept) + axis : -1);
    operands.emplace_back(&operand, std::move(numbers));
  }
};

} // namespace

/// Nothing for ops that broadcast no operand. Sizes are numbered as the result's dims, where it has them.
static std::optional<BroadcastOperands> broadcastOperands(Operation *op, const SymbolicShapes &shapes) {
  SmallVector<int64_t> ranks;
  for (Value operand : op->getOperands()) {
    std::optional<int64_t> rank = shapes.getRank(operand);
    if (!rank)
      return std::nullopt;
    ranks.push_back(*rank);
  }
  BroadcastOperands result;
  auto alignAll = [&](unsigned count, int64_t kept) {
    for (unsigned i = 0; i < count; ++i)
      result.sizes = std::max(result.sizes, ranks[i] - kept);
    for (unsigned i = 0; i < count; ++i)
      result.align(op->getOpOperand(i), ranks[i], result.sizes, kept);
  };
  if (op->hasTrait<onnx::BroadcastElementwise>() && op->getNumOperands() > 1) {
    alignAll(op->getNumOperands(), 0);
    if (isa<onnx::PReluOp>(op))
      result.leading = 1;
  } else if (isa<onnx::MatMulOp>(op) && ranks[0] > 2 && ranks[1] > 2) {
    alignAll(2, 2);
  } else if (isa<onnx::LayerNormalizationOp, onnx::RMSNormalizationOp>(op)) { // scale and bias to the input
    alignAll(op->getNumOperands(), 0);
    result.leading = 1;
  } else if (auto gemm = dyn_cast<onnx::GemmOp>(op); gemm && gemm.getC()) {
    result.sizes = result.leading = 2;
    result.operands.emplace_back(&op->getOpOperand(0),
                                 gemm.getTransA() ? SmallVector<int64_t>{-1, 0} : SmallVector<int64_t>{0, -1});
    result.operands.emplace_back(&op->getOpOperand(1),
                                 gemm.getTransB() ? SmallVector<int64_t>{1, -1} : SmallVector<int64_t>{-1, 1});
    result.align(op->getOpOperand(2), ranks[2], 2);
  } else if (auto attention = dyn_cast<onnx::AttentionOp>(op); attention && attention.getAttnMask()) {
    result.sizes = 4;
    result.leading = 0; // the sizes are those of the scores, see below
    OpOperand &mask = attention.getAttnMaskMutable()[0];
    result.align(mask, ranks[mask.getOperandNumber()], 4);
  } else if (auto einsum = dyn_cast<onnx::EinsumOp>(op)) {
    auto terms = onnx::parseEinsum(einsum.getEquation(), ranks);
    if (!terms)
      return std::nullopt;
    result.sizes = terms->labels;
    for (auto [operand, term] : llvm::zip_equal(op->getOpOperands(), terms->inputs))
      result.operands.emplace_back(&operand, SmallVector<int64_t>(term.begin(), term.end()));
  } else {
    return std::nullopt;
  }
  return result;
}

/// The size of `value` along `axis` as an index.
static Value sizeOf(OnnxBuilder &b, Value value, int64_t axis) {
  const SymbolicShapes &shapes = b.getShapes();
  AffineExpr dim = shapes.getDim(value, axis);
  if (Value size = shapes.materialize(b, b.getLocation(), dim))
    return size;
  return tensor::DimOp::create(b, b.getLocation(), value, axis);
}

/// One size of a broadcast: what is known of it, and the dims that it is the size of.
struct SharedSize {
  AffineExpr size;
  SmallVector<std::pair<Value, int64_t>> dims;
  bool tooMuch = false; ///< to be an expression
  Value index = {};     ///< once it has been computed

  void add(Value value, int64_t axis, SymbolicShapes &shapes) {
    dims.emplace_back(value, axis);
    AffineExpr dim = shapes.getDim(value, axis);
    if (tooMuch)
      return;
    size = size ? shapes.broadcast(size, dim) : dim;
    tooMuch = !size;
  }

  Value compute(OnnxBuilder &b) {
    if (!index && size)
      index = b.getShapes().materialize(b, b.getLocation(), size);
    if (index)
      return index;
    // dim == 1 ? other : dim, one dim after the other.
    Value one = arith::ConstantIndexOp::create(b, b.getLocation(), 1);
    for (auto [value, axis] : dims) {
      Value next = sizeOf(b, value, axis);
      if (!index) {
        index = next;
        continue;
      }
      Value isOne = arith::CmpIOp::create(b, b.getLocation(), arith::CmpIPredicate::eq, index, one);
      index = arith::SelectOp::create(b, b.getLocation(), isOne, next, index);
    }
    return index;
  }
};

/// Where the mask of an attention has to fit: [B, H, S, T]. Nothing where that is not known.
static std::optional<Dims> scoresShape(onnx::AttentionOp op, SymbolicShapes &shapes) {
  auto q = shapes.getDims(op.getQ()), k = shapes.getDims(op.getK());
  if (!q || !k || q->size() < 3 || q->size() != k->size())
    return std::nullopt;
  bool flat = q->size() == 3;
  AffineExpr heads = flat ? shapes.constant(op.getQNumHeads().value_or(1)) : (*q)[1], total = (*k)[k->size() - 2];
  if (op.getPastKey())
    total = addDims(total, shapes.getDim(op.getPastKey(), 2));
  return Dims{(*q)[0], heads, (*q)[q->size() - 2], total};
}

/// A mask that is shorter than the keys hides the rest of them.
static Value lengthened(OnnxBuilder &b, Value mask, AffineExpr total) {
  SymbolicShapes &shapes = b.getShapes();
  auto length = shapes.getStaticDim(mask, -1), wanted = constantDim(total);
  if (!length || !wanted || *length == 1 || *length >= *wanted)
    return mask;
  SmallVector<int64_t> pads(2 * *shapes.getRank(mask), 0);
  pads.back() = *wanted - *length;
  Type type = getElementTypeOrSelf(mask);
  Value hidden = b.scalar(isa<FloatType>(type) ? -std::numeric_limits<double>::infinity() : 0, type);
  return b.make<onnx::PadOp>(mask, b.ints(pads), hidden, Value());
}

/// Puts an Expand in front of each operand that is not known to have its sizes. Whether there is one.
static bool expandOperands(Operation *op, OnnxBuilder &b) {
  SymbolicShapes &shapes = b.getShapes();
  std::optional<BroadcastOperands> broadcast = broadcastOperands(op, shapes);
  if (!broadcast)
    return false;
  bool changed = false;
  SmallVector<SharedSize> sizes(broadcast->sizes);
  if (auto attention = dyn_cast<onnx::AttentionOp>(op)) {
    auto scores = scoresShape(attention, shapes);
    OpOperand *mask = broadcast->operands.front().first;
    if (!scores)
      return false;
    Value whole = lengthened(b, mask->get(), scores->back());
    changed = whole != mask->get();
    mask->set(whole);
    for (auto [size, dim] : llvm::zip_equal(sizes, *scores))
      size.size = dim;
  }
  for (auto &[operand, numbers] : ArrayRef(broadcast->operands).take_front(broadcast->leading))
    for (auto [axis, number] : llvm::enumerate(numbers))
      if (number >= 0)
        sizes[number].add(operand->get(), axis, shapes);
  for (auto &[operand, numbers] : broadcast->operands) {
    std::string text; // 1 keeps a dimension as it is
    SmallVector<Value> target(numbers.size());
    for (auto [axis, number] : llvm::enumerate(numbers)) {
      AffineExpr dim = shapes.getDim(operand->get(), axis);
      bool isShared = number >= 0 && (sizes[number].size || !sizes[number].dims.empty());
      if (isShared && constantDim(dim) != 1 && (!sizes[number].size || dim != sizes[number].size)) {
        target[axis] = sizes[number].compute(b);
        text += (text.empty() ? "" : ", ") + shapes.describe(dim) + " to " +
                (sizes[number].size ? shapes.describe(sizes[number].size) : "a size of several");
      }
    }
    if (llvm::none_of(target, [](Value size) { return static_cast<bool>(size); }))
      continue;
    Location loc = b.getLocation();
    for (Value &size : target)
      size = size ? arith::IndexCastOp::create(b, loc, b.getI64Type(), size).getResult()
                  : arith::ConstantIntOp::create(b, loc, 1, 64).getResult();
    auto type = RankedTensorType::get({static_cast<int64_t>(target.size())}, b.getI64Type());
    Value shape = tensor::FromElementsOp::create(b, loc, type, target);
    shapes.visit(shape.getDefiningOp());
    operand->set(b.make<onnx::ExpandOp>(operand->get(), shape));
    remarkPassed(op, "expand-broadcasts",
                 "operand " + Twine(operand->getOperandNumber()) + " may be broadcast: " + text);
    changed = true;
  }
  return changed;
}

namespace {
struct ExpandBroadcasts : caat::impl::ONNXExpandBroadcastsPassBase<ExpandBroadcasts> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || function->hasAttr(onnx::kExplicitBroadcastsAttr))
      return;
    auto &shapes = getAnalysis<SymbolicShapes>();
    bool changed = false;
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
      OnnxBuilder builder(&op, shapes);
      changed |= expandOperands(&op, builder);
    }
    // The analysis is the same with the attribute where nothing changed.
    function->setAttr(onnx::kExplicitBroadcastsAttr, UnitAttr::get(&getContext()));
    if (!changed)
      markAllAnalysesPreserved();
  }
};
} // namespace
