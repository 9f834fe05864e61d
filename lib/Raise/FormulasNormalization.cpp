// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Normalisations that are formulas over reductions, or special cases of typed ones.
#include "Formulas.h"

using namespace mlir;

namespace caat {

/// x / norm(x), where the norm is 0: 0.
static LogicalResult convertLpNormalization(const ContribOp &c) {
  Value x = c.input(0);
  if (!x)
    return c.missed("an operand is missing");
  Arithmetic m{c.b};
  int64_t axis = c.integer("axis", -1), p = c.integer("p", 2);
  if (p != 1 && p != 2)
    return c.missed("p is neither 1 nor 2");
  Value norm = p == 1 ? m.reduce<onnx::ReduceL1Op>(x, {axis}, true) : m.reduce<onnx::ReduceL2Op>(x, {axis}, true);
  Value isZero = m.equal(norm, m.scalar(0, x));
  c.replace(0, m.div(x, m.where(isZero, m.scalar(1, x), norm)));
  return success();
}

static LogicalResult convertMeanVarianceNormalization(const ContribOp &c) {
  Value x = c.input(0);
  if (!x)
    return c.missed("an operand is missing");
  SmallVector<int64_t> axes = {0, 2, 3};
  if (auto given = c.op.getNodeAttributes().getAs<DenseI64ArrayAttr>("axes"))
    axes = llvm::to_vector(given.asArrayRef());
  Arithmetic m{c.b};
  Value centred = m.sub(x, m.reduce<onnx::ReduceMeanOp>(x, axes, true));
  Value variance = m.reduce<onnx::ReduceMeanOp>(m.mul(centred, centred), axes, true);
  Value deviation = m.add(c.b.make<onnx::SqrtOp>(variance), m.scalar(1e-9, x));
  c.replace(0, m.div(centred, deviation));
  return success();
}

/// GroupNormalization with one channel in a group.
static LogicalResult convertInstanceNormalization(const ContribOp &c) {
  auto channels = c.input(0) ? c.shapes.getStaticDim(c.input(0), 1) : std::nullopt;
  if (!channels || !c.input(1) || !c.input(2))
    return c.missed("the number of channels is not static");
  OnnxBuilder &b = c.b;
  c.replace(0,
            b.make<onnx::GroupNormalizationOp>(c.input(0), c.input(1), c.input(2), b.getI64IntegerAttr(*channels),
                                               b.getF32FloatAttr(c.number("epsilon", 1e-5f)), b.getI64IntegerAttr(1)));
  return success();
}

/// A factor and a summand for each channel.
static LogicalResult convertBatchNormalization(const ContribOp &c) {
  for (unsigned i = 0; i < 5; ++i)
    if (!c.input(i))
      return c.missed("an operand is missing");
  if (c.integer("spatial", 1) == 0)
    return c.missed("statistics for each position (spatial = 0) are not supported");
  bool training = c.integer("training_mode", 0) != 0;
  for (unsigned i = 1; i < 5; ++i)
    training |= c.hasUsedOutput(i);
  if (training)
    return c.missed("it is in training mode, which is not supported");
  Value x = c.input(0);
  auto rank = c.shapes.getRank(x);
  if (!rank || *rank < 2)
    return c.missed("the rank of its operand is not known");
  Arithmetic m{c.b};
  Type element = getElementTypeOrSelf(x);
  auto widened = [&](unsigned i) { return m.cast(c.input(i), element); };
  Value scale = widened(1), bias = widened(2), mean = widened(3), variance = widened(4);
  Value deviation = c.b.make<onnx::SqrtOp>(m.add(variance, m.scalar(c.number("epsilon", 1e-5f), variance)));
  Value factor = m.div(scale, deviation), summand = m.sub(bias, m.mul(mean, factor));
  if (*rank > 2) {
    auto axes = llvm::to_vector(llvm::seq<int64_t>(1, *rank - 1));
    factor = c.b.unsqueeze(factor, axes);
    summand = c.b.unsqueeze(summand, axes);
  }
  c.replace(0, m.add(m.mul(x, factor), summand));
  return success();
}

/// Local response normalisation: the mean square over a window of channels is an AveragePool over [N, 1, C, positions].
static LogicalResult convertLRN(const ContribOp &c) {
  Value x = c.input(0);
  auto dims = x ? c.shapes.getDims(x) : std::nullopt;
  auto channels = x ? c.shapes.getStaticDim(x, 1) : std::nullopt;
  int64_t size = c.integer("size", 0);
  if (!dims || !channels || size < 1)
    return c.missed("the number of channels is not static");
  OnnxBuilder &b = c.b;
  Arithmetic m{b};
  Value squares = b.unsqueeze(b.reshape(m.mul(x, x), {0, *channels, -1}), {1});
  int64_t before = (size - 1) / 2;
  IntegerAttr no = b.getI64IntegerAttr(0), yes = b.getI64IntegerAttr(1);
  Value mean = b.make<onnx::AveragePoolOp>(
      squares, b.getDenseI64ArrayAttr({size, 1}), b.getStringAttr("NOTSET"), no, DenseI64ArrayAttr(),
      b.getDenseI64ArrayAttr({before, 0, size - 1 - before, 0}), DenseI64ArrayAttr(), yes);
  Value shape = b.makeOf<onnx::ShapeOp>(b.getI64Type(), x, IntegerAttr(), no);
  mean = b.make<onnx::ReshapeOp>(mean, shape, yes);
  Value base = m.add(m.scalar(c.number("bias", 1.0f), x), m.mul(mean, m.scalar(c.number("alpha", 1e-4f), x)));
  Value power = b.make<onnx::PowOp>(base, m.scalar(c.number("beta", 0.75f), x));
  c.replace(0, m.div(x, power));
  return success();
}

void addNormalizationFormulas(FormulaTable &table) {
  table.insert({"LpNormalization", convertLpNormalization});
  table.insert({"MeanVarianceNormalization", convertMeanVarianceNormalization});
  table.insert({"InstanceNormalization", convertInstanceNormalization});
  table.insert({"BatchNormalization", convertBatchNormalization});
  table.insert({"LRN", convertLRN});
}

} // namespace caat
