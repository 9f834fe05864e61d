// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators that are products with matrices which only sizes decide: resizing (Resize, Upsample) and Fourier transforms
// (DFT). The matrices are computed by standard ops, so that sizes may be dynamic; where they are static, they are
// folded.
#include "Formulas.h"

using namespace mlir;

namespace caat {

/// y[..., o, ...] = sum over i of matrix[o, i] * x[..., i, ...] along `axis`.
static Value applyAlong(OnnxBuilder &b, Value x, Value matrix, int64_t axis, int64_t rank) {
  if (axis == rank - 2)
    return b.make<onnx::MatMulOp>(matrix, x);
  Value columns = b.transpose(matrix, {1, 0});
  if (axis == rank - 1)
    return b.make<onnx::MatMulOp>(x, columns);
  SmallVector<int64_t> swapped = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  std::swap(swapped[axis], swapped[rank - 1]);
  return b.transpose(b.make<onnx::MatMulOp>(b.transpose(x, swapped), columns), swapped);
}

/// 0, 1, ... below `size`, a scalar, as numbers of type `element`.
static Value countUp(OnnxBuilder &b, Value size, Type element) {
  Type i64 = b.getI64Type();
  Value count = b.make<onnx::RangeOp>(b.scalar(0, i64), size, b.scalar(1, i64), b.getI64IntegerAttr(1));
  return Arithmetic{b}.cast(count, element);
}

//===--- Resize ---===//

namespace {

/// One axis that changes its size.
struct ResizedAxis {
  int64_t axis;
  unsigned entry; // in scales, sizes and roi
  AffineExpr from, to;
  std::optional<double> scale; // as given; otherwise to / from
};

/// Places and weights are computed in double precision: ties of "nearest" are decided by them.
class Resizer {
public:
  explicit Resizer(const ContribOp &c) : c(c), b(c.b), f64(b.getF64Type()) {}
  LogicalResult run();

private:
  bool readAttributes();
  LogicalResult findAxes();
  LogicalResult findByScales(Value scales, ArrayRef<int64_t> axes);
  LogicalResult findBySizes(Value sizes, ArrayRef<int64_t> axes);
  LogicalResult resize(const ResizedAxis &axis);

  Value number(double value) { return b.scalar(value, f64); }
  Value places(const ResizedAxis &axis, Value outputs);
  Value nearest(Value place);
  Value weightOf(Value distance);
  Value matrix(const ResizedAxis &axis, Value place, Value last);
  StringRef text(StringRef name, StringRef fallback) {
    auto value = c.op.getNodeAttributes().getAs<StringAttr>(name);
    return value ? value.getValue() : fallback;
  }

  const ContribOp &c;
  OnnxBuilder &b;
  Arithmetic m{b};
  Type f64;
  StringRef mode, coordinates, rounding, policy;
  double cubicA = -0.75;
  bool excludeOutside = false, antialias = false;
  SymbolicShapes::Dims dims;
  SmallVector<ResizedAxis, 4> resized;
  unsigned numEntries = 0; // of scales or sizes
  Value x;
  // Of the axis at hand.
  Value from, to, scale, start, end;
};

} // namespace

/// What the versions from 7 (Upsample) to 19 (Resize) leave out is as it was before it could be said.
bool Resizer::readAttributes() {
  bool old = c.op.getOpType() == "Upsample" || c.op.getVersion() < 11;
  mode = text("mode", "nearest");
  coordinates = old ? "asymmetric" : text("coordinate_transformation_mode", "half_pixel");
  rounding = old ? "floor" : text("nearest_mode", "round_prefer_floor");
  policy = text("keep_aspect_ratio_policy", "stretch");
  cubicA = c.number("cubic_coeff_a", -0.75f);
  excludeOutside = c.integer("exclude_outside", 0);
  antialias = c.integer("antialias", 0);
  bool linear = mode == "linear" || mode == "bilinear", cubic = mode == "cubic" || mode == "bicubic";
  if (linear)
    mode = "linear";
  if (cubic)
    mode = "cubic";
  return linear || cubic || mode == "nearest";
}

LogicalResult Resizer::findByScales(Value scales, ArrayRef<int64_t> axes) {
  SmallVector<double> factors;
  if (scales) {
    auto constant = scales.getDefiningOp<onnx::ConstantOp>();
    auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : DenseFPElementsAttr();
    if (!elements)
      return c.missed("its scales are not constant");
    for (const APFloat &factor : elements.getValues<APFloat>())
      factors.push_back(factor.convertToDouble());
  } else if (auto given = c.op.getNodeAttributes().getAs<ArrayAttr>("scales")) { // Upsample 7
    for (Attribute factor : given)
      factors.push_back(cast<FloatAttr>(factor).getValueAsDouble());
  } else if (auto given = c.op.getNodeAttributes().getAs<DenseF32ArrayAttr>("scales")) {
    factors.assign(given.asArrayRef().begin(), given.asArrayRef().end());
  }
  if (factors.size() != axes.size())
    return c.missed("its scales are not as many as its axes");
  numEntries = factors.size();
  for (auto [entry, axis, factor] : llvm::enumerate(axes, factors)) {
    auto known = constantDim(dims[axis]);
    if (!(factor > 0) || factor > kMaxCount || (known && *known * factor > std::numeric_limits<int32_t>::max()))
      return c.missed("a scale is not positive, or too large");
    AffineExpr to;
    double inverse = 1 / factor;
    if (known)
      to = c.shapes.constant(static_cast<int64_t>(std::floor(*known * factor)));
    else if (factor == std::floor(factor))
      to = dims[axis] * static_cast<int64_t>(factor);
    else if (inverse == std::floor(inverse))
      to = dims[axis].floorDiv(static_cast<int64_t>(inverse));
    else
      return c.missed("dimension " + Twine(axis) + " is not static, and neither its scale nor one over it is whole");
    if (factor != 1)
      resized.push_back({axis, static_cast<unsigned>(entry), dims[axis], to, factor});
  }
  return success();
}

LogicalResult Resizer::findBySizes(Value sizes, ArrayRef<int64_t> axes) {
  auto wanted = c.shapes.getElements(sizes);
  if (!wanted || wanted->size() != axes.size() || llvm::is_contained(*wanted, AffineExpr()))
    return c.missed("its sizes do not follow from the inputs' dimensions");
  numEntries = wanted->size();
  std::optional<double> common; // the scale of all axes
  if (policy != "stretch") {
    for (auto [axis, size] : llvm::zip_equal(axes, *wanted)) {
      auto now = constantDim(dims[axis]), then = constantDim(size);
      if (!now || !then || *now <= 0)
        return c.missed("with keep_aspect_ratio_policy '" + policy + "' its sizes have to be static");
      double factor = double(*then) / double(*now);
      common = !common ? factor : policy == "not_larger" ? std::min(*common, factor) : std::max(*common, factor);
    }
  }
  for (auto [entry, axis, size] : llvm::enumerate(axes, *wanted)) {
    AffineExpr to = size;
    if (auto given = constantDim(size); given && (*given < 0 || *given > std::numeric_limits<int32_t>::max()))
      return c.missed("a size is negative, or too large");
    if (common && *constantDim(dims[axis]) * *common > std::numeric_limits<int32_t>::max())
      return c.missed("the common scale is too large");
    if (common)
      to = c.shapes.constant(static_cast<int64_t>(std::floor(*constantDim(dims[axis]) * *common + 0.5)));
    if (to != dims[axis] || coordinates == "tf_crop_and_resize")
      resized.push_back({axis, static_cast<unsigned>(entry), dims[axis], to, common});
  }
  return success();
}

LogicalResult Resizer::findAxes() {
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, dims.size()));
  if (auto given = c.op.getNodeAttributes().getAs<DenseI64ArrayAttr>("axes")) {
    axes.clear();
    for (int64_t axis : given.asArrayRef()) {
      auto place = onnx::normalizeAxis(axis, dims.size());
      if (!place || llvm::is_contained(axes, *place))
        return c.missed("axis " + Twine(axis) + " is out of range, or named twice");
      axes.push_back(*place);
    }
  }
  bool old = c.op.getOpType() == "Upsample" || c.op.getVersion() < 11;
  auto isGiven = [&](Value value) { return value && c.shapes.getStaticDim(value, 0) != 0; };
  if (!old && isGiven(c.input(3)))
    return findBySizes(c.input(3), axes);
  Value scales = c.input(old ? 1 : 2);
  return findByScales(isGiven(scales) ? scales : Value(), axes);
}

/// Where each of `outputs` (0, 1, ...) lies among the inputs.
Value Resizer::places(const ResizedAxis &axis, Value outputs) {
  Value half = number(0.5), one = number(1);
  auto unlessOne = [&](Value place, Value otherwise) { return m.where(m.equal(to, one), otherwise, place); };
  if (coordinates == "asymmetric")
    return m.div(outputs, scale);
  if (coordinates == "align_corners") {
    // The length is the one before rounding.
    Value length = axis.scale ? m.mul(from, scale) : to, single = m.equal(length, one);
    Value steps = m.where(single, one, m.sub(length, one));
    return m.where(single, number(0), m.div(m.mul(outputs, m.sub(from, one)), steps));
  }
  if (coordinates == "tf_crop_and_resize") {
    Value corner = m.sub(from, one), steps = m.where(m.equal(to, one), one, m.sub(to, one));
    Value step = m.div(m.mul(m.sub(end, start), corner), steps);
    return unlessOne(m.add(m.mul(start, corner), m.mul(outputs, step)), m.mul(m.mul(half, m.add(start, end)), corner));
  }
  Value place = m.sub(m.div(m.add(outputs, half), scale), half);
  if (coordinates == "pytorch_half_pixel")
    return unlessOne(place, number(0));
  if (coordinates == "half_pixel_symmetric") {
    Value adjustment = m.div(to, m.mul(scale, from));
    return m.add(m.mul(m.mul(from, half), m.sub(one, adjustment)), place);
  }
  return place; // half_pixel
}

Value Resizer::nearest(Value place) {
  Value half = number(0.5);
  if (rounding == "floor")
    return b.make<onnx::FloorOp>(place);
  if (rounding == "ceil")
    return b.make<onnx::CeilOp>(place);
  if (rounding == "round_prefer_ceil")
    return b.make<onnx::FloorOp>(m.add(place, half));
  return b.make<onnx::CeilOp>(m.sub(place, half));
}

/// How much an input counts at that distance, before anything is normalised.
Value Resizer::weightOf(Value distance) {
  Value t = b.make<onnx::AbsOp>(distance), one = number(1), zero = number(0);
  if (mode == "linear")
    return m.max(zero, m.sub(one, t));
  auto polynomial = [&](ArrayRef<double> factors) { // the highest power first
    Value sum = number(factors.front());
    for (double factor : factors.drop_front())
      sum = m.add(m.mul(sum, t), number(factor));
    return sum;
  };
  double a = cubicA;
  Value nearer = polynomial({a + 2, -(a + 3), 0, 1}), farther = polynomial({a, -5 * a, 8 * a, -4 * a});
  auto isBelow = [&](double bound) { return b.makeOf<onnx::LessOp>(b.getI1Type(), t, number(bound)); };
  return m.where(isBelow(1), nearer, m.where(isBelow(2), farther, zero));
}

/// With antialias the weights are spread by one over this.
static double narrowingOf(const ResizedAxis &axis) {
  return std::min(axis.scale ? *axis.scale : double(*constantDim(axis.to)) / double(*constantDim(axis.from)), 1.0);
}

/// Some ops are made for each input that an output is computed from.
static constexpr double kLeastNarrowing = 1.0 / 64;

/// [outputs, inputs]: the weights of all inputs. Those outside are the last one inside, or nothing.
Value Resizer::matrix(const ResizedAxis &axis, Value place, Value last) {
  Value base = b.make<onnx::FloorOp>(place), fraction = m.sub(place, base), zero = number(0);
  Value inputs = b.unsqueeze(countUp(b, b.sizeScalar(axis.from), f64), {0});
  int64_t first = mode == "linear" ? 0 : -1;
  double narrowing = antialias ? narrowingOf(axis) : 1;
  if (antialias) { // over as many inputs as an output stands for
    first = static_cast<int64_t>(std::floor(-(mode == "linear" ? 1 : 2) / narrowing)) + 1;
  }
  SmallVector<Value> weights, at;
  Value sum;
  for (int64_t tap = first; tap <= 1 - first; ++tap) {
    Value weight = weightOf(m.mul(m.sub(number(tap), fraction), number(narrowing)));
    Value input = m.add(base, number(tap)), inside = m.min(m.max(input, zero), last);
    if (excludeOutside)
      weight = m.where(m.equal(input, inside), weight, zero);
    sum = sum ? m.add(sum, weight) : weight;
    weights.push_back(weight);
    at.push_back(inside);
  }
  Value result;
  for (auto [weight, input] : llvm::zip_equal(weights, at)) {
    Value share = excludeOutside || antialias ? m.div(weight, sum) : weight;
    Value part = m.where(m.equal(b.unsqueeze(input, {1}), inputs), b.unsqueeze(share, {1}), zero);
    result = result ? m.add(result, part) : part;
  }
  return result;
}

LogicalResult Resizer::resize(const ResizedAxis &axis) {
  Value inputs = b.sizeScalar(axis.from), outputs = b.sizeScalar(axis.to);
  if (!inputs || !outputs)
    return c.missed("the size of dimension " + Twine(axis.axis) + " is not computable from the inputs' dimensions");
  from = m.cast(inputs, f64);
  to = m.cast(outputs, f64);
  scale = axis.scale ? number(*axis.scale) : m.div(to, from);
  if (coordinates == "tf_crop_and_resize") {
    auto entryOf = [&](unsigned entry) {
      Value one = b.make<onnx::GatherOp>(c.input(1), b.scalar(entry, b.getI64Type()), b.getI64IntegerAttr(0));
      return m.cast(one, f64);
    };
    start = entryOf(axis.entry);
    end = entryOf(axis.entry + numEntries);
  }
  int64_t rank = dims.size();
  Value place = places(axis, countUp(b, outputs, f64)), last = m.sub(from, number(1));
  Type element = getElementTypeOrSelf(x);
  if (mode == "nearest") {
    Value inside = m.min(m.max(nearest(place), number(0)), last);
    x = b.make<onnx::GatherOp>(x, m.cast(inside, b.getI64Type()), b.getI64IntegerAttr(axis.axis));
  } else {
    x = applyAlong(b, x, m.cast(matrix(axis, place, last), element), axis.axis, rank);
  }
  if (coordinates != "tf_crop_and_resize")
    return success();
  auto isLess = [&](Value left, Value right) { return b.makeOf<onnx::LessOp>(b.getI1Type(), left, right); };
  Value outside = b.makeOf<onnx::OrOp>(b.getI1Type(), isLess(place, number(0)), isLess(last, place));
  SmallVector<int64_t> others = llvm::to_vector(llvm::seq<int64_t>(1, rank - axis.axis));
  if (!others.empty())
    outside = b.unsqueeze(outside, others);
  x = m.where(outside, b.scalar(c.number("extrapolation_value", 0), element), x);
  return success();
}

LogicalResult Resizer::run() {
  x = c.input(0);
  auto known = x ? c.shapes.getDims(x) : std::nullopt;
  if (!known)
    return c.missed("the rank of its operand is not known");
  dims = *known;
  if (!readAttributes())
    return c.missed("mode '" + mode + "' is not known");
  if (mode != "nearest" && !isa<FloatType>(getElementTypeOrSelf(x)))
    return c.missed("mode '" + mode + "' of numbers that are not floating-point");
  if (coordinates == "tf_crop_and_resize" && !c.input(1))
    return c.missed("it has no region (roi)");
  if (failed(findAxes()))
    return failure();
  for (const ResizedAxis &axis : resized) {
    if (!antialias || mode == "nearest")
      continue;
    if (!axis.scale && (constantDim(axis.from).value_or(0) <= 0 || constantDim(axis.to).value_or(0) <= 0))
      return c.missed("with antialias its sizes have to be static and positive");
    if (narrowingOf(axis) < kLeastNarrowing)
      return c.missed("with antialias an output stands for too many inputs");
  }
  for (const ResizedAxis &axis : resized)
    if (failed(resize(axis)))
      return failure();
  c.replace(0, resized.empty() ? b.make<onnx::IdentityOp>(x) : x);
  return success();
}

static LogicalResult convertResize(const ContribOp &c) { return Resizer(c).run(); }

//===--- DFT ---===//

/// Sums over n of x[n] * exp(-2 pi i n k / N), as products with cosines and sines; the last dimension holds the real
/// and the imaginary part. Of a real result's transform, one side says the other.
static LogicalResult convertDFT(const ContribOp &c) {
  Value x = c.input(0);
  auto dims = x ? c.shapes.getDims(x) : std::nullopt;
  auto parts = dims && dims->size() > 1 ? constantDim(dims->back()) : std::nullopt;
  if (!parts || *parts < 1 || *parts > 2)
    return c.missed("the last dimension of its operand is not known to be 1 or 2");
  OnnxBuilder &b = c.b;
  Arithmetic m{b};
  int64_t rank = dims->size(), along = c.op.getVersion() < 20 ? c.integer("axis", 1) : -2;
  if (Value given = c.op.getVersion() < 20 ? Value() : c.input(2)) {
    auto constant = c.shapes.getConstants(given);
    if (!constant || constant->size() != 1)
      return c.missed("its axis is not constant");
    along = constant->front();
  }
  auto axis = onnx::normalizeAxis(along, rank);
  if (!axis || *axis == rank - 1)
    return c.missed("its axis is out of range");
  bool inverse = c.integer("inverse", 0), oneSided = c.integer("onesided", 0);
  if (oneSided && (*parts == 2) != inverse)
    return c.missed("one side is of the transform of real numbers, or of the inverse of one");
  bool toReal = oneSided && inverse;
  AffineExpr length = toReal ? ((*dims)[*axis] - 1) * 2 : (*dims)[*axis];
  if (Value given = c.input(1)) {
    AffineExpr wanted = c.shapes.getScalar(given);
    auto now = constantDim(length), then = constantDim(wanted);
    if (!wanted || (then && *then < 1) || (wanted != length && (!now || !then)))
      return c.missed("its length is not known to be that of the operand");
    if (then && now && *then < *now)
      x = b.slice(x, *axis, 0, toReal ? *then / 2 + 1 : *then);
    length = wanted; // if longer: of zeros, which add nothing
  }
  Value numInputs = b.sizeScalar(c.shapes.getDim(x, *axis)), period = b.sizeScalar(length);
  Value numOutputs = oneSided && !inverse ? b.sizeScalar(length.floorDiv(2) + 1) : period;
  if (!numInputs || !period || !numOutputs)
    return c.missed("its length is not computable from the inputs' dimensions");
  // The angles within one turn, by integers: products n * k are large.
  Type element = getElementTypeOrSelf(x), i64 = b.getI64Type(), f64 = b.getF64Type();
  Value inputs = b.unsqueeze(countUp(b, numInputs, i64), {0}), size = m.cast(period, f64);
  Value turns = m.mul(b.unsqueeze(countUp(b, numOutputs, i64), {1}), inputs);
  Value within = m.cast(b.make<onnx::ModOp>(turns, period, b.getI64IntegerAttr(0)), f64);
  Value angle = m.div(m.mul(within, b.scalar(2 * llvm::numbers::pi, f64)), size);
  Value cosine = b.make<onnx::CosOp>(angle), sine = b.make<onnx::SinOp>(angle);
  if (inverse) {
    Value factor = m.div(b.scalar(1, f64), size);
    if (toReal) { // all but the first and the one in the middle stand for two
      Value twice = m.mul(inputs, b.scalar(2, i64));
      Value single = b.makeOf<onnx::OrOp>(b.getI1Type(), m.equal(inputs, b.scalar(0, i64)), m.equal(twice, period));
      factor = m.mul(factor, m.where(single, b.scalar(1, f64), b.scalar(2, f64)));
    }
    cosine = m.mul(cosine, factor);
    sine = b.make<onnx::NegOp>(m.mul(sine, factor));
  }
  cosine = m.cast(cosine, element);
  sine = m.cast(sine, element);
  auto by = [&](Value part, Value matrix) { return applyAlong(b, part, matrix, *axis, rank - 1); };
  Value real = b.make<onnx::SqueezeOp>(b.slice(x, rank - 1, 0, 1), b.ints({rank - 1}));
  Value re = by(real, cosine), im = toReal ? Value() : b.make<onnx::NegOp>(by(real, sine));
  if (*parts == 2) {
    Value imaginary = b.make<onnx::SqueezeOp>(b.slice(x, rank - 1, 1, 2), b.ints({rank - 1}));
    re = m.add(re, by(imaginary, sine));
    im = toReal ? im : m.add(im, by(imaginary, cosine));
  }
  Value result = b.unsqueeze(re, {rank - 1});
  c.replace(0, toReal ? result : b.concat({result, b.unsqueeze(im, {rank - 1})}, rank - 1));
  return success();
}

void addResampleFormulas(FormulaTable &table) {
  table.insert({"Resize", convertResize});
  table.insert({"Upsample", convertResize});
  table.insert({"DFT", convertDFT});
}

} // namespace caat
