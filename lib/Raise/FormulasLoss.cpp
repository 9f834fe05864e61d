// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Losses: what models that were exported for evaluation end in.
#include "Formulas.h"

using namespace mlir;

namespace caat {

/// -input[target] of each sample, weighted by class, and the reduction over the samples. `input` is [N, C, ...].
static LogicalResult negativeLogLikelihood(const ContribOp &c, Value input, Value target, Value weight) {
  OnnxBuilder &b = c.b;
  Arithmetic m{b};
  auto reductionAttr = c.op.getNodeAttributes().getAs<StringAttr>("reduction");
  StringRef reduction = reductionAttr ? reductionAttr.getValue() : "mean";
  Value factor, ignored, zero = m.scalar(0, input), chosen = target;
  if (c.op.getNodeAttributes().get("ignore_index")) {
    ignored = m.equal(target, m.scalar(c.integer("ignore_index", 0), target));
    chosen = m.where(ignored, m.scalar(0, target), target);
  }
  if (weight)
    factor = b.make<onnx::GatherOp>(weight, chosen, b.getI64IntegerAttr(0));
  if (ignored)
    factor = m.where(ignored, zero, factor ? factor : m.scalar(1, input));
  Value picked = b.make<onnx::GatherElementsOp>(input, b.unsqueeze(chosen, {1}), b.getI64IntegerAttr(1));
  Value loss = b.make<onnx::NegOp>(b.make<onnx::SqueezeOp>(picked, b.ints({1})));
  if (factor)
    loss = m.mul(loss, factor);
  if (reduction == "sum")
    loss = m.reduce<onnx::ReduceSumOp>(loss, {}, false);
  else if (reduction == "mean" && factor)
    loss = m.div(m.reduce<onnx::ReduceSumOp>(loss, {}, false), m.reduce<onnx::ReduceSumOp>(factor, {}, false));
  else if (reduction == "mean")
    loss = m.reduce<onnx::ReduceMeanOp>(loss, {}, false);
  else if (reduction != "none")
    return c.missed("reduction '" + reduction + "' is not known");
  c.replace(0, loss);
  return success();
}

static LogicalResult convertNegativeLogLikelihoodLoss(const ContribOp &c) {
  if (!c.input(0) || !c.input(1))
    return c.missed("an operand is missing");
  return negativeLogLikelihood(c, c.input(0), c.input(1), c.input(2));
}

static LogicalResult convertSoftmaxCrossEntropyLoss(const ContribOp &c) {
  if (!c.input(0) || !c.input(1))
    return c.missed("an operand is missing");
  Value logarithms = c.b.make<onnx::LogSoftmaxOp>(c.input(0), c.b.getI64IntegerAttr(1));
  if (failed(negativeLogLikelihood(c, logarithms, c.input(1), c.input(2))))
    return failure();
  c.replace(1, logarithms);
  return success();
}

void addLossFormulas(FormulaTable &table) {
  table.insert({"NegativeLogLikelihoodLoss", convertNegativeLogLikelihoodLoss});
  table.insert({"SoftmaxCrossEntropyLoss", convertSoftmaxCrossEntropyLoss});
}

} // namespace caat
