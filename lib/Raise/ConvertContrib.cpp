// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-convert-contrib: see Passes.td. Semantics: docs/ContribOperators.md of ONNX Runtime.
#include "Contrib.h"
#include "Formulas.h"
#include "caat/Raise/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXCONVERTCONTRIBPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

Value ContribOp::input(unsigned i) const {
  if (i >= op.getInputs().size() || isa<NoneType>(op.getInputs()[i].getType()))
    return {};
  return op.getInputs()[i];
}

bool ContribOp::hasUsedOutput(unsigned i) const {
  return i < op.getOutputs().size() && !op.getOutputs()[i].use_empty();
}

int64_t ContribOp::integer(StringRef name, int64_t fallback) const {
  auto value = op.getNodeAttributes().getAs<IntegerAttr>(name);
  return value ? value.getValue().getSExtValue() : fallback;
}

float ContribOp::number(StringRef name, float fallback) const {
  auto value = op.getNodeAttributes().getAs<FloatAttr>(name);
  return value ? static_cast<float>(value.getValueAsDouble()) : fallback;
}

LogicalResult ContribOp::missed(const Twine &reason) const {
  remarkMissed(op, "convert-contrib", op.getOpType() + " stays: " + reason);
  op->setAttr("onnx.missed", b.getStringAttr(reason)); // for the error, if it has to run
  return failure();
}

void ContribOp::replace(unsigned i, Value value) const {
  if (i < op.getOutputs().size() && value)
    op.getOutputs()[i].replaceAllUsesWith(value);
}

/// 1 / sqrt(mean(x^2) + epsilon) over the last dimension, which stays.
static Value inverseDeviation(OnnxBuilder &b, Value x, float epsilon) {
  Type element = getElementTypeOrSelf(x);
  Value squares = b.make<onnx::MulOp>(x, x);
  Value mean = b.make<onnx::ReduceMeanOp>(squares, b.ints({-1}), b.getI64IntegerAttr(1), b.getI64IntegerAttr(0));
  return b.make<onnx::ReciprocalOp>(b.make<onnx::SqrtOp>(b.make<onnx::AddOp>(mean, b.scalar(epsilon, element))));
}

static LogicalResult convertSimplifiedLayerNormalization(const ContribOp &c) {
  if (!c.input(0) || !c.input(1))
    return c.missed("an operand is missing");
  OnnxBuilder &b = c.b;
  int64_t axis = c.integer("axis", -1);
  float epsilon = c.number("epsilon", 1e-5f);
  if (c.hasUsedOutput(1)) {
    if (axis != -1)
      return c.missed("the inverse standard deviation over several dimensions is used");
    c.replace(1, inverseDeviation(b, c.input(0), epsilon));
  }
  c.replace(0, b.make<onnx::RMSNormalizationOp>(c.input(0), c.input(1), b.getI64IntegerAttr(axis),
                                                b.getF32FloatAttr(epsilon),
                                                b.getI64IntegerAttr(c.integer("stash_type", 1))));
  return success();
}

/// output = norm(input + skip + bias), with mean, inverse deviation and sum as the other results.
static LogicalResult convertSkipNormalization(const ContribOp &c) {
  bool simplified = c.op.getOpType() == "SkipSimplifiedLayerNormalization";
  Value input = c.input(0), skip = c.input(1), gamma = c.input(2);
  Value beta = simplified ? Value() : c.input(3), bias = c.input(simplified ? 3 : 4);
  if (!input || !skip || !gamma)
    return c.missed("an operand is missing");
  if (simplified && c.hasUsedOutput(1))
    return c.missed("the mean is used, which this norm has not");
  OnnxBuilder &b = c.b;
  // The bias belongs to the product before the residual add, which is `skip` in what the exporters write.
  if (bias)
    skip = b.make<onnx::AddOp>(skip, bias);
  Value sum = b.make<onnx::AddOp>(input, skip);
  FloatAttr epsilon = b.getF32FloatAttr(c.number("epsilon", 1e-12f));
  if (simplified) {
    c.replace(0,
              b.make<onnx::RMSNormalizationOp>(sum, gamma, b.getI64IntegerAttr(-1), epsilon, b.getI64IntegerAttr(1)));
    if (c.hasUsedOutput(2))
      c.replace(2, inverseDeviation(b, sum, epsilon.getValue().convertToFloat()));
  } else {
    auto unranked = UnrankedTensorType::get(b.getF32Type());
    Type mean = c.hasUsedOutput(1) ? unranked : Type(), deviation = c.hasUsedOutput(2) ? unranked : Type();
    auto norm = onnx::LayerNormalizationOp::create(b, b.getLocation(), sum.getType(), mean, deviation, sum, gamma, beta,
                                                   b.getI64IntegerAttr(-1), epsilon, b.getI64IntegerAttr(1));
    c.replace(0, b.learn(norm.getY()));
    c.replace(1, norm.getMean());
    c.replace(2, norm.getInvStdDev());
  }
  c.replace(3, sum);
  return success();
}

/// The sum of word, position and segment embeddings, normalised, and how many tokens of each row the mask shows.
static LogicalResult convertEmbedLayerNormalization(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value ids = c.input(0), segments = c.input(1), words = c.input(2), places = c.input(3), segmentTable = c.input(4);
  Value gamma = c.input(5), beta = c.input(6), mask = c.input(7), positions = c.input(8);
  if (!ids || !words || !places || !gamma || !beta || !segments != !segmentTable)
    return c.missed("an operand is missing");
  if (!positions) {
    Value limit = b.sizeScalar(c.shapes.getDim(ids, 1));
    if (!limit)
      return c.missed("the length of the sequence is not the size of an argument");
    positions = b.make<onnx::RangeOp>(b.scalar(0, b.getI64Type()), limit, b.scalar(1, b.getI64Type()));
  }
  Value sum = b.make<onnx::AddOp>(b.make<onnx::GatherOp>(words, ids, 0), b.make<onnx::GatherOp>(places, positions, 0));
  if (segments)
    sum = b.make<onnx::AddOp>(sum, b.make<onnx::GatherOp>(segmentTable, segments, 0));
  FloatAttr epsilon = b.getF32FloatAttr(c.number("epsilon", 1e-12f));
  c.replace(0, b.learn(onnx::LayerNormalizationOp::create(b, b.getLocation(), sum, gamma, beta, -1, epsilon).getY()));
  if (c.hasUsedOutput(1)) {
    Value counted = mask;
    if (!counted) { // no mask: zero
      Value wide = b.makeOf<onnx::CastOp>(b.getI32Type(), ids, TypeAttr::get(b.getI32Type()));
      counted = b.make<onnx::SubOp>(wide, wide);
    }
    c.replace(1, b.make<onnx::ReduceSumOp>(counted, b.ints({1}), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0)));
  }
  c.replace(2, sum);
  return success();
}

static LogicalResult convertBiasAdd(const ContribOp &c) {
  if (!c.input(0) || !c.input(1) || !c.input(2))
    return c.missed("an operand is missing");
  OnnxBuilder &b = c.b;
  c.replace(0, b.make<onnx::AddOp>(b.make<onnx::AddOp>(c.input(0), c.input(1)), c.input(2)));
  return success();
}

/// q * cos(angles) + rotated q * sin(angles), and the same of k; the angles are [B, S, D].
static LogicalResult convertGemmaRotaryEmbedding(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  for (unsigned i = 0; i < 5; ++i)
    if (!c.input(i))
      return c.missed("an operand is missing");
  Value angles = b.unsqueeze(c.input(0), {1});
  Type element = getElementTypeOrSelf(c.input(1));
  auto narrowed = [&](Value x) {
    return getElementTypeOrSelf(x) == element ? x : b.makeOf<onnx::CastOp>(element, x, TypeAttr::get(element));
  };
  Value cos = narrowed(b.make<onnx::CosOp>(angles)), sin = narrowed(b.make<onnx::SinOp>(angles));
  for (unsigned i : {0, 1})
    c.replace(i, b.make<onnx::AddOp>(b.make<onnx::MulOp>(c.input(1 + 2 * i), cos),
                                     b.make<onnx::MulOp>(c.input(2 + 2 * i), sin)));
  return success();
}

/// Gelu of the input and an optional bias, in the three forms.
static LogicalResult convertGelu(const ContribOp &c) {
  Value x = c.input(0);
  if (!x)
    return c.missed("an operand is missing");
  OnnxBuilder &b = c.b;
  if (Value bias = c.input(1))
    x = b.make<onnx::AddOp>(x, bias);
  c.replace(0, b.make<onnx::GeluOp>(x, b.getStringAttr(c.op.getOpType() == "FastGelu" ? "tanh" : "none")));
  return success();
}

static LogicalResult convertQuickGelu(const ContribOp &c) {
  if (!c.input(0))
    return c.missed("an operand is missing");
  c.replace(0, c.b.make<onnx::SwishOp>(c.input(0), c.b.getF32FloatAttr(c.number("alpha", 1.702f))));
  return success();
}

static LogicalResult convertFusedMatMul(const ContribOp &c) {
  if (c.integer("transBatchA", 0) || c.integer("transBatchB", 0))
    return c.missed("transBatchA and transBatchB are not supported");
  if (!c.input(0) || !c.input(1))
    return c.missed("an operand is missing");
  OnnxBuilder &b = c.b;
  SmallVector<Value> operands{c.input(0), c.input(1)};
  const StringRef names[] = {"transA", "transB"};
  for (auto [operand, name] : llvm::zip_equal(operands, names)) {
    auto rank = c.shapes.getRank(operand);
    if (!c.integer(name, 0) || rank == 1) // a vector is not transposed
      continue;
    if (!rank)
      return c.missed("the rank of a transposed operand is not known");
    SmallVector<int64_t> perm = llvm::to_vector(llvm::seq<int64_t>(0, *rank));
    std::swap(perm[*rank - 1], perm[*rank - 2]);
    operand = b.transpose(operand, perm);
  }
  Value result = b.make<onnx::MatMulOp>(operands[0], operands[1]);
  if (float alpha = c.number("alpha", 1.0f); alpha != 1.0f)
    result = b.make<onnx::MulOp>(result, b.scalar(alpha, getElementTypeOrSelf(result)));
  c.replace(0, result);
  return success();
}

static ContribConverter findConverter(onnx::CustomOp op) {
  static const llvm::StringMap<ContribConverter> own = {
      // onnxruntime-genai writes it in the default domain, where ONNX has no such operator.
      {"SimplifiedLayerNormalization", convertSimplifiedLayerNormalization},
      {"Softmax", convertOldSoftmax},
      {"LogSoftmax", convertOldSoftmax},
      {"GroupNormalization", convertOldGroupNormalization},
  };
  if (op.getDomain().empty()) {
    ContribConverter old = own.lookup(op.getOpType());
    return old ? old : findFormula(op.getOpType());
  }
  if (op.getDomain() != "com.microsoft")
    return nullptr;
  static const llvm::StringMap<ContribConverter> converters = {
      {"SimplifiedLayerNormalization", convertSimplifiedLayerNormalization},
      {"SkipSimplifiedLayerNormalization", convertSkipNormalization},
      {"SkipLayerNormalization", convertSkipNormalization},
      {"Gelu", convertGelu},
      {"BiasGelu", convertGelu},
      {"FastGelu", convertGelu},
      {"QuickGelu", convertQuickGelu},
      {"FusedMatMul", convertFusedMatMul},
      {"BiasAdd", convertBiasAdd},
      {"EmbedLayerNormalization", convertEmbedLayerNormalization},
      {"GemmaRotaryEmbedding", convertGemmaRotaryEmbedding},
      {"Attention", convertPackedAttention},
      {"MatMulNBits", convertMatMulNBits},
      {"GatherBlockQuantized", convertGatherBlockQuantized},
      {"MoE", convertMoE},
      {"GroupQueryAttention", convertGroupQueryAttention},
      {"MultiHeadAttention", convertMultiHeadAttention},
      {"RotaryEmbedding", convertRotaryEmbedding},
  };
  return converters.lookup(op.getOpType());
}

namespace {

class ConvertContrib : public caat::impl::ONNXConvertContribPassBase<ConvertContrib> {
public:
  using ONNXConvertContribPassBase::ONNXConvertContribPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (!hasAny<onnx::CustomOp>(function)) {
      markAllAnalysesPreserved();
      return;
    }
    // In order, so that each op sees the shapes of what the ops before it became.
    SymbolicShapes shapes = SymbolicShapes::ofArguments(function);
    Block &body = function.getBody().front();
    for (Operation &op : llvm::make_early_inc_range(body)) {
      auto custom = dyn_cast<onnx::CustomOp>(op);
      ContribConverter converter = custom ? findConverter(custom) : nullptr;
      OnnxBuilder builder(&op, shapes);
      if (!converter) {
        if (isa<onnx::ONNXDialect>(op.getDialect()) && op.getNumResults() > 0 &&
            !isa<onnx::ConstantOp, onnx::GetInitializerOp>(op))
          builder.learn(op.getResult(0));
        else
          shapes.visit(&op);
        continue;
      }
      if (succeeded(converter({custom, builder, shapes, rowLengths}))) {
        remarkPassed(&op, "convert-contrib", custom.getOpType() + " converted");
        continue;
      }
      shapes.visit(&op);
    }
    eraseDeadOps(body);
    // Results of converted ops may have more precise types than the function said.
    Operation *terminator = body.getTerminator();
    function.setType(FunctionType::get(&getContext(), function.getArgumentTypes(), terminator->getOperandTypes()));
  }
};

} // namespace
