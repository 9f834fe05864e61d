// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators that are formulas over others, with what ONNX says of them: those that are none of the special kinds.
#include "Formulas.h"

using namespace mlir;

namespace caat {

/// Swish of the gate times the value.
static LogicalResult convertSwiGLU(const ContribOp &c) {
  if (!c.input(0) || !c.input(1))
    return c.missed("an operand is missing");
  Value gate = c.b.make<onnx::SwishOp>(c.input(0), c.b.getF32FloatAttr(c.number("alpha", 1.0f)));
  c.replace(0, c.b.make<onnx::MulOp>(gate, c.input(1)));
  return success();
}

/// Outside of training the operand, and a mask that keeps everything.
static LogicalResult convertDropout(const ContribOp &c) {
  Value x = c.input(0);
  if (!x)
    return c.missed("an operand is missing");
  if (Value training = c.input(2)) {
    auto value = onnx::constantInts(training);
    auto ratio = c.input(1) ? onnx::constantFloat(c.input(1)) : std::optional<double>(0.5);
    if (!value || (*value != SmallVector<int64_t>{0} && ratio != 0))
      return c.missed("it may be in training mode, which is not supported");
  }
  OnnxBuilder &b = c.b;
  c.replace(0, b.make<onnx::IdentityOp>(x));
  if (c.hasUsedOutput(1)) {
    Value shape = b.makeOf<onnx::ShapeOp>(b.getI64Type(), x, IntegerAttr(), b.getI64IntegerAttr(0));
    auto one = DenseElementsAttr::get(RankedTensorType::get({1}, b.getI1Type()), true);
    c.replace(1, b.makeOf<onnx::ConstantOfShapeOp>(b.getI1Type(), shape, one));
  }
  return success();
}

/// 1 at the first of the largest elements along the axis, 0 elsewhere.
static LogicalResult convertHardmax(const ContribOp &c) {
  Value x = c.input(0);
  auto dims = x ? c.shapes.getDims(x) : std::nullopt;
  if (!dims)
    return c.missed("the rank of its operand is not known");
  OnnxBuilder &b = c.b;
  bool coerces = c.op.getVersion() < 13; // to a matrix, at the axis
  int64_t axis = c.integer("axis", coerces ? 1 : -1);
  Value data = coerces ? b.make<onnx::FlattenOp>(x, b.getI64IntegerAttr(axis)) : x;
  auto place = onnx::normalizeAxis(coerces ? 1 : axis, coerces ? 2 : dims->size());
  Value depth = place ? b.sizeScalar(c.shapes.getDim(data, *place)) : Value();
  if (!depth)
    return c.missed("the size of its axis is not known");
  IntegerAttr along = b.getI64IntegerAttr(*place), no = b.getI64IntegerAttr(0);
  Value largest = b.makeOf<onnx::ArgMaxOp>(b.getI64Type(), data, along, no, no);
  Type element = getElementTypeOrSelf(x);
  Value values =
      Arithmetic{b}.concat({b.unsqueeze(b.scalar(0, element), {0}), b.unsqueeze(b.scalar(1, element), {0})}, 0);
  Value result = b.makeOf<onnx::OneHotOp>(element, largest, depth, values, along);
  if (coerces) {
    Value shape = b.makeOf<onnx::ShapeOp>(b.getI64Type(), x, IntegerAttr(), no);
    result = b.make<onnx::ReshapeOp>(result, shape, b.getI64IntegerAttr(1));
  }
  c.replace(0, result);
  return success();
}

/// 1 where the column is the row plus k.
static LogicalResult convertEyeLike(const ContribOp &c) {
  Value x = c.input(0);
  auto dims = x ? c.shapes.getDims(x) : std::nullopt;
  if (!dims || dims->size() != 2)
    return c.missed("its operand is not known to be a matrix");
  OnnxBuilder &b = c.b;
  Type i64 = b.getI64Type(), element = getElementTypeOrSelf(c.op.getOutputs().front());
  auto places = [&](int64_t dim) -> Value {
    Value size = b.sizeScalar((*dims)[dim]);
    return size ? b.make<onnx::RangeOp>(b.scalar(0, i64), size, b.scalar(1, i64), b.getI64IntegerAttr(1)) : Value();
  };
  Value rows = places(0), columns = places(1);
  if (!rows || !columns)
    return c.missed("the sizes of its operand are not known");
  Arithmetic m{b};
  Value diagonal = b.unsqueeze(m.add(rows, b.scalar(c.integer("k", 0), i64)), {1});
  c.replace(0, m.cast(m.equal(diagonal, columns), element));
  return success();
}

/// The slices at which a constant condition holds, of the flattened operand where no axis is given.
static LogicalResult convertCompress(const ContribOp &c) {
  Value x = c.input(0), condition = c.input(1);
  auto holds = condition ? onnx::constantInts(condition) : std::nullopt;
  if (!x || !holds)
    return c.missed("its condition is not constant, on which the size of the result depends");
  SmallVector<int64_t> chosen;
  for (auto [i, value] : llvm::enumerate(*holds))
    if (value)
      chosen.push_back(i);
  OnnxBuilder &b = c.b;
  bool hasAxis = static_cast<bool>(c.op.getNodeAttributes().get("axis"));
  Value data = hasAxis ? x : b.reshape(x, {-1});
  c.replace(0, b.make<onnx::GatherOp>(data, b.ints(chosen), b.getI64IntegerAttr(c.integer("axis", 0))));
  return success();
}

/// A reduction of all spatial dimensions.
static LogicalResult convertGlobalPool(const ContribOp &c) {
  Value x = c.input(0);
  auto rank = x ? c.shapes.getRank(x) : std::nullopt;
  if (!rank || *rank < 3)
    return c.missed("the rank of its operand is not known");
  auto axes = llvm::to_vector(llvm::seq<int64_t>(2, *rank));
  Arithmetic m{c.b};
  StringRef name = c.op.getOpType();
  int64_t p = c.integer("p", 2);
  if (name == "GlobalAveragePool")
    c.replace(0, m.reduce<onnx::ReduceMeanOp>(x, axes, true));
  else if (name == "GlobalMaxPool")
    c.replace(0, m.reduce<onnx::ReduceMaxOp>(x, axes, true));
  else if (p == 1)
    c.replace(0, m.reduce<onnx::ReduceL1Op>(x, axes, true));
  else if (p == 2)
    c.replace(0, m.reduce<onnx::ReduceL2Op>(x, axes, true));
  else
    return c.missed("p is neither 1 nor 2");
  return success();
}

/// Convolution of each channel over past and present, and its last positions as the next state.
static LogicalResult convertCausalConv(const ContribOp &c) {
  Value x = c.input(0), weight = c.input(1), past = c.input(3);
  auto channels = x ? c.shapes.getStaticDim(x, 1) : std::nullopt;
  auto kernel = weight ? c.shapes.getStaticDim(weight, 2) : std::nullopt;
  if (!channels || !kernel)
    return c.missed("the number of channels or the size of the kernel is not static");
  auto activation = c.op.getNodeAttributes().getAs<StringAttr>("activation");
  bool plain = !activation || activation.getValue() == "none";
  if (!plain && activation.getValue() != "silu" && activation.getValue() != "swish")
    return c.missed("activation '" + activation.getValue() + "' is not known");
  OnnxBuilder &b = c.b;
  int64_t kept = *kernel - 1;
  Value whole = past;
  if (!past)
    whole = b.make<onnx::PadOp>(x, b.ints({0, 0, kept, 0, 0, 0}), Value(), Value(), b.getStringAttr("constant"));
  else
    whole = Arithmetic{b}.concat({past, x}, 2);
  DenseI64ArrayAttr none;
  Value y = b.make<onnx::ConvOp>(whole, weight, c.input(2), b.getStringAttr("NOTSET"), none,
                                 b.getI64IntegerAttr(*channels), none, none, none);
  c.replace(0, plain ? y : b.make<onnx::SwishOp>(y, b.getF32FloatAttr(1.0f)));
  if (c.hasUsedOutput(1)) {
    int64_t end = std::numeric_limits<int64_t>::max();
    c.replace(1, b.slice(whole, 2, kept ? -kept : end, end));
  }
  return success();
}

/// Crops or pads each axis in the middle, to a constant shape.
static LogicalResult convertCenterCropPad(const ContribOp &c) {
  Value x = c.input(0);
  auto dims = x ? c.shapes.getDims(x) : std::nullopt;
  auto target = c.input(1) ? c.shapes.getConstants(c.input(1)) : std::nullopt;
  if (!dims || !target)
    return c.missed("its shape is not constant");
  int64_t rank = dims->size();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank)), pads(2 * rank, 0);
  if (auto given = c.op.getNodeAttributes().getAs<DenseI64ArrayAttr>("axes"))
    axes = llvm::to_vector(given.asArrayRef());
  if (axes.size() != target->size())
    return c.missed("its shape has not as many entries as it has axes");
  OnnxBuilder &b = c.b;
  for (auto [axis, size] : llvm::zip_equal(axes, *target)) {
    auto place = onnx::normalizeAxis(axis, rank);
    auto now = place ? constantDim((*dims)[*place]) : std::nullopt;
    if (!now)
      return c.missed("a dimension that it crops or pads is not static");
    if (*now > size) {
      int64_t start = (*now - size) / 2;
      x = b.slice(x, *place, start, start + size);
    } else {
      pads[*place] = (size - *now) / 2;
      pads[*place + rank] = size - *now - pads[*place];
    }
  }
  c.replace(0, b.make<onnx::PadOp>(x, b.ints(pads), Value(), Value(), b.getStringAttr("constant")));
  return success();
}

ContribConverter findFormula(StringRef opType) {
  static const FormulaTable table = [] {
    FormulaTable table = {{"SwiGLU", convertSwiGLU},
                          {"Dropout", convertDropout},
                          {"Hardmax", convertHardmax},
                          {"EyeLike", convertEyeLike},
                          {"Compress", convertCompress},
                          {"GlobalAveragePool", convertGlobalPool},
                          {"GlobalMaxPool", convertGlobalPool},
                          {"GlobalLpPool", convertGlobalPool},
                          {"CausalConvWithState", convertCausalConv},
                          {"CenterCropPad", convertCenterCropPad}};
    addNormalizationFormulas(table);
    addQuantizationFormulas(table);
    addLossFormulas(table);
    addResampleFormulas(table);
    return table;
  }();
  return table.lookup(opType);
}

} // namespace caat
