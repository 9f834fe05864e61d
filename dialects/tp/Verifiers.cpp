// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the operations of the tp dialect must hold; Ops.td lists it under "Constraints".
#include "dialects/tp/TP.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace caat::tp;

LogicalResult caat::tp::detail::verifyGroup(Operation *op, FlatSymbolRefAttr mesh, ArrayAttr axes) {
  MeshOp meshOp = lookupMesh(op, mesh);
  if (!meshOp)
    return op->emitOpError() << "uses " << mesh << ", which is no tp.mesh";
  if (axes.empty())
    return op->emitOpError() << "needs at least one axis";
  llvm::StringSet<> seen;
  for (Attribute attr : axes) {
    auto axis = cast<StringAttr>(attr);
    if (!meshOp.getAxisSize(axis.getValue()))
      return op->emitOpError() << "uses axis " << axis << ", which mesh " << mesh << " does not have";
    if (!seen.insert(axis.getValue()).second)
      return op->emitOpError() << "uses axis " << axis << " twice";
  }
  return success();
}

LogicalResult caat::tp::detail::verifyCollective(CollectiveOpInterface op) {
  if (op.getSiteAttr() && op.getSiteAttr().empty())
    return op->emitOpError() << "has an empty site name";
  if (op.hasTensorForm()) {
    if (op->getNumResults() != op.getNumTensorResults() || op.getDestination())
      return op->emitOpError() << "on a tensor has "
                               << (op.getNumTensorResults() == 1 ? "one result and no 'into'"
                                                                 : "two results and no 'error'");
  } else {
    if (llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>))
      return op->emitOpError() << "on a memref has no result";
    if (!op.worksInPlace() && !op.getDestination())
      return op->emitOpError() << "on a memref needs 'into'";
  }
  return verifyGroup(op, op.getMeshAttr(), op.getAxesAttr());
}

/// Result or destination of a collective, whichever its form has. Null while the form itself is wrong, which the
/// interface's verifier reports.
static ShapedType getOutputType(CollectiveOpInterface op) {
  if (op->getNumResults() == 1)
    return cast<ShapedType>(op->getResult(0).getType());
  return op.getDestination() ? cast<ShapedType>(op.getDestination().getType()) : ShapedType();
}

/// Checks that the output is the input with `extent` elements along `dim` (dim < 0: the same shape).
static LogicalResult verifyOutput(CollectiveOpInterface op, int64_t dim = -1, int64_t extent = 0) {
  ShapedType output = getOutputType(op);
  if (!output)
    return success();
  auto input = cast<ShapedType>(op.getInput().getType());
  SmallVector<int64_t> expected(input.getShape());
  if (dim >= 0)
    expected[dim] = extent;
  if (output.getElementType() != input.getElementType() || output.getShape() != ArrayRef(expected)) {
    auto shape = RankedTensorType::get(expected, input.getElementType());
    return op->emitOpError() << "turns " << input << " into " << output << ", expected the shape of " << shape;
  }
  return success();
}

static LogicalResult verifyDim(CollectiveOpInterface op, int64_t dim) {
  int64_t rank = cast<ShapedType>(op.getInput().getType()).getRank();
  if (dim < 0 || dim >= rank)
    return op->emitOpError() << "has dim " << dim << ", outside [0, " << rank << ")";
  return success();
}

/// Number of ranks, or 1 where mesh or axes are wrong, which the interface's verifier reports.
static int64_t getRanks(CollectiveOpInterface op) { return op.getGroupSize(); }

LogicalResult AllReduceOp::verify() { return verifyOutput(*this); }

LogicalResult QuantizedAllReduceOp::verify() {
  auto type = cast<ShapedType>(getInput().getType());
  if (!type.getElementType().isF32() || type.getRank() == 0 || ShapedType::isDynamic(type.getShape().back()))
    return emitOpError() << "needs elements of f32 and channels of known number in the last dimension, not " << type;
  for (Type result : getResultTypes())
    if (result != type)
      return emitOpError() << "turns " << type << " into " << result;
  if (getError() && getError().getType() != type)
    return emitOpError() << "has an error of " << getError().getType() << " beside " << type;
  if (failed(caat::tp::detail::verifyRounding(getBits(), getBlock(), getExact(), [&] { return emitOpError(); })))
    return failure();
  if (!getExact().empty() && getExact().back() >= getNumChannels())
    return emitOpError() << "exempts channel " << getExact().back() << " of " << getNumChannels();
  return success();
}

LogicalResult BroadcastOp::verify() {
  int64_t root = getRoot(), ranks = getRanks(*this);
  if (root < 0 || root >= ranks)
    return emitOpError() << "has root " << root << ", outside [0, " << ranks << ")";
  return verifyOutput(*this);
}

LogicalResult PermuteOp::verify() { return verifyOutput(*this); }

LogicalResult AllGatherOp::verify() {
  int64_t dim = getDim();
  if (failed(verifyDim(*this, dim)))
    return failure();
  int64_t extent = cast<ShapedType>(getInput().getType()).getDimSize(dim);
  if (!ShapedType::isDynamic(extent) && llvm::MulOverflow(extent, getRanks(*this), extent))
    return emitOpError() << "gathers more elements than can be counted";
  return verifyOutput(*this, dim, extent);
}

LogicalResult ReduceScatterOp::verify() {
  int64_t dim = getDim(), ranks = getRanks(*this);
  if (failed(verifyDim(*this, dim)))
    return failure();
  int64_t extent = cast<ShapedType>(getInput().getType()).getDimSize(dim);
  if (ShapedType::isDynamic(extent))
    return verifyOutput(*this, dim, extent);
  if (extent % ranks != 0)
    return emitOpError() << "splits " << extent << " elements over " << ranks << " ranks";
  return verifyOutput(*this, dim, extent / ranks);
}

LogicalResult AllToAllOp::verify() {
  auto input = cast<ShapedType>(getInput().getType());
  if (input.getRank() == 0)
    return emitOpError() << "needs a value with at least one dimension";
  int64_t extent = input.getDimSize(0), ranks = getRanks(*this);
  if (!ShapedType::isDynamic(extent) && extent % ranks != 0)
    return emitOpError() << "splits " << extent << " elements over " << ranks << " ranks";
  return verifyOutput(*this);
}

LogicalResult RankOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  if (!symbolTable.lookupNearestSymbolFrom<MeshOp>(*this, getMeshAttr()))
    return emitOpError() << "uses " << getMeshAttr() << ", which is no tp.mesh";
  return success();
}

static LogicalResult verifyStep(Operation *op, SymbolTableCollection &symbolTable, FlatSymbolRefAttr mesh, int64_t step,
                                int64_t first) {
  auto meshOp = symbolTable.lookupNearestSymbolFrom<MeshOp>(op, mesh);
  if (!meshOp)
    return op->emitOpError() << "uses " << mesh << ", which is no tp.mesh";
  if (step < first || step >= meshOp.getNumRanks())
    return op->emitOpError() << "has step " << step << ", outside [" << first << ", " << meshOp.getNumRanks() << ")";
  return success();
}

LogicalResult RingShardOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  return verifyStep(*this, symbolTable, getMeshAttr(), getStep(), 0);
}

LogicalResult RotateOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  if (getGroup().empty())
    return emitOpError() << "has an empty group name";
  return verifyStep(*this, symbolTable, getMeshAttr(), getStep(), 1);
}

LogicalResult HeldOp::verify() { return getGroup().empty() ? emitOpError() << "has an empty group name" : success(); }

LogicalResult BlockOp::verify() {
  auto argument = dyn_cast<BlockArgument>(getInput());
  if (!argument || !isa<FunctionOpInterface>(argument.getOwner()->getParentOp()))
    return emitOpError() << "takes an argument of a function";
  return success();
}

LogicalResult BlocksOp::verify() {
  if (getValues().empty())
    return emitOpError() << "needs at least one value";
  for (Type type : getValues().getTypes())
    if (type != getType())
      return emitOpError() << "joins " << type << " to " << getType();
  return success();
}

/// The pieces that name elements, without those at -1, which stand for zeros.
static ArrayAttr withoutZeros(ArrayAttr pieces) {
  SmallVector<Attribute> ranks;
  for (auto flat : pieces.getAsRange<DenseI64ArrayAttr>()) {
    SmallVector<int64_t> kept;
    ArrayRef<int64_t> rest = flat.asArrayRef();
    for (; rest.size() >= 2; rest = rest.drop_front(2))
      if (rest[0] != -1 || rest[1] < 0)
        kept.append({rest[0], rest[1]});
    kept.append(rest.begin(), rest.end());
    ranks.push_back(DenseI64ArrayAttr::get(pieces.getContext(), kept));
  }
  return ArrayAttr::get(pieces.getContext(), ranks);
}

LogicalResult ShardOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  int64_t dim = getDim(), size = getSize();
  if (dim < 0 || dim >= input.getRank())
    return emitOpError() << "has dim " << dim << ", outside [0, " << input.getRank() << ")";
  int64_t extent = input.isDynamicDim(dim) ? std::numeric_limits<int64_t>::max() : input.getDimSize(dim);
  if (failed(caat::tp::detail::verifyPieces(withoutZeros(getPieces()), extent, [&] { return emitOpError(); })))
    return failure();
  for (int64_t rank = 0, ranks = getPieces().size(); rank < ranks; ++rank) {
    int64_t length = 0;
    for (Piece piece : caat::tp::getPieces(getPieces(), rank))
      if (llvm::AddOverflow(length, piece.length, length))
        return emitOpError() << "gives rank " << rank << " more elements than can be counted";
    if (length > size)
      return emitOpError() << "gives rank " << rank << " " << length << " elements, more than size " << size;
  }
  SmallVector<int64_t> shape(input.getShape());
  shape[dim] = size;
  RankedTensorType expected = input.clone(shape);
  if (getResult().getType() != expected)
    return emitOpError() << "must give " << expected << ", not " << getResult().getType();
  return success();
}

LogicalResult SyncPointOp::verifySymbolUses(SymbolTableCollection &) {
  if (failed(caat::tp::detail::verifyGroup(*this, getMeshAttr(), getAxesAttr())))
    return failure();
  int64_t ranks = caat::tp::detail::getGroupSize(*this, getMeshAttr(), getAxesAttr());
  DenseElementsAttr estimate = getPolicy().getEstimateScale();
  if (estimate && estimate.getType().getShape() != ArrayRef({ranks, getNumChannels()}))
    return emitOpError() << "has an estimate of " << estimate.getType() << " for " << ranks << " ranks and "
                         << getNumChannels() << " channels";
  LowRankAttr lowRank = getPolicy().getLowRank();
  if (lowRank && lowRank.readsInput() && !getInput())
    return emitOpError() << "has an estimate that reads its input, which it does not have";
  return success();
}

LogicalResult SyncPointOp::verify() {
  auto type = cast<RankedTensorType>(getPartial().getType());
  for (Value value :
       {Value(getBase()), Value(getPending()), Value(getInput()), Value(getNewBase()), Value(getNewPending())})
    if (value && value.getType() != type)
      return emitOpError() << "has a partial of " << type << " beside " << value.getType();
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return emitOpError() << "needs channels of known number in the last dimension, not " << type;
  int64_t channels = getNumChannels();
  if (Value bias = getBias()) {
    auto biasType = cast<RankedTensorType>(bias.getType());
    bool isVector = biasType.getRank() > 0 && biasType.getShape().back() == channels &&
                    llvm::all_of(biasType.getShape().drop_back(), [](int64_t extent) { return extent == 1; });
    if (!isVector)
      return emitOpError() << "needs a bias with " << channels << " channels, not " << biasType;
  }
  PolicyAttr policy = getPolicy();
  if (policy.getShared() > channels)
    return emitOpError() << "shares " << policy.getShared() << " of " << channels << " channels";
  if (policy.getOrder() && policy.getOrder().size() != channels)
    return emitOpError() << "orders " << policy.getOrder().size() << " of " << channels << " channels";
  bool defers = policy.isDeferred() && policy.getShared() < channels;
  if (getNotDeferrable() && (defers || policy.hasFeedback()))
    return emitOpError() << "cannot defer: " << *getNotDeferrable();
  if (RoundingAttr rounding = policy.getRounding()) {
    if (!type.getElementType().isF32())
      return emitOpError() << "rounds elements of f32 only, not of " << type.getElementType();
    for (int64_t channel : rounding.getExact())
      if (!policy.isReduced(channel, channels))
        return emitOpError() << "exempts channel " << channel << ", which it does not reduce, from rounding";
  }
  if (!getBase() && getPending())
    return emitOpError() << "has something pending but no base";
  if (getSite().empty())
    return emitOpError() << "has an empty site name";
  return success();
}
