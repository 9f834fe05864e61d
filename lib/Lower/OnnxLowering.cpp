// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dimensions, constants and common linalg forms for the lowering of onnx ops.
#include "lib/Lower/OnnxLowering.h"
#include "dialects/rt/RT.h"
#include "lib/Lower/ShapeFacts.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;

namespace caat::lower {

RankedTensorType tensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

Type computeType(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32 ? Float32Type::get(type.getContext()) : type;
}

int64_t normalizeAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

// Constants.

DenseElementsAttr constantValue(Value value) {
  if (auto constant = value.getDefiningOp<onnx::ConstantOp>())
    return dyn_cast<DenseElementsAttr>(constant.getValue());
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    return dyn_cast<DenseElementsAttr>(constant.getValue());
  return {};
}

std::optional<SmallVector<int64_t>> constantInts(Value value) {
  auto elements = dyn_cast_if_present<DenseIntElementsAttr>(constantValue(value));
  if (!elements)
    return std::nullopt;
  bool isUnsigned = elements.getElementType().isUnsignedInteger();
  return llvm::map_to_vector(elements.getValues<APInt>(), [&](const APInt &i) -> int64_t {
    return isUnsigned ? i.getZExtValue() : i.getSExtValue();
  });
}

Value splatScalar(ScalarBuilder s, Value value, Type type) {
  auto elements = constantValue(value);
  if (!elements || !elements.isSplat() || !elements.getElementType().isIntOrFloat())
    return {};
  if (isa<IntegerType>(elements.getElementType()))
    return s.cast(s.integer(elements.getElementType(), elements.getSplatValue<APInt>()), type);
  Value scalar = arith::ConstantOp::create(s.b, s.loc, cast<TypedAttr>(elements.getSplatValue<Attribute>()));
  return s.cast(scalar, type);
}

Dims indexElements(ScalarBuilder s, Value value) {
  if (auto ints = constantInts(value))
    return llvm::map_to_vector(*ints, [&](int64_t i) -> OpFoldResult { return s.b.getIndexAttr(i); });
  Dims result;
  auto toIndex = [&](Value x) -> OpFoldResult {
    if (auto castOp = x.getDefiningOp<arith::IndexCastOp>(); castOp && castOp.getIn().getType().isIndex())
      return castOp.getIn();
    if (auto constant = getConstantIntValue(x))
      return s.b.getIndexAttr(*constant);
    return s.cast(x, s.b.getIndexType());
  };
  if (auto elements = value.getDefiningOp<tensor::FromElementsOp>())
    return llvm::map_to_vector(elements.getElements(), toIndex);
  auto type = tensorType(value);
  int64_t count = type.getRank() == 0 ? 1 : type.getDimSize(0);
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<Value> indices(type.getRank(), type.getRank() ? s.index(i) : Value());
    result.push_back(toIndex(tensor::ExtractOp::create(s.b, s.loc, value, indices)));
  }
  return result;
}

Value scalarOf(ScalarBuilder &s, Value tensor) {
  SmallVector<Value> zero(tensorType(tensor).getRank(), s.index(0));
  return tensor::ExtractOp::create(s.b, s.loc, tensor, zero);
}

// Dimensions.

/// The tensor that has the same sizes as `value` and is computed earlier: a destination, an initial value, an operand.
static Value sameSizes(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return {};
  Operation *op = result.getOwner();
  if (auto dps = dyn_cast<DestinationStyleOpInterface>(op))
    return dps.getTiedOpOperand(result)->get();
  if (auto forall = dyn_cast<scf::ForallOp>(op))
    return forall.getTiedOpOperand(result)->get();
  if (auto loop = dyn_cast<scf::ForOp>(op))
    return loop.getInitArgs()[result.getResultNumber()];
  if (auto branch = dyn_cast<scf::IfOp>(op)) {
    Value inner = branch.thenYield().getOperand(result.getResultNumber());
    while (inner && branch->isAncestor(inner.getParentBlock()->getParentOp()))
      inner = sameSizes(inner);
    return inner;
  }
  if (auto insertOp = dyn_cast<tensor::InsertSliceOp>(op))
    return insertOp.getDest();
  StringRef name = op->getName().getStringRef();
  if (name == "tp.all_reduce" || name == "tp.broadcast" || name == "tp.permute" || name == "tp.all_to_all" ||
      name == "tp.quantized_all_reduce")
    return op->getOperand(0);
  return {};
}

OpFoldResult dimOf(ScalarBuilder s, Value value, int64_t dim) {
  while (true) {
    auto type = tensorType(value);
    if (!type.isDynamicDim(dim))
      return s.b.getIndexAttr(type.getDimSize(dim));
    if (Value source = sameSizes(value)) {
      value = source;
    } else if (auto castOp = value.getDefiningOp<tensor::CastOp>();
               castOp && isa<RankedTensorType>(castOp.getSource().getType())) {
      value = castOp.getSource();
    } else if (auto product = value.getDefiningOp<onnx::MatMulOp>(); product && isWeightProduct(product)) {
      value = product.getA(); // the last dimension is the weight's, and static
    } else {
      break;
    }
  }
  if (auto emptyOp = value.getDefiningOp<tensor::EmptyOp>())
    return emptyOp.getMixedSizes()[dim];
  if (auto expand = value.getDefiningOp<tensor::ExpandShapeOp>())
    return expand.getMixedOutputShape()[dim];
  if (auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>()) {
    OpFoldResult size = s.b.getIndexAttr(1);
    auto groups = collapse.getReassociationIndices();
    for (int64_t from : groups[dim])
      size = s.mul(size, dimOf(s, collapse.getSrc(), from));
    return size;
  }
  if (auto sliceOp = value.getDefiningOp<tensor::ExtractSliceOp>()) {
    llvm::SmallBitVector dropped = sliceOp.getDroppedDims();
    SmallVector<OpFoldResult> sizes = sliceOp.getMixedSizes();
    for (int64_t from = 0, to = 0, rank = sizes.size(); from < rank; ++from)
      if (!dropped.test(from) && to++ == dim)
        return sizes[from];
  }
  return tensor::DimOp::create(s.b, s.loc, value, dim).getResult();
}

Dims dimsOf(ScalarBuilder s, Value value) {
  Dims dims;
  for (int64_t i = 0, rank = tensorType(value).getRank(); i < rank; ++i)
    dims.push_back(dimOf(s, value, i));
  return dims;
}

Dims refine(RankedTensorType type, ArrayRef<OpFoldResult> dims, Builder &b) {
  Dims result;
  for (auto [size, dim] : llvm::zip_equal(type.getShape(), dims))
    result.push_back(ShapedType::isDynamic(size) ? dim : OpFoldResult(b.getIndexAttr(size)));
  return result;
}

Dims resultSizes(const ShapeFacts *facts, Operation *op, RankedTensorType type, OpBuilder &b,
                 function_ref<Dims()> computed) {
  auto sizes = facts ? facts->sizes(op) : std::nullopt;
  bool isProved = op->hasAttr(onnx::kProvedSizeAttr);
  if (!isProved && type.hasStaticShape())
    return refine(type, Dims(type.getRank(), b.getIndexAttr(0)), b);
  if (!isProved && sizes)
    return refine(type, *sizes, b);
  Dims own = computed();
  if (!sizes && !type.hasStaticShape())
    return refine(type, own, b);
  ScalarBuilder s{b, op->getLoc()};
  Dims known = refine(type, sizes ? Dims(*sizes) : own, b);
  for (auto [size, expected] : llvm::zip_equal(own, known))
    if (!isEqualConstantIntOrValue(size, expected))
      checkAtRunTime(s, op, s.equal(s.value(size), s.value(expected)),
                     "the result's size is not what the nodes that read it need");
  return known;
}

Dims broadcastDims(ScalarBuilder s, ValueRange operands, RankedTensorType type) {
  Dims dims;
  for (int64_t i = 0, rank = type.getRank(); i < rank; ++i) {
    if (!type.isDynamicDim(i)) {
      dims.push_back(s.b.getIndexAttr(type.getDimSize(i)));
      continue;
    }
    // The first operand that has this dimension and is not broadcast along it.
    Value source;
    int64_t sourceDim = 0;
    for (Value operand : operands) {
      auto operandType = tensorType(operand);
      int64_t dim = i - (rank - operandType.getRank());
      if (dim < 0 || operandType.getDimSize(dim) == 1)
        continue;
      source = operand;
      sourceDim = dim;
      break;
    }
    dims.push_back(source ? dimOf(s, source, sourceDim) : OpFoldResult(s.b.getIndexAttr(1)));
  }
  return dims;
}

AffineMap broadcastMap(RankedTensorType operand, RankedTensorType result) {
  MLIRContext *context = operand.getContext();
  int64_t lead = result.getRank() - operand.getRank();
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < operand.getRank(); ++i) {
    bool broadcast = operand.getDimSize(i) == 1 && result.getDimSize(lead + i) != 1;
    exprs.push_back(broadcast ? getAffineConstantExpr(0, context) : getAffineDimExpr(lead + i, context));
  }
  return AffineMap::get(result.getRank(), 0, exprs, context);
}

void checkAtRunTime(ScalarBuilder s, Operation *op, Value holds, const Twine &message) {
  auto named = dyn_cast<NameLoc>(op->getLoc());
  std::string node = named ? "node '" + named.getName().str() + "': " : "";
  rt::CheckOp::create(s.b, s.loc, holds, node + message.str());
}

// Tensors.

Value empty(ScalarBuilder s, ArrayRef<OpFoldResult> dims, Type element) {
  return tensor::EmptyOp::create(s.b, s.loc, dims, element);
}

Value filled(ScalarBuilder s, ArrayRef<OpFoldResult> dims, Value element) {
  Value out = empty(s, dims, element.getType());
  return linalg::FillOp::create(s.b, s.loc, element, out).getResult(0);
}

Value castTo(ScalarBuilder s, Value value, Type type) {
  return value.getType() == type ? value : tensor::CastOp::create(s.b, s.loc, type, value).getResult();
}

Value mapped(ScalarBuilder s, RankedTensorType type, ArrayRef<OpFoldResult> dims, ValueRange inputs,
             ArrayRef<AffineMap> maps, ScalarFn body, bool exact) {
  Type element = type.getElementType();
  // Constant splats are scalars of the body; `scalars` keeps the operands' order.
  SmallVector<Value> tensors, scalars;
  SmallVector<AffineMap> tensorMaps;
  for (auto [input, map] : llvm::zip_equal(inputs, maps)) {
    Type inputElement = tensorType(input).getElementType();
    Value scalar = splatScalar(s, input, exact ? inputElement : computeType(inputElement));
    scalars.push_back(scalar);
    if (scalar)
      continue;
    tensors.push_back(input);
    tensorMaps.push_back(map);
  }
  tensorMaps.push_back(AffineMap::getMultiDimIdentityMap(type.getRank(), s.b.getContext()));
  Value out = empty(s, refine(type, dims, s.b), element);
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  auto generic =
      linalg::GenericOp::create(s.b, s.loc, out.getType(), tensors, out, tensorMaps, iterators,
                                [&](OpBuilder &inner, Location loc, ValueRange args) {
                                  ScalarBuilder in{inner, loc};
                                  SmallVector<Value> values(scalars);
                                  auto arg = args.begin();
                                  for (Value &value : values)
                                    if (!value) {
                                      value = *arg++;
                                      if (!exact)
                                        value = in.cast(value, computeType(value.getType()));
                                    }
                                  Value result = body(in, values);
                                  linalg::YieldOp::create(inner, loc, exact ? result : in.cast(result, element));
                                });
  return castTo(s, generic.getResult(0), type); // sizes may be known better than the type says
}

Value elementwise(ScalarBuilder s, RankedTensorType type, ArrayRef<OpFoldResult> dims, ValueRange inputs, ScalarFn body,
                  bool exact) {
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(broadcastMap(tensorType(input), type));
  return mapped(s, type, dims, inputs, maps, body, exact);
}

Value indexed(ScalarBuilder s, RankedTensorType type, ArrayRef<OpFoldResult> dims, ScalarFn body) {
  return mapped(
      s, type, dims, {}, {},
      [&](ScalarBuilder &in, Scalars) {
        SmallVector<Value> indices;
        for (int64_t i = 0; i < type.getRank(); ++i)
          indices.push_back(linalg::IndexOp::create(in.b, in.loc, i));
        return body(in, indices);
      },
      /*exact=*/true);
}

Value extract(ScalarBuilder &s, Value tensor, ValueRange indices) {
  SmallVector<Value> at(indices);
  for (auto [i, size] : llvm::enumerate(tensorType(tensor).getShape()))
    if (size == 1)
      at[i] = s.index(0);
  return tensor::ExtractOp::create(s.b, s.loc, tensor, at);
}

Value reduce(ScalarBuilder s, ValueRange inputs, ArrayRef<AffineMap> maps, ArrayRef<OpFoldResult> dims,
             ArrayRef<int64_t> axes, Value accumulator, ScalarFn body) {
  MLIRContext *context = s.b.getContext();
  int64_t rank = dims.size();
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  for (int64_t axis : axes)
    iterators[axis] = utils::IteratorType::reduction;
  Dims kept;
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < rank; ++i)
    if (iterators[i] == utils::IteratorType::parallel) {
      kept.push_back(dims[i]);
      exprs.push_back(getAffineDimExpr(i, context));
    }
  SmallVector<AffineMap> allMaps(maps);
  allMaps.push_back(AffineMap::get(rank, 0, exprs, context));
  Value init = filled(s, kept, accumulator);
  if (llvm::any_of(dims, isZeroInteger))
    return init;
  Type accumulatorType = accumulator.getType();
  auto generic = linalg::GenericOp::create(s.b, s.loc, init.getType(), inputs, init, allMaps, iterators,
                                           [&](OpBuilder &inner, Location loc, ValueRange args) {
                                             ScalarBuilder in{inner, loc};
                                             SmallVector<Value> values(args);
                                             for (Value &value : values)
                                               if (isa<FloatType>(value.getType()) && isa<FloatType>(accumulatorType))
                                                 value = in.cast(value, accumulatorType);
                                             linalg::YieldOp::create(inner, loc, body(in, values));
                                           });
  return generic.getResult(0);
}

} // namespace caat::lower
