// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/rt/RT.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace caat::rt;

static bool sizesAgree(int64_t a, int64_t b) { return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b; }

/// Tensors with one result of the destination's type, or memrefs without.
static LogicalResult verifyForm(Operation *op, Value init) {
  bool tensors = isa<RankedTensorType>(init.getType());
  auto isData = [](Value operand) { return !operand.getType().isIndex(); };
  auto data = llvm::make_filter_range(op->getOperands(), isData);
  for (Value operand : data)
    if (isa<RankedTensorType>(operand.getType()) != tensors)
      return op->emitOpError("mixes tensors and memrefs");
  if (tensors && (op->getNumResults() != 1 || op->getResult(0).getType() != init.getType()))
    return op->emitOpError("on tensors has one result of type ") << init.getType();
  if (!tensors && op->getNumResults() != 0)
    return op->emitOpError("on memrefs has no result");
  return success();
}

LogicalResult BlocksAttr::verify(function_ref<InFlightDiagnostic()> emitError, unsigned bits, int64_t size,
                                 FloatType scales, BlockOffset) {
  if (bits != 4 && bits != 8)
    return emitError() << "codes have 4 or 8 bits, not " << bits;
  if (size < 16 || size > 256 || !llvm::isPowerOf2_64(size))
    return emitError() << "blocks have 16, 32, 64, 128 or 256 elements, not " << size;
  if (!scales.isF16() && !scales.isF32())
    return emitError() << "scales are f16 or f32, not " << scales;
  return success();
}

/// What only weights in blocks need.
static LogicalResult verifyBlocks(WeightOp weight) {
  if (!weight.getLinear() || !weight.getTransposed() || weight.getGroup())
    return weight.emitOpError("is in blocks, which only linear, transposed weights without a group can be");
  Type element = weight.getTensorType().getElementType();
  if (!element.isF32() && !element.isBF16() && !element.isF16())
    return weight.emitOpError("is in blocks, whose products are f32, bf16 or f16, not ") << element;
  if (int64_t size = weight.getBlocks()->getSize(); weight.getK() % size != 0)
    return weight.emitOpError("has ") << weight.getK() << " elements a column, which blocks of " << size
                                      << " do not divide";
  return success();
}

LogicalResult WeightOp::verifyRegions() {
  Block &block = getBody().front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield)
    return emitOpError("must end in rt.yield");
  Type yielded = getBlocks() ? getTensorType().clone(Float32Type::get(getContext())) : getTensorType();
  if (yield.getValue().getType() != yielded)
    return emitOpError("yields ") << yield.getValue().getType() << ", but is declared as " << getType()
                                  << (getBlocks() ? " in blocks, which are made from f32" : "");
  if (getLinear() && getTensorType().getRank() != 2)
    return emitOpError("is linear and has ") << getTensorType().getRank() << " dimensions, not 2";
  if (getTransposed() && !getLinear())
    return emitOpError("is transposed, which only linear weights can be");
  if (getGroup() && getGroup()->empty())
    return emitOpError("has an empty group name");
  if (getRounded() && !getBlocks())
    return emitOpError("is rounded, but not to blocks");
  return getBlocks() ? verifyBlocks(*this) : success();
}

/// `shard` says which slice of a travelling weight is meant.
static LogicalResult verifyTravel(Operation *op, WeightOp weight, Value shard) {
  if (bool(weight.getGroup()) == bool(shard))
    return success();
  if (shard)
    return op->emitOpError("names a shard of ") << weight.getSymNameAttr() << ", which has no group";
  return op->emitOpError("must name a shard of ") << weight.getSymNameAttr() << ", which has a group";
}

LogicalResult ParameterOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto weight = tables.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("no rt.weight named ") << getWeightAttr();
  if (weight.getLinear())
    return emitOpError("the weight ") << getWeightAttr() << " is linear: only rt.linear can use it";
  auto type = cast<ShapedType>(getType());
  if (type.getShape() != weight.getTensorType().getShape() ||
      type.getElementType() != weight.getTensorType().getElementType())
    return emitOpError("is ") << type << ", but the weight is " << weight.getTensorType();
  return verifyTravel(*this, weight, getShard());
}

LogicalResult BufferOp::verify() {
  auto type = cast<MemRefType>(getType());
  if (getSizes().size() != static_cast<size_t>(type.getNumDynamicDims()))
    return emitOpError("has ") << getSizes().size() << " sizes for " << type.getNumDynamicDims()
                               << " dynamic dimensions";
  if (!type.getLayout().isIdentity())
    return emitOpError("must have the identity layout");
  return success();
}

int64_t LinearOp::getColumns() {
  int64_t n = cast<ShapedType>(getInit().getType()).getShape().back();
  return getGate() && !ShapedType::isDynamic(n) ? 2 * n : n;
}

LogicalResult LinearOp::verify() {
  if (failed(verifyForm(*this, getInit())))
    return failure();
  auto x = cast<ShapedType>(getX().getType()), y = cast<ShapedType>(getInit().getType());
  if (x.getRank() != y.getRank() || x.getRank() < 1)
    return emitOpError("x has ") << x.getRank() << " dimensions and y " << y.getRank()
                                 << "; both need the same, at least 1";
  for (Type type : {x.getElementType(), y.getElementType()})
    if (!type.isF32() && !type.isBF16() && !type.isF16())
      return emitOpError("element type ") << type << " is not f32, bf16 or f16";
  for (int64_t i = 0; i + 1 < x.getRank(); ++i)
    if (!sizesAgree(x.getDimSize(i), y.getDimSize(i)))
      return emitOpError("dimension ") << i << " is " << x.getDimSize(i) << " in x and " << y.getDimSize(i) << " in y";
  if (getBias()) {
    auto bias = cast<ShapedType>(getBias().getType());
    if (bias.getRank() != 1 || !sizesAgree(bias.getDimSize(0), getColumns()) ||
        (!bias.getElementType().isF32() && bias.getElementType() != y.getElementType()))
      return emitOpError("needs a bias of ")
             << getColumns() << " elements of f32 or " << y.getElementType() << ", not " << bias;
  }
  if (getGate() && getAccumulate())
    return emitOpError("has a gate and accumulates");
  if (getActivation() != Activation::Swish && !getAlpha().isExactlyValue(1.0))
    return emitOpError("has an alpha of ") << getAlphaAttr() << ", which only swish takes";
  if (getOnlyResults() && y.getRank() != 3)
    return emitOpError("makes only results, which are [batch, tokens, N], not ") << y;
  return success();
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto weight = tables.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight || !weight.getLinear())
    return emitOpError("no linear rt.weight named ") << getWeightAttr();
  int64_t k = cast<ShapedType>(getX().getType()).getShape().back();
  int64_t n = cast<ShapedType>(getInit().getType()).getShape().back();
  if (getGate() && weight.getN() % 2 != 0)
    return emitOpError("has a gate, but the weight has ") << weight.getN() << " columns, which are no two halves";
  if (!sizesAgree(k, weight.getK()) || !sizesAgree(getColumns(), weight.getN()))
    return emitOpError("x has ") << k << " columns and y " << n << (getGate() ? ", one half" : "")
                                 << ", but the weight is " << weight.getK() << " by " << weight.getN();
  return verifyTravel(*this, weight, getShard());
}

LogicalResult MatmulOp::verify() {
  if (failed(verifyForm(*this, getInit())))
    return failure();
  Type sum = getElementTypeOrSelf(getInit()), factor = getElementTypeOrSelf(getA());
  if (getElementTypeOrSelf(getB()) != factor)
    return emitOpError("has operands of element types ") << factor << " and " << getElementTypeOrSelf(getB());
  if (factor != sum && !(factor.isBF16() && sum.isF32()))
    return emitOpError("has factors of element type ") << factor << " and sums of " << sum;
  ArrayRef<int64_t> a = cast<ShapedType>(getA().getType()).getShape(),
                    b = cast<ShapedType>(getB().getType()).getShape(),
                    c = cast<ShapedType>(getInit().getType()).getShape();
  size_t rank = c.size();
  if (a.size() != rank || b.size() != rank || rank < 2)
    return emitOpError("operands have ") << a.size() << ", " << b.size() << " and " << rank
                                         << " dimensions; all need the same, at least 2";
  for (size_t i = 0; i + 2 < rank; ++i)
    for (int64_t size : {a[i], b[i]})
      if (size != 1 && !sizesAgree(size, c[i]))
        return emitOpError("batch dimension ") << i << " is " << size << " in an input and " << c[i] << " in c";
  int64_t am = a[rank - 2], ak = a[rank - 1], bk = b[rank - 2], bn = b[rank - 1];
  if (getTransposeA())
    std::swap(am, ak);
  if (getTransposeB())
    std::swap(bk, bn);
  if (!sizesAgree(am, c[rank - 2]) || !sizesAgree(bn, c[rank - 1]) || !sizesAgree(ak, bk))
    return emitOpError("sizes do not fit: a is ")
           << am << " by " << ak << ", b " << bk << " by " << bn << ", c " << c[rank - 2] << " by " << c[rank - 1];
  return success();
}

LogicalResult AttentionOp::verify() {
  bool tensors = isa<RankedTensorType>(getInit().getType());
  for (Value operand : getOperands())
    if (!operand.getType().isIndex() && isa<RankedTensorType>(operand.getType()) != tensors)
      return emitOpError("mixes tensors and memrefs");
  if (tensors ? getNumResults() != 1 || getResult(0).getType() != getInit().getType() : getNumResults() != 0)
    return emitOpError("has one result of the destination's type on tensors and none on memrefs");
  if (!getVia().isBF16() && !getVia().isF16())
    return emitOpError("multiplies in bf16 or f16, not in ") << getVia();

  auto query = cast<ShapedType>(getQuery().getType()), keys = cast<ShapedType>(getKeys().getType());
  auto values = cast<ShapedType>(getValues().getType()), out = cast<ShapedType>(getInit().getType());
  for (ShapedType type : {query, keys, values, out}) {
    if (type.getRank() != 4)
      return emitOpError("needs four dimensions, not those of ") << type;
    if (!type.getElementType().isF32() && type.getElementType() != getVia())
      return emitOpError("via ") << getVia() << " takes elements of that type or of f32, not " << type.getElementType();
  }
  if (keys.getElementType() != values.getElementType())
    return emitOpError("has keys of ") << keys.getElementType() << " and values of " << values.getElementType();
  auto agree = [](ShapedType a, int64_t i, ShapedType b, int64_t j) {
    return sizesAgree(a.getDimSize(i), b.getDimSize(j));
  };
  int64_t heads = query.getDimSize(2), kvHeads = keys.getDimSize(1);
  for (int64_t size : {heads, kvHeads, query.getDimSize(3), values.getDimSize(3)})
    if (ShapedType::isDynamic(size))
      return emitOpError("needs static numbers of heads and sizes of heads");
  if (kvHeads == 0 || heads % kvHeads != 0)
    return emitOpError("has ") << heads << " query heads, which is no multiple of " << kvHeads;
  if (!agree(query, 0, keys, 0) || !agree(keys, 0, values, 0) || !agree(query, 0, out, 0) || !agree(query, 1, out, 1) ||
      !agree(query, 2, out, 2) || !agree(keys, 1, values, 1) || !agree(query, 3, keys, 3) || !agree(values, 3, out, 3))
    return emitOpError("sizes do not fit: query ")
           << query << ", keys " << keys << ", values " << values << ", destination " << out;

  if (getMask()) {
    auto mask = cast<ShapedType>(getMask().getType());
    if (mask.getRank() > 4 || !mask.getElementType().isF32())
      return emitOpError("needs a mask of f32 with at most four dimensions, not ") << mask;
  }
  if (getLengths()) {
    auto lengths = cast<ShapedType>(getLengths().getType());
    Type element = lengths.getElementType();
    if (lengths.getRank() != 1 || (!element.isInteger(32) && !element.isInteger(64)))
      return emitOpError("needs lengths of i32 or i64 in one dimension, not ") << lengths;
  } else if (getAppendsByRow()) {
    return emitOpError("appends by row, but has no lengths");
  }
  return success();
}

LogicalResult LaunchOp::verify() {
  for (Value buffer : getBuffers())
    if (!cast<MemRefType>(buffer.getType()).getLayout().isIdentity())
      return emitOpError("buffers need the identity layout, but one is ") << buffer.getType();
  if (getSums().empty() != !getSumming())
    return emitOpError("waits for sums by a kernel that makes them, or for none");
  for (Value sum : getSums())
    if (!sum.getDefiningOp<AllReduceStartOp>())
      return emitOpError("waits for what is no rt.all_reduce_start");
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  if (!tables.lookupNearestSymbolFrom<FunctionOpInterface>(*this, getKernelAttr()))
    return emitOpError("no kernel function named ") << getKernelAttr();
  if (getSumming() && !tables.lookupNearestSymbolFrom<FunctionOpInterface>(*this, getSummingAttr()))
    return emitOpError("no kernel function named ") << getSummingAttr();
  return success();
}

LogicalResult SyncPointOp::verify() {
  auto type = cast<ShapedType>(getPartial().getType());
  bool tensors = isa<RankedTensorType>(getPartial().getType());
  if (getDestinations().size() != 3)
    return emitOpError("has ") << getDestinations().size() << " destinations, not 3: stream, base, pending";
  for (Value destination : getDestinations()) {
    auto other = cast<ShapedType>(destination.getType());
    if (isa<RankedTensorType>(destination.getType()) != tensors || other.getElementType() != type.getElementType() ||
        failed(verifyCompatibleShape(other, type)))
      return emitOpError("has a partial of ") << type << " and a destination of " << other;
  }
  if (getResults().size() != (tensors ? 3u : 0u))
    return emitOpError("has three results on tensors and none on memrefs");
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1) || !type.getElementType().isF32())
    return emitOpError("needs channels of known number in the last dimension, in f32, not ") << type;
  if (getSite().empty())
    return emitOpError("has an empty site name");
  return success();
}

bool caat::rt::isDense(MemRefType type) {
  int64_t offset, expected = 1;
  SmallVector<int64_t> strides;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return false;
  for (int64_t d = type.getRank(); d-- > 0;) {
    if (type.getDimSize(d) == 1)
      continue;
    // Behind a dynamic size only the identity layout says that strides are products of sizes.
    if (strides[d] != expected && !(ShapedType::isDynamic(expected) && type.getLayout().isIdentity()))
      return false;
    expected =
        type.isDynamicDim(d) || ShapedType::isDynamic(expected) ? ShapedType::kDynamic : expected * type.getDimSize(d);
    if (ShapedType::isDynamic(expected) && !type.getLayout().isIdentity()) {
      // Nothing but sizes of 1 may stand before it.
      return llvm::all_of(type.getShape().take_front(d), [](int64_t size) { return size == 1; });
    }
  }
  return true;
}

LogicalResult AllReduceStartOp::verifySymbolUses(SymbolTableCollection &tables) {
  return caat::tp::detail::verifyGroup(*this, tables, getMeshAttr(), getAxesAttr());
}

LogicalResult AllReduceStartOp::verify() {
  if (!isDense(cast<MemRefType>(getInput().getType())))
    return emitOpError("sums dense buffers only");
  int64_t part = getPart(), parts = getParts();
  if (part < 0 || part >= parts)
    return emitOpError("is part ") << part << " of " << parts;
  Operation *end = getEnd();
  auto wait = dyn_cast_or_null<AllReduceWaitOp>(end);
  if (!end || end->getBlock() != (*this)->getBlock() || (wait && wait.getBuffer() != getInput()) ||
      end->isBeforeInBlock(*this))
    return emitOpError("needs one rt.all_reduce_wait for the same buffer, or one rt.launch, behind it in its block");
  // Also through views.
  SmallVector<Value> names{getInput()};
  while (!names.empty())
    for (Operation *user : names.pop_back_val().getUsers()) {
      if (isa<ViewLikeOpInterface>(user))
        llvm::append_range(names, user->getResults());
      Operation *at = (*this)->getBlock()->findAncestorOpInBlock(*user);
      bool isBetween = at && (*this)->isBeforeInBlock(at) && at->isBeforeInBlock(end);
      if (!isBetween || isMemoryEffectFree(user))
        continue;
      InFlightDiagnostic diagnostic = user->emitOpError("uses a buffer that is being summed");
      diagnostic.attachNote(getLoc()) << "the sum begins here";
      return diagnostic;
    }
  return success();
}

LogicalResult AllReduceWaitOp::verify() {
  return getStart() ? success() : emitOpError("waits for what is no rt.all_reduce_start");
}

LogicalResult CopyOp::verify() {
  auto source = cast<MemRefType>(getSource().getType()), target = cast<MemRefType>(getTarget().getType());
  if (!isDense(source) || !isDense(target))
    return emitOpError("copies dense buffers only");
  if (source.getElementType() != target.getElementType())
    return emitOpError("copies ") << source.getElementType() << " to " << target.getElementType();
  return success();
}
