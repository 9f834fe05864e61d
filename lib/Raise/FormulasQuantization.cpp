// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators on quantised tensors: products and convolutions of 32-bit integers, exact as ONNX wants them.
#include "Formulas.h"

using namespace mlir;

namespace caat {

/// x - zero point, as 32-bit integers. A zero point for each row (or channel) comes as a vector and is stood up.
static Value centred(const ContribOp &c, Value x, Value zeroPoint, ArrayRef<int64_t> standUp) {
  Arithmetic m{c.b};
  Type i32 = c.b.getI32Type();
  Value result = m.cast(x, i32);
  if (!zeroPoint)
    return result;
  Value point = m.cast(zeroPoint, i32);
  auto rank = c.shapes.getRank(point);
  if (rank == 1 && c.shapes.getStaticDim(point, 0) != 1 && !standUp.empty())
    point = c.b.unsqueeze(point, standUp);
  return m.sub(result, point);
}

/// A scale as f32, stood up where there is one for each row or channel.
static Value scaleOf(const ContribOp &c, Value scale, ArrayRef<int64_t> standUp) {
  Value result = Arithmetic{c.b}.cast(scale, c.b.getF32Type());
  if (c.shapes.getRank(result) == 1 && c.shapes.getStaticDim(result, 0) != 1 && !standUp.empty())
    result = c.b.unsqueeze(result, standUp);
  return result;
}

/// Integers times the product of both scales, quantised by the result's scale.
static Value requantized(const ContribOp &c, Value sums, Value scale, Value resultScale, Value zeroPoint) {
  OnnxBuilder &b = c.b;
  Arithmetic m{b};
  Type f32 = b.getF32Type();
  Value real = m.mul(m.cast(sums, f32), scale);
  IntegerAttr no = b.getI64IntegerAttr(0), yes = b.getI64IntegerAttr(1);
  return b.makeOf<onnx::QuantizeLinearOp>(getElementTypeOrSelf(zeroPoint), real, m.cast(resultScale, f32), zeroPoint,
                                          yes, no, no, no, yes);
}

static LogicalResult checkOperands(const ContribOp &c, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    if (!c.input(i))
      return c.missed("an operand is missing");
  return success();
}

static LogicalResult convertMatMulInteger(const ContribOp &c) {
  if (failed(checkOperands(c, 2)))
    return failure();
  Value a = centred(c, c.input(0), c.input(2), {1}), b = centred(c, c.input(1), c.input(3), {});
  c.replace(0, c.b.make<onnx::MatMulOp>(a, b));
  return success();
}

static LogicalResult convertQLinearMatMul(const ContribOp &c) {
  if (failed(checkOperands(c, 8)))
    return failure();
  Value a = centred(c, c.input(0), c.input(2), {1}), b = centred(c, c.input(3), c.input(5), {});
  Value scale = Arithmetic{c.b}.mul(scaleOf(c, c.input(1), {1}), scaleOf(c, c.input(4), {}));
  c.replace(0, requantized(c, c.b.make<onnx::MatMulOp>(a, b), scale, c.input(6), c.input(7)));
  return success();
}

/// Conv of 32-bit integers with the attributes of `c`; null where the rank is not known.
static Value integerConv(const ContribOp &c, Value x, Value xPoint, Value w, Value wPoint, Value bias) {
  auto rank = c.shapes.getRank(w);
  if (!rank || *rank < 3)
    return {};
  OnnxBuilder &b = c.b;
  auto axes = llvm::to_vector(llvm::seq<int64_t>(1, *rank));
  DictionaryAttr given = c.op.getNodeAttributes();
  auto list = [&](StringRef name) { return given.getAs<DenseI64ArrayAttr>(name); };
  auto autoPad = given.getAs<StringAttr>("auto_pad");
  return b.make<onnx::ConvOp>(centred(c, x, xPoint, {}), centred(c, w, wPoint, axes), bias,
                              autoPad ? autoPad : b.getStringAttr("NOTSET"), list("dilations"),
                              b.getI64IntegerAttr(c.integer("group", 1)), list("kernel_shape"), list("pads"),
                              list("strides"));
}

static LogicalResult convertConvInteger(const ContribOp &c) {
  if (failed(checkOperands(c, 2)))
    return failure();
  Value y = integerConv(c, c.input(0), c.input(2), c.input(1), c.input(3), Value());
  if (!y)
    return c.missed("the rank of its kernel is not known");
  c.replace(0, y);
  return success();
}

static LogicalResult convertQLinearConv(const ContribOp &c) {
  if (failed(checkOperands(c, 8)))
    return failure();
  Value sums = integerConv(c, c.input(0), c.input(2), c.input(3), c.input(5), c.input(8));
  if (!sums)
    return c.missed("the rank of its kernel is not known");
  auto axes = llvm::to_vector(llvm::seq<int64_t>(1, *c.shapes.getRank(c.input(3)) - 1));
  Value scale = Arithmetic{c.b}.mul(scaleOf(c, c.input(1), {}), scaleOf(c, c.input(4), axes));
  c.replace(0, requantized(c, sums, scale, c.input(6), c.input(7)));
  return success();
}

/// To 8 bits without sign, by the range of the operand and 0.
static LogicalResult convertDynamicQuantizeLinear(const ContribOp &c) {
  Value x = c.input(0);
  if (!x)
    return c.missed("an operand is missing");
  OnnxBuilder &b = c.b;
  Arithmetic m{b};
  Type byte = b.getIntegerType(8, /*isSigned=*/false);
  Value zero = m.scalar(0, x), top = m.scalar(255, x);
  Value highest = m.max(m.reduce<onnx::ReduceMaxOp>(x, {}, false), zero);
  Value lowest = m.min(m.reduce<onnx::ReduceMinOp>(x, {}, false), zero);
  Value scale = m.div(m.sub(highest, lowest), top);
  scale = m.where(m.equal(scale, zero), m.scalar(1, x), scale); // all elements are 0
  Value point = m.div(m.sub(zero, lowest), scale);
  point = m.min(m.max(b.make<onnx::RoundOp>(point), zero), top);
  point = m.cast(point, byte);
  IntegerAttr no = b.getI64IntegerAttr(0), yes = b.getI64IntegerAttr(1);
  c.replace(0, b.makeOf<onnx::QuantizeLinearOp>(byte, x, scale, point, yes, no, no, no, yes));
  c.replace(1, scale);
  c.replace(2, point);
  return success();
}

void addQuantizationFormulas(FormulaTable &table) {
  table.insert({"MatMulInteger", convertMatMulInteger});
  table.insert({"QLinearMatMul", convertQLinearMatMul});
  table.insert({"ConvInteger", convertConvInteger});
  table.insert({"QLinearConv", convertQLinearConv});
  table.insert({"DynamicQuantizeLinear", convertDynamicQuantizeLinear});
}

} // namespace caat
