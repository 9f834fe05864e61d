// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MoE of com.microsoft. All experts run, as one wide MLP [H, E * I] whose hidden units are scaled by their expert's
// share: sharded like any MLP, and exact, but with E / k times the products that the chosen experts need.
#include "Contrib.h"

using namespace mlir;

namespace caat {

/// Each token's share of each expert [T, E]: softmax of the router, only the `k` largest, perhaps made to add up to
/// one.
static Value expertShares(const ContribOp &c, Value router, int64_t experts, int64_t k) {
  OnnxBuilder &b = c.b;
  Type element = getElementTypeOrSelf(router);
  Value shares = b.make<onnx::SoftmaxOp>(router, b.getI64IntegerAttr(-1));
  Type types[] = {UnrankedTensorType::get(element), UnrankedTensorType::get(b.getI64Type())};
  auto best = onnx::TopKOp::create(b, b.getLocation(), types[0], types[1], shares, b.ints({k}), b.getI64IntegerAttr(-1),
                                   b.getI64IntegerAttr(1), b.getI64IntegerAttr(1));
  b.learn(best.getValues());
  // A sum of k rows, each one where the expert is the one chosen.
  Value places = b.ints(llvm::to_vector(llvm::seq<int64_t>(0, experts)));
  Value chosen = b.makeOf<onnx::EqualOp>(b.getI1Type(), b.unsqueeze(best.getIndices(), {-1}), places); // [T, k, E]
  Value ones = b.makeOf<onnx::CastOp>(element, chosen, TypeAttr::get(element));
  Value mask = b.make<onnx::ReduceSumOp>(ones, b.ints({1}), b.getI64IntegerAttr(0), b.getI64IntegerAttr(0));
  Value kept = b.make<onnx::MulOp>(shares, mask);
  if (!c.integer("normalize_routing_weights", 0))
    return kept;
  Value sum = b.make<onnx::ReduceSumOp>(kept, b.ints({1}), b.getI64IntegerAttr(1), b.getI64IntegerAttr(0));
  return b.make<onnx::DivOp>(kept, sum);
}

static Value activate(const ContribOp &c, Value x, StringRef kind) {
  OnnxBuilder &b = c.b;
  if (kind == "relu")
    return b.make<onnx::ReluOp>(x);
  if (kind == "gelu")
    return b.make<onnx::GeluOp>(x, b.getStringAttr("tanh"));
  if (kind == "silu")
    return b.make<onnx::SwishOp>(x, b.getF32FloatAttr(1));
  return kind == "identity" ? x : Value();
}

LogicalResult convertMoE(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value x = c.input(0), router = c.input(1), up = c.input(2), upBias = c.input(3), down = c.input(4);
  Value downBias = c.input(5), gate = c.input(6), gateBias = c.input(7);
  auto kindAttr = c.op.getNodeAttributes().getAs<StringAttr>("activation_type");
  StringRef kind = kindAttr ? kindAttr.getValue() : "relu";
  if (!x || !router || !up || !down)
    return c.missed("an operand is missing");
  if (c.integer("use_sparse_mixer", 0) || kind == "swiglu")
    return c.missed(kind == "swiglu" ? "activation_type swiglu is not supported" : "the sparse mixer is not supported");
  auto experts = c.shapes.getStaticDim(up, 0), inner = c.shapes.getStaticDim(up, 1),
       hidden = c.shapes.getStaticDim(up, 2);
  int64_t k = c.integer("k", 1);
  auto downInner = c.shapes.getStaticDim(down, 2);
  if (c.shapes.getRank(up) != 3 || !experts || *experts > kMaxCount || !inner || !hidden || downInner != inner ||
      k < 1 || k > *experts || c.shapes.getStaticDim(x, -1) != hidden)
    return c.missed("the weights must be [experts, inner, hidden] and [experts, hidden, inner]");
  auto rank = c.shapes.getRank(x);
  if (rank != 2 && rank != 3)
    return c.missed("the input must have rank 2 or 3");

  Value shares = expertShares(c, router, *experts, k); // [T, E]
  Value tokens = rank == 3 ? b.reshape(x, {-1, *hidden}) : x;
  auto product = [&](Value weight, Value bias) {
    Value y = b.make<onnx::MatMulOp>(tokens, b.transpose(b.reshape(weight, {*experts * *inner, *hidden}), {1, 0}));
    return bias ? b.make<onnx::AddOp>(y, b.reshape(bias, {*experts * *inner})) : y;
  };
  Value wide = activate(c, product(up, upBias), kind);
  if (!wide)
    return c.missed("activation_type " + kind + " is not supported");
  if (gate)
    wide = b.make<onnx::MulOp>(wide, product(gate, gateBias));
  Value scaled = b.make<onnx::MulOp>(b.reshape(wide, {-1, *experts, *inner}), b.unsqueeze(shares, {2}));
  Value flat = b.reshape(scaled, {-1, *experts * *inner});
  Value y = b.make<onnx::MatMulOp>(flat, b.reshape(b.transpose(down, {0, 2, 1}), {*experts * *inner, *hidden}));
  if (downBias)
    y = b.make<onnx::AddOp>(y, b.make<onnx::MatMulOp>(shares, downBias));
  if (rank == 3) {
    Value shape = b.sizeVector({c.shapes.getDim(x, 0), c.shapes.getDim(x, 1), c.shapes.getDim(x, 2)});
    if (!shape)
      return c.missed("the sizes of batch and sequence are not those of an argument");
    y = b.make<onnx::ReshapeOp>(y, shape);
  }
  c.replace(0, y);
  remarkPassed(c.op, "mixture-of-experts",
               "all " + Twine(*experts) + " experts run for every token, " + Twine(k) + " of them count");
  return success();
}

} // namespace caat
