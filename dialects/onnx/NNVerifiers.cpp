// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifiers of NN.td.
#include "dialects/onnx/VerifierSupport.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace caat;
using namespace caat::onnx;
using namespace caat::onnx::detail;

LogicalResult MatMulOp::verify() {
  RankedTensorType a = ranked(getA()), b = ranked(getB());
  if (!a || !b)
    return success();
  if (a.getRank() == 0 || b.getRank() == 0)
    return emitOpError("needs operands of rank 1 or more");
  bool isRow = a.getRank() == 1, isColumn = b.getRank() == 1;
  int64_t k = a.getShape().back(), rows = b.getDimSize(isColumn ? 0 : b.getRank() - 2);
  if (differ(k, rows))
    return emitOpError("'A' has ") << k << " columns but 'B' has " << rows << " rows";
  ArrayRef<int64_t> aBatch = a.getShape().drop_back(isRow ? 1 : 2), bBatch = b.getShape().drop_back(isColumn ? 1 : 2);
  std::optional<SmallVector<int64_t>> shape = broadcastShapes(aBatch, bBatch);
  if (!shape)
    return emitOpError("leading dimensions ")
           << shapeText(aBatch) << " and " << shapeText(bBatch) << " cannot be broadcast";
  if (!isRow)
    shape->push_back(a.getDimSize(a.getRank() - 2));
  if (!isColumn)
    shape->push_back(b.getShape().back());
  return verifyShape(*this, "Y", getY(), *shape);
}

LogicalResult GemmOp::verify() {
  RankedTensorType a = ranked(getA()), b = ranked(getB());
  if (failed(verifyRank(*this, "A", getA(), 2)) || failed(verifyRank(*this, "B", getB(), 2)))
    return failure();
  if (!a || !b)
    return success();
  int64_t m = a.getDimSize(getTransA() ? 1 : 0), k = a.getDimSize(getTransA() ? 0 : 1);
  int64_t rows = b.getDimSize(getTransB() ? 1 : 0), n = b.getDimSize(getTransB() ? 0 : 1);
  if (differ(k, rows))
    return emitOpError("A' has ") << k << " columns but B' has " << rows << " rows";
  if (failed(verifyBroadcastTo(*this, "C", getC(), {m, n})))
    return failure();
  return verifyShape(*this, "Y", getY(), {m, n});
}

LogicalResult EinsumOp::verify() {
  SmallString<64> equation;
  for (char c : getEquation())
    if (c != ' ')
      equation.push_back(c);
  SmallVector<StringRef> terms;
  StringRef(equation).split("->").first.split(terms, ',');
  if (terms.size() != getInputs().size())
    return emitOpError("equation '") << getEquation() << "' has " << terms.size() << " terms for " << getInputs().size()
                                     << " inputs";
  for (auto [i, term, input] : llvm::enumerate(terms, getInputs())) {
    RankedTensorType type = ranked(input);
    if (term.contains('.') || !type)
      continue;
    if (static_cast<int64_t>(term.size()) != type.getRank())
      return emitOpError("term '") << term << "' has " << term.size() << " letters but input " << i << " has rank "
                                   << type.getRank();
  }
  return success();
}

/// The lists that describe a window have an entry for each of `spatial` dimensions, the pads two; sizes are positive.
static LogicalResult verifyWindow(Operation *op, int64_t spatial, std::optional<ArrayRef<int64_t>> kernel,
                                  std::optional<ArrayRef<int64_t>> strides, std::optional<ArrayRef<int64_t>> dilations,
                                  std::optional<ArrayRef<int64_t>> pads) {
  const std::pair<StringRef, std::optional<ArrayRef<int64_t>>> lists[] = {
      {"kernel_shape", kernel}, {"strides", strides}, {"dilations", dilations}};
  for (const auto &[name, list] : lists) {
    if (!list)
      continue;
    if (static_cast<int64_t>(list->size()) != spatial)
      return op->emitOpError() << name << " has " << list->size() << " entries, not " << spatial;
    for (int64_t value : *list)
      if (value < 1)
        return op->emitOpError() << name << " has the entry " << value << ", which is not positive";
  }
  if (pads && static_cast<int64_t>(pads->size()) != 2 * spatial)
    return op->emitOpError() << "pads has " << pads->size() << " entries, not " << 2 * spatial;
  return success();
}

LogicalResult ConvOp::verify() {
  RankedTensorType x = ranked(getX()), w = ranked(getW());
  if (getGroup() <= 0)
    return emitOpError("group ") << getGroup() << " is not positive";
  if (!x || !w)
    return success();
  if (x.getRank() < 3)
    return emitOpError("'X' has rank ") << x.getRank() << ", below 3";
  if (w.getRank() != x.getRank())
    return emitOpError("'W' has rank ") << w.getRank() << ", not " << x.getRank();
  if (!x.isDynamicDim(1) && !w.isDynamicDim(1) && x.getDimSize(1) != getGroup() * w.getDimSize(1))
    return emitOpError("'X' has ") << x.getDimSize(1) << " channels, not " << getGroup() << " * " << w.getDimSize(1);
  SmallVector<int64_t> shape(x.getRank(), ShapedType::kDynamic);
  shape[0] = x.getDimSize(0);
  shape[1] = w.getDimSize(0);
  if (failed(verifyShape(*this, "B", getB(), {w.getDimSize(0)})) ||
      failed(verifyWindow(*this, x.getRank() - 2, getKernelShape(), getStrides(), getDilations(), getPads())))
    return failure();
  return verifyShape(*this, "Y", getY(), shape);
}

LogicalResult ConvTransposeOp::verify() {
  RankedTensorType x = ranked(getX()), w = ranked(getW());
  if (getGroup() <= 0)
    return emitOpError("group ") << getGroup() << " is not positive";
  if (!x || !w)
    return success();
  if (x.getRank() < 3)
    return emitOpError("'X' has rank ") << x.getRank() << ", below 3";
  if (w.getRank() != x.getRank())
    return emitOpError("'W' has rank ") << w.getRank() << ", not " << x.getRank();
  int64_t channels = x.getDimSize(1);
  if (differ(channels, w.getDimSize(0)))
    return emitOpError("'X' has ") << channels << " channels, 'W' " << w.getDimSize(0);
  if (!ShapedType::isDynamic(channels) && channels % getGroup() != 0)
    return emitOpError() << channels << " channels are no multiple of group " << getGroup();
  int64_t outputs = w.isDynamicDim(1) ? ShapedType::kDynamic : w.getDimSize(1) * getGroup();
  if (failed(verifyShape(*this, "B", getB(), {outputs})) ||
      failed(verifyWindow(*this, x.getRank() - 2, getKernelShape(), getStrides(), getDilations(), getPads())))
    return failure();
  for (auto list : {getOutputPadding(), getOutputShape()})
    if (list && static_cast<int64_t>(list->size()) != x.getRank() - 2)
      return emitOpError("output_padding or output_shape has ") << list->size() << " entries, not " << x.getRank() - 2;
  SmallVector<int64_t> shape(x.getRank(), ShapedType::kDynamic);
  shape[0] = x.getDimSize(0);
  shape[1] = outputs;
  return verifyShape(*this, "Y", getY(), shape);
}

template <typename Op> static LogicalResult verifyPool(Op op, Value second = {}) {
  RankedTensorType x = ranked(op.getX());
  if (!x)
    return success();
  if (x.getRank() < 3)
    return op.emitOpError("'X' has rank ") << x.getRank() << ", below 3";
  if (failed(verifyWindow(op, x.getRank() - 2, op.getKernelShape(), op.getStrides(), op.getDilations(), op.getPads())))
    return failure();
  SmallVector<int64_t> shape(x.getRank(), ShapedType::kDynamic);
  shape[0] = x.getDimSize(0);
  shape[1] = x.getDimSize(1);
  if (failed(verifyShape(op, "Indices", second, shape)))
    return failure();
  return verifyShape(op, "Y", op.getY(), shape);
}

LogicalResult AveragePoolOp::verify() { return verifyPool(*this); }

LogicalResult LpPoolOp::verify() {
  if (getP() < 1)
    return emitOpError("p ") << getP() << " is not positive";
  return verifyPool(*this);
}

LogicalResult MaxPoolOp::verify() { return verifyPool(*this, getIndices()); }

LogicalResult LayerNormalizationOp::verify() {
  RankedTensorType x = ranked(getX());
  if (cast<TensorType>(getX().getType()).getElementType() != cast<TensorType>(getY().getType()).getElementType())
    return emitOpError("'Y' has not the element type of 'X'");
  if (!x)
    return success();
  FailureOr<int64_t> axis = verifyAxis(*this, getAxis(), x.getRank());
  if (failed(axis) || failed(verifyBroadcastTo(*this, "Scale", getScale(), x.getShape())) ||
      failed(verifyBroadcastTo(*this, "B", getB(), x.getShape())) ||
      failed(verifyShape(*this, "Y", getY(), x.getShape())))
    return failure();
  SmallVector<int64_t> shape(x.getShape());
  std::fill(shape.begin() + *axis, shape.end(), 1);
  if (failed(verifyShape(*this, "Mean", getMean(), shape)))
    return failure();
  return verifyShape(*this, "InvStdDev", getInvStdDev(), shape);
}

LogicalResult RMSNormalizationOp::verify() {
  RankedTensorType x = ranked(getX());
  if (!x)
    return success();
  if (failed(verifyAxis(*this, getAxis(), x.getRank())) ||
      failed(verifyBroadcastTo(*this, "scale", getScale(), x.getShape())))
    return failure();
  return verifyShape(*this, "Y", getY(), x.getShape());
}

LogicalResult GroupNormalizationOp::verify() {
  RankedTensorType x = ranked(getX());
  if (getNumGroups() <= 0)
    return emitOpError("num_groups ") << getNumGroups() << " is not positive";
  if (!x)
    return success();
  if (x.getRank() < 2)
    return emitOpError("'X' has rank ") << x.getRank() << ", below 2";
  int64_t channels = x.getDimSize(1);
  if (!ShapedType::isDynamic(channels) && channels % getNumGroups() != 0)
    return emitOpError() << channels << " channels are no multiple of num_groups " << getNumGroups();
  if (failed(verifyShape(*this, "scale", getScale(), {channels})) ||
      failed(verifyShape(*this, "bias", getBias(), {channels})))
    return failure();
  return verifyShape(*this, "Y", getY(), x.getShape());
}

/// The number of heads, and their size, of one operand of attention.
static std::pair<int64_t, int64_t> headsAndSize(RankedTensorType type, std::optional<int64_t> heads) {
  if (type.getRank() == 4)
    return {type.getDimSize(1), type.getDimSize(3)};
  return {*heads, type.isDynamicDim(2) ? ShapedType::kDynamic : type.getDimSize(2) / *heads};
}

LogicalResult AttentionOp::verify() {
  if (!getPastKey() != !getPastValue())
    return emitOpError("has only one of past_key and past_value");
  if (!getPresentKey() != !getPresentValue())
    return emitOpError("has only one of present_key and present_value");
  for (std::optional<int64_t> heads : {getQNumHeads(), getKvNumHeads()})
    if (heads && *heads <= 0)
      return emitOpError() << *heads << " heads are not positive";
  RankedTensorType q = ranked(getQ()), k = ranked(getK()), v = ranked(getV());
  if (!q || !k || !v)
    return success();
  if (q.getRank() != 3 && q.getRank() != 4)
    return emitOpError("'Q' has rank ") << q.getRank() << ", not 3 or 4";
  if (k.getRank() != q.getRank() || v.getRank() != q.getRank())
    return emitOpError("'Q', 'K' and 'V' have ranks ") << q.getRank() << ", " << k.getRank() << " and " << v.getRank();
  if (q.getRank() == 3 && (!getQNumHeads() || !getKvNumHeads()))
    return emitOpError("needs q_num_heads and kv_num_heads for operands of rank 3");
  auto [qHeads, qSize] = headsAndSize(q, getQNumHeads());
  auto [kHeads, kSize] = headsAndSize(k, getKvNumHeads());
  auto [vHeads, vSize] = headsAndSize(v, getKvNumHeads());
  if (differ(q.getDimSize(0), k.getDimSize(0)) || differ(q.getDimSize(0), v.getDimSize(0)))
    return emitOpError("'Q', 'K' and 'V' have batch ")
           << q.getDimSize(0) << ", " << k.getDimSize(0) << " and " << v.getDimSize(0);
  if (differ(qSize, kSize))
    return emitOpError("heads of 'Q' have size ") << qSize << ", those of 'K' " << kSize;
  if (differ(kHeads, vHeads))
    return emitOpError("'K' has ") << kHeads << " heads but 'V' has " << vHeads;
  if (!ShapedType::isDynamic(qHeads) && !ShapedType::isDynamic(kHeads) && (kHeads == 0 || qHeads % kHeads != 0))
    return emitOpError() << qHeads << " query heads are no multiple of " << kHeads << " key heads";
  if (RankedTensorType mask = ranked(getAttnMask()))
    if (mask.getRank() > 4)
      return emitOpError("'attn_mask' has rank ") << mask.getRank() << ", above 4";
  int64_t batch = q.getDimSize(0), any = ShapedType::kDynamic;
  if (failed(verifyShape(*this, "past_key", getPastKey(), {batch, kHeads, any, kSize})) ||
      failed(verifyShape(*this, "past_value", getPastValue(), {batch, kHeads, any, vSize})) ||
      failed(verifyShape(*this, "present_key", getPresentKey(), {batch, kHeads, any, kSize})) ||
      failed(verifyShape(*this, "present_value", getPresentValue(), {batch, kHeads, any, vSize})))
    return failure();
  if (q.getRank() == 4)
    return verifyShape(*this, "Y", getY(), {batch, qHeads, q.getDimSize(2), vSize});
  int64_t width = ShapedType::isDynamic(vSize) ? any : qHeads * vSize;
  return verifyShape(*this, "Y", getY(), {batch, q.getDimSize(1), width});
}

LogicalResult LinearAttentionOp::verify() {
  int64_t queryHeads = getQNumHeads(), heads = getKvNumHeads();
  if (heads <= 0 || queryHeads <= 0 || queryHeads % heads != 0)
    return emitOpError() << queryHeads << " query heads are no positive multiple of " << heads << " key heads";
  StringRef rule = getUpdateRule();
  if (failed(verifyOneOf(*this, "update_rule", rule, {"linear", "gated", "delta", "gated_delta"})))
    return failure();
  if (rule.starts_with("gated") != static_cast<bool>(getDecay()))
    return emitOpError("update_rule '") << rule << "' and 'decay' do not go together";
  if (rule.ends_with("delta") != static_cast<bool>(getBeta()))
    return emitOpError("update_rule '") << rule << "' and 'beta' do not go together";
  for (auto [name, value] : {std::pair<StringRef, Value>("query", getQuery()),
                             {"key", getKey()},
                             {"value", getValue()},
                             {"decay", getDecay()},
                             {"beta", getBeta()}})
    if (value && failed(verifyRank(*this, name, value, 3)))
      return failure();
  RankedTensorType q = ranked(getQuery()), k = ranked(getKey()), v = ranked(getValue());
  if (!q || !k || !v)
    return success();
  auto part = [](RankedTensorType type, int64_t count) {
    return type.isDynamicDim(2) ? ShapedType::kDynamic : type.getDimSize(2) / count;
  };
  int64_t size = part(k, heads), valueSize = part(v, heads), batch = q.getDimSize(0);
  if (differ(part(q, queryHeads), size))
    return emitOpError("heads of 'query' have size ") << part(q, queryHeads) << ", those of 'key' " << size;
  if (RankedTensorType decay = ranked(getDecay());
      decay && differ(decay.getDimSize(2), heads) && differ(decay.getDimSize(2), k.getDimSize(2)))
    return emitOpError("'decay' has ") << decay.getDimSize(2) << " columns, not " << heads << " or " << k.getDimSize(2);
  if (RankedTensorType beta = ranked(getBeta());
      beta && differ(beta.getDimSize(2), heads) && differ(beta.getDimSize(2), 1))
    return emitOpError("'beta' has ") << beta.getDimSize(2) << " columns, not " << heads << " or 1";
  if (failed(verifyShape(*this, "past_state", getPastState(), {batch, heads, size, valueSize})) ||
      failed(verifyShape(*this, "present_state", getPresentState(), {batch, heads, size, valueSize})))
    return failure();
  int64_t width = ShapedType::isDynamic(valueSize) ? ShapedType::kDynamic : queryHeads * valueSize;
  return verifyShape(*this, "output", getOutput(), {batch, q.getDimSize(1), width});
}

LogicalResult RotaryEmbeddingOp::verify() {
  RankedTensorType x = ranked(getX()), cos = ranked(getCosCache()), sin = ranked(getSinCache());
  int64_t rank = getPositionIds() ? 2 : 3;
  if (failed(verifyRank(*this, "cos_cache", getCosCache(), rank)) ||
      failed(verifyRank(*this, "sin_cache", getSinCache(), rank)))
    return failure();
  if (cos && sin && failed(verifyShape(*this, "sin_cache", getSinCache(), cos.getShape())))
    return failure();
  if (!x)
    return success();
  if (x.getRank() != 3 && x.getRank() != 4)
    return emitOpError("'X' has rank ") << x.getRank() << ", not 3 or 4";
  if (x.getRank() == 3 && getNumHeads() <= 0)
    return emitOpError("needs num_heads for 'X' of rank 3");
  int64_t size = x.getShape().back();
  if (x.getRank() == 3 && !ShapedType::isDynamic(size))
    size /= getNumHeads();
  int64_t rotated = getRotaryEmbeddingDim() ? getRotaryEmbeddingDim() : size;
  if (cos && !ShapedType::isDynamic(rotated) && differ(cos.getShape().back(), rotated / 2))
    return emitOpError("'cos_cache' has ") << cos.getShape().back() << " columns, not " << rotated / 2;
  return verifyShape(*this, "Y", getY(), x.getShape());
}

LogicalResult DepthToSpaceOp::verify() {
  if (getBlocksize() <= 0)
    return emitOpError("blocksize ") << getBlocksize() << " is not positive";
  RankedTensorType input = ranked(getInput());
  if (failed(verifyRank(*this, "input", getInput(), 4)) ||
      failed(verifyOneOf(*this, "mode", getMode(), {"DCR", "CRD"})))
    return failure();
  int64_t block = 0;
  if (llvm::MulOverflow<int64_t>(getBlocksize(), getBlocksize(), block))
    return emitOpError("blocksize ") << getBlocksize() << " squared does not fit 63 bits";
  if (input && !input.isDynamicDim(1) && input.getDimSize(1) % block != 0)
    return emitOpError() << input.getDimSize(1) << " channels are no multiple of " << getBlocksize() << " squared";
  return success();
}

LogicalResult SpaceToDepthOp::verify() {
  if (getBlocksize() <= 0)
    return emitOpError("blocksize ") << getBlocksize() << " is not positive";
  RankedTensorType input = ranked(getInput());
  if (failed(verifyRank(*this, "input", getInput(), 4)) ||
      failed(verifyOneOf(*this, "mode", getMode(), {"DCR", "CRD"})))
    return failure();
  for (int64_t i : {2, 3})
    if (input && !input.isDynamicDim(i) && input.getDimSize(i) % getBlocksize() != 0)
      return emitOpError("dimension ") << input.getDimSize(i) << " is no multiple of " << getBlocksize();
  return success();
}
