// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// onnx.Attention: operands brought to one form, keys and values appended to the cache, and the choice at run time
// between the generated kernel for few tokens and library products for many.
#include "lib/Lower/Attention.h"
#include "caat/Support/HalfTypes.h"

using namespace mlir;
using namespace caat::lower;

namespace caat {

namespace lower {

OpFoldResult firstPosition(ScalarBuilder &s, const AttentionProblem &p, Value batch) {
  if (!p.appendsByRow)
    return p.past;
  // A first prompt whose row is shorter than others begins at 0 all the same. No length may lead out of the buffer.
  Value length = s.cast(extract(s, p.lengths, batch), s.b.getIndexType());
  Value start = arith::MaxSIOp::create(s.b, s.loc, s.sub(length, s.value(p.tokens)), s.index(0));
  return OpFoldResult(s.min(start, s.value(p.past)));
}

std::pair<Value, Value> visibleKeys(ScalarBuilder &s, const AttentionProblem &p, Value batch, Value token) {
  Value begin, end = s.value(p.total);
  OpFoldResult first = firstPosition(s, p, batch);
  Value position = s.value(s.add(first, OpFoldResult(token)));
  if (p.appendsByRow) {
    end = s.value(s.add(first, p.tokens));
  } else if (p.lengths) { // a cache that others fill: the tokens are the last of the valid ones
    Value length = s.cast(extract(s, p.lengths, batch), s.b.getIndexType());
    end = s.min(end, length);
    position = s.add(s.sub(length, s.value(p.tokens)), token);
  }
  if (p.causal)
    end = s.min(end, s.add(position, s.index(1)));
  if (p.right >= 0)
    end = s.min(end, s.add(position, s.index(p.right + 1)));
  if (p.lengths) // which may be fewer than the tokens
    end = s.max(end, s.index(0));
  if (p.left >= 0) {
    begin = s.max(s.index(0), s.sub(position, s.index(p.left)));
    begin = s.min(begin, end);
  }
  return {begin, end};
}

Value finishScore(ScalarBuilder &s, const AttentionProblem &p, Value score, ValueRange at) {
  Type type = score.getType();
  if (p.softcap > 0) {
    Value cap = s.constant(type, p.softcap);
    score = s.mul(cap, math::TanhOp::create(s.b, s.loc, s.mul(score, s.constant(type, 1 / p.softcap)), kFastMath));
  }
  if (!p.mask)
    return score;
  Value mask = extract(s, p.mask, at.drop_front(4 - tensorType(p.mask).getRank()));
  return s.add(score, s.cast(mask, type));
}

int64_t decodeTokens(const AttentionProblem &p) { return std::max<int64_t>(1, 16 / p.group()); }

} // namespace lower

/// [B, H, S, D] or [B, S, H * D] as [B, S, H, D].
static Value tokenMajor(ScalarBuilder &s, Value x, std::optional<int64_t> heads) {
  auto type = tensorType(x);
  if (type.getRank() == 4)
    return transposed(s, x, {0, 2, 1, 3});
  return expanded(s, x, 2, {s.b.getIndexAttr(*heads), s.b.getIndexAttr(type.getDimSize(2) / *heads)});
}

/// [B, H, S, D], as caches are.
static Value headMajor(ScalarBuilder &s, Value x, std::optional<int64_t> heads) {
  return tensorType(x).getRank() == 4 ? x : transposed(s, tokenMajor(s, x, heads), {0, 2, 1, 3});
}

/// The same, made by a kernel with a row for each token, as RotaryEmbedding has: launches of such rows become one.
static Value headMajorByToken(ScalarBuilder &s, Value x, std::optional<int64_t> heads) {
  Value tokens = tokenMajor(s, x, heads);
  Dims dims = dimsOf(s, tokens);
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1);
  Value out = empty(s, {dims[0], dims[2], dims[1], dims[3]}, tensorType(x).getElementType());
  return forEachRow(s, s.mul(dims[0], dims[1]), out, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    SmallVector<Value> at = delinearize(in, row, ArrayRef(dims).take_front(2));
    Value source = slice(in, tokens, {at[0], at[1], zero, zero}, {one, one, dims[2], dims[3]}, 2);
    Dims offsets = {at[0], zero, at[1], zero}, sizes = {one, dims[2], one, dims[3]};
    Value dest = tensor::ExtractSliceOp::create(in.b, in.loc, tensorType(source), outs[0], offsets, sizes,
                                                Dims(sizes.size(), one));
    return SmallVector<RowPiece>{{linalg::CopyOp::create(in.b, in.loc, source, dest).getResult(0), offsets, sizes}};
  })[0];
}

/// A boolean mask as numbers to add, 0 or -inf, once for all heads, rows and (equal masks being one) layers: loops that
/// load single bits are not vectorized.
static Value additiveMask(ScalarBuilder &s, Value mask, Type element) {
  auto type = mask ? tensorType(mask) : RankedTensorType();
  if (!type || !type.getElementType().isInteger(1))
    return mask;
  Type number = computeType(element);
  auto result = RankedTensorType::get(type.getShape(), number);
  return elementwise(s, result, dimsOf(s, mask), mask, [&](ScalarBuilder &in, Scalars x) {
    return in.select(x[0], in.constant(number, 0), in.constant(number, -std::numeric_limits<double>::infinity()));
  });
}

/// The keys or values of past and new tokens, each row's new ones behind its own past: [B, KV, P + S, size], and the
/// whole buffer that they are in.
static Value appendedByRow(ScalarBuilder &s, const AttentionProblem &p, Value past, Value fresh, Value &buffer) {
  Value joined = concatenated(s, {past, fresh}, 2, &buffer);
  auto type = tensorType(fresh);
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1);
  OpFoldResult heads = s.b.getIndexAttr(type.getDimSize(1)), size = s.b.getIndexAttr(type.getDimSize(3));
  buffer = forEachRow(s, p.batch, buffer, [&](ScalarBuilder &in, Value row, ValueRange outs) {
    Dims offsets = {row, zero, firstPosition(in, p, row), zero}, sizes = {one, heads, p.tokens, size};
    Value source = slice(in, fresh, {row, zero, zero, zero}, sizes, 1);
    Value copy = linalg::CopyOp::create(in.b, in.loc, source, slice(in, outs[0], offsets, sizes, 1)).getResult(0);
    return SmallVector<RowPiece>{{copy, offsets, sizes}};
  })[0];
  return slice(s, buffer, zeros(s, 4), dimsOf(s, joined));
}

/// The type of products on a GPU's tensor cores: that of the operands where it is a 16-bit one, else that of the
/// program's matrices. None where the program computes in f32, or a head is too large for the kernel.
static Type fusedType(const AttentionProblem &p, const ProgramForms &forms) {
  if (!forms.forGPU)
    return {};
  Type element = tensorType(p.query).getElementType();
  for (Value operand : {p.keys, p.values})
    if (tensorType(operand).getElementType() != element)
      return {};
  if (std::max(p.size, p.valueSize) > kMostFusedHead || p.size == 0 || p.valueSize == 0)
    return {};
  if (isHalf(element))
    return element;
  return element.isF32() ? forms.matrixType : Type();
}

/// The type of the library's products: bf16 on a CPU where the operands or the program's matrices are bf16, else that
/// of their sums. Keys and values of f16 have digits that bf16 would lose.
static Type productType(const AttentionProblem &p, const ProgramForms &forms) {
  Type element = tensorType(p.query).getElementType();
  auto isF16 = [](Value x) { return tensorType(x).getElementType().isF16(); };
  bool isNarrow = element.isBF16() || (element.isF32() && forms.matrixType && forms.matrixType.isBF16());
  if (forms.forGPU || !isNarrow || isF16(p.keys) || isF16(p.values))
    return computeType(element);
  return BFloat16Type::get(element.getContext());
}

static PrefillBuffers makeBuffers(ScalarBuilder s, const AttentionProblem &p, const PrefillPlan &plan, Type factor,
                                  Value out) {
  OpFoldResult pairs = plan.pairs, rows = plan.rows;
  OpFoldResult size = s.b.getIndexAttr(p.size), valueSize = s.b.getIndexAttr(p.valueSize);
  Type compute = computeType(tensorType(out).getElementType());
  PrefillBuffers buffers;
  buffers.out = out;
  buffers.query = empty(s, {pairs, rows, size}, factor);
  buffers.scores = empty(s, {pairs, rows, p.total}, compute);
  buffers.result = empty(s, {pairs, rows, valueSize}, compute);
  if (factor != compute) {
    buffers.exponentials = empty(s, {pairs, rows, p.total}, factor);
    buffers.inverses = empty(s, {pairs, rows}, compute);
  }
  OpFoldResult kvHeads = s.b.getIndexAttr(p.kvHeads);
  if (tensorType(p.keys).getElementType() != factor)
    buffers.keys = empty(s, {p.batch, kvHeads, p.total, size}, factor);
  if (tensorType(p.values).getElementType() != factor)
    buffers.values = empty(s, {p.batch, kvHeads, p.total, valueSize}, factor);
  return buffers;
}

static Value chooseForm(ScalarBuilder s, AttentionProblem p, const ProgramForms &forms) {
  bool forGPU = forms.forGPU;
  Type element = tensorType(p.query).getElementType();
  OpFoldResult heads = s.b.getIndexAttr(p.heads), valueSize = s.b.getIndexAttr(p.valueSize);
  Value out = empty(s, {p.batch, p.tokens, heads, valueSize}, element);
  int64_t most = decodeTokens(p);
  std::optional<int64_t> tokens = getConstantIntValue(p.tokens);

  Type via = fusedType(p, forms);
  if (via && p.mask && !tensorType(p.mask).getElementType().isF32())
    p.mask = converted(s, p.mask, s.b.getF32Type());
  if (via && via == element) // whatever the number of tokens; caches of f32 would be rounded anew for each
    return attentionFused(s, p, via, out);

  SplitPlan split;
  if (forGPU && (!tokens || *tokens <= most))
    split = planSplit(s, p);
  auto decode = [&](ScalarBuilder in) {
    return forGPU ? attentionSplit(in, p, split, out) : attentionDecode(in, p, out);
  };
  if (tokens && *tokens <= most)
    return decode(s);
  PrefillPlan plan;
  PrefillBuffers buffers;
  if (!via) {
    plan = planPrefill(s, p, forGPU ? kBlockRowsOfGPU : kBlockRows);
    buffers = makeBuffers(s, p, plan, productType(p, forms), out);
  }
  auto many = [&](ScalarBuilder in) {
    return via ? attentionFused(in, p, via, out) : attentionPrefill(in, p, plan, buffers);
  };
  if (tokens)
    return many(s);

  Value few = arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ule, s.value(p.tokens), s.index(most));
  auto branch = scf::IfOp::create(
      s.b, s.loc, few, [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, decode({b, loc})); },
      [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, many({b, loc})); });
  return branch.getResult(0);
}

namespace {

struct AttentionPattern : OpRewritePattern<onnx::AttentionOp> {
  AttentionPattern(MLIRContext *context, const ProgramForms &forms) : OpRewritePattern(context), forms(forms) {}

  LogicalResult matchAndRewrite(onnx::AttentionOp op, PatternRewriter &rewriter) const override {
    ScalarBuilder s{rewriter, op.getLoc()};
    AttentionProblem p;
    p.query = tokenMajor(s, op.getQ(), op.getQNumHeads());
    bool byToken = forms.forGPU && op.getPastKey() && !op.getNonpadKvSeqlen();
    auto appended = [&](Value x) {
      bool asIs = !byToken || x.getDefiningOp<onnx::RotaryEmbeddingOp>() || x.getDefiningOp<scf::ForallOp>();
      return asIs ? headMajor(s, x, op.getKvNumHeads()) : headMajorByToken(s, x, op.getKvNumHeads());
    };
    Value keys = appended(op.getK()), values = appended(op.getV());
    auto queryType = tensorType(p.query), keyType = tensorType(keys), valueType = tensorType(values);
    for (int64_t size :
         {queryType.getDimSize(2), queryType.getDimSize(3), keyType.getDimSize(1), valueType.getDimSize(3)})
      if (ShapedType::isDynamic(size))
        return rewriter.notifyMatchFailure(op, "the number of heads or the head size is not static");
    p.heads = queryType.getDimSize(2);
    p.kvHeads = keyType.getDimSize(1);
    p.size = queryType.getDimSize(3);
    p.valueSize = valueType.getDimSize(3);
    p.batch = dimOf(s, p.query, 0);
    p.tokens = dimOf(s, p.query, 1);
    p.mask = additiveMask(s, op.getAttnMask(), queryType.getElementType());
    p.lengths = op.getNonpadKvSeqlen();
    p.appendsByRow = p.lengths && op.getPastKey();
    p.causal = op.getIsCausal();
    p.left = op.getLeftWindowSize();
    p.right = op.getRightWindowSize();
    p.scale = op.getScale() ? op.getScale()->convertToDouble() : 1 / std::sqrt(static_cast<double>(p.size));
    p.softcap = op.getSoftcap().convertToDouble();

    Value presentKeys = keys, presentValues = values;
    p.past = rewriter.getIndexAttr(0);
    p.keys = keys;
    p.values = values;
    if (op.getPastKey()) {
      p.past = dimOf(s, op.getPastKey(), 2);
      if (p.appendsByRow) {
        presentKeys = appendedByRow(s, p, op.getPastKey(), keys, p.keys);
        presentValues = appendedByRow(s, p, op.getPastValue(), values, p.values);
      } else {
        presentKeys = concatenated(s, {op.getPastKey(), keys}, 2, &p.keys);
        presentValues = concatenated(s, {op.getPastValue(), values}, 2, &p.values);
      }
    }
    p.total = dimOf(s, presentKeys, 2);

    Value y = chooseForm(s, p, forms);
    y = tensorType(op.getQ()).getRank() == 4 ? transposed(s, y, {0, 2, 1, 3}) : collapsed(s, y, 2, 4);
    SmallVector<Value> results = {castTo(s, y, op.getY().getType())};
    if (op.getPresentKey())
      results.push_back(castTo(s, presentKeys, op.getPresentKey().getType()));
    if (op.getPresentValue())
      results.push_back(castTo(s, presentValues, op.getPresentValue().getType()));
    if (Value scores = op.getQkMatmulOutput()) {
      auto type = tensorType(scores);
      Dims dims = {p.batch, rewriter.getIndexAttr(p.heads), p.tokens, p.total};
      results.push_back(scores.use_empty() ? empty(s, refine(type, dims, rewriter), type.getElementType())
                                           : attentionScores(s, p, op.getQkMatmulOutputMode(), type));
    }
    rewriter.replaceOp(op, results);
    return success();
  }

  ProgramForms forms;
};

} // namespace

void populateOnnxAttentionToLinalgPatterns(RewritePatternSet &patterns, const ProgramForms &forms) {
  patterns.add<AttentionPattern>(patterns.getContext(), forms);
}

} // namespace caat
