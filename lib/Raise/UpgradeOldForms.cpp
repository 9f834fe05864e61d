// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Older forms of ONNX's own operators whose newest form depends on a rank or size that the importer did not know.
#include "Contrib.h"

using namespace mlir;

namespace caat {

/// Softmax and LogSoftmax before opset 13: over all dimensions from `axis` (default 1) on.
LogicalResult convertOldSoftmax(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value x = c.input(0);
  auto rank = x ? c.shapes.getRank(x) : std::nullopt;
  auto axis = rank ? onnx::normalizeAxis(c.integer("axis", 1), *rank) : std::nullopt;
  if (c.op.getVersion() >= 13 || !axis)
    return c.missed("the rank of its operand is not known");
  bool isLog = c.op.getOpType() == "LogSoftmax";
  auto normalize = [&](Value rows) {
    return isLog ? b.make<onnx::LogSoftmaxOp>(rows, b.getI64IntegerAttr(-1))
                 : b.make<onnx::SoftmaxOp>(rows, b.getI64IntegerAttr(-1));
  };
  if (*axis == *rank - 1) {
    c.replace(0, normalize(x));
    return success();
  }
  Value shape = b.makeOf<onnx::ShapeOp>(b.getI64Type(), x, IntegerAttr(), b.getI64IntegerAttr(0));
  Value flat = b.make<onnx::FlattenOp>(x, b.getI64IntegerAttr(*axis));
  c.replace(0, b.make<onnx::ReshapeOp>(normalize(flat), shape, b.getI64IntegerAttr(1)));
  return success();
}

/// GroupNormalization before opset 21: scale and bias per group instead of per channel.
LogicalResult convertOldGroupNormalization(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value x = c.input(0), scale = c.input(1), bias = c.input(2);
  int64_t groups = c.integer("num_groups", 0);
  auto channels = x ? c.shapes.getStaticDim(x, 1) : std::nullopt;
  if (!x || !scale || !bias || !channels || groups <= 0 || *channels % groups != 0)
    return c.missed("its number of channels is not known or no multiple of num_groups");
  auto spread = [&](Value v) {
    Value columns = b.make<onnx::ExpandOp>(b.reshape(v, {groups, 1}), b.ints({groups, *channels / groups}));
    return b.reshape(columns, {*channels});
  };
  c.replace(0,
            b.make<onnx::GroupNormalizationOp>(x, spread(scale), spread(bias), b.getI64IntegerAttr(groups),
                                               b.getF32FloatAttr(c.number("epsilon", 1e-5f)), b.getI64IntegerAttr(1)));
  return success();
}

} // namespace caat
