// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the operations of the tp dialect must hold; Ops.td lists it under "Constraints". What depends on the mesh is
// looked at with the symbols of the module, since an operation's own verifier may see nothing outside of it.
#include "dialects/tp/TP.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace caat::tp;

/// What is wrong with the axes of a group whatever the mesh is.
static LogicalResult verifyAxes(Operation *op, ArrayAttr axes) {
  if (axes.empty())
    return op->emitOpError() << "needs at least one axis";
  llvm::StringSet<> seen;
  for (auto axis : axes.getAsRange<StringAttr>())
    if (!seen.insert(axis.getValue()).second)
      return op->emitOpError() << "uses axis " << axis << " twice";
  return success();
}

static FailureOr<MeshOp> verifyMesh(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr mesh) {
  if (auto meshOp = symbols.lookupNearestSymbolFrom<MeshOp>(op, mesh))
    return meshOp;
  return op->emitOpError() << "uses " << mesh << ", which is no tp.mesh";
}

FailureOr<int64_t> caat::tp::detail::verifyGroup(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr mesh,
                                                 ArrayAttr axes) {
  FailureOr<MeshOp> meshOp = verifyMesh(op, symbols, mesh);
  if (failed(meshOp))
    return failure();
  int64_t ranks = 1;
  for (auto axis : axes.getAsRange<StringAttr>()) {
    std::optional<int64_t> size = meshOp->getAxisSize(axis.getValue());
    if (!size)
      return op->emitOpError() << "uses axis " << axis << ", which mesh " << mesh << " does not have";
    ranks *= *size;
  }
  return ranks;
}

template <typename Op> static FailureOr<int64_t> verifyGroup(Op op, SymbolTableCollection &symbols) {
  return caat::tp::detail::verifyGroup(op, symbols, op.getMeshAttr(), op.getAxesAttr());
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
  return verifyAxes(op, op.getAxesAttr());
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

/// Extent of the operand along a dimension that is divided over, or made of, the ranks' parts.
static int64_t getExtent(CollectiveOpInterface op, int64_t dim) {
  return cast<ShapedType>(op.getInput().getType()).getDimSize(dim);
}

static LogicalResult verifySplit(CollectiveOpInterface op, int64_t extent, int64_t ranks) {
  if (!ShapedType::isDynamic(extent) && extent % ranks != 0)
    return op->emitOpError() << "splits " << extent << " elements over " << ranks << " ranks";
  return success();
}

LogicalResult AllReduceOp::verify() { return verifyOutput(*this); }

LogicalResult AllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) { return verifyGroup(*this, symbols); }

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

LogicalResult QuantizedAllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyGroup(*this, symbols);
}

LogicalResult BroadcastOp::verify() { return verifyOutput(*this); }

LogicalResult BroadcastOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = verifyGroup(*this, symbols);
  if (failed(ranks))
    return failure();
  int64_t root = getRoot();
  if (root < 0 || root >= *ranks)
    return emitOpError() << "has root " << root << ", outside [0, " << *ranks << ")";
  return success();
}

LogicalResult PermuteOp::verify() { return verifyOutput(*this); }

LogicalResult PermuteOp::verifySymbolUses(SymbolTableCollection &symbols) { return verifyGroup(*this, symbols); }

LogicalResult AllGatherOp::verify() { return verifyDim(*this, getDim()); }

LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = verifyGroup(*this, symbols);
  if (failed(ranks))
    return failure();
  int64_t dim = getDim(), extent = getExtent(*this, dim);
  if (!ShapedType::isDynamic(extent) && llvm::MulOverflow(extent, *ranks, extent))
    return emitOpError() << "gathers more elements than can be counted";
  return verifyOutput(*this, dim, extent);
}

LogicalResult ReduceScatterOp::verify() { return verifyDim(*this, getDim()); }

LogicalResult ReduceScatterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = verifyGroup(*this, symbols);
  int64_t dim = getDim(), extent = getExtent(*this, dim);
  if (failed(ranks) || failed(verifySplit(*this, extent, *ranks)))
    return failure();
  return verifyOutput(*this, dim, ShapedType::isDynamic(extent) ? extent : extent / *ranks);
}

LogicalResult AllToAllOp::verify() {
  if (cast<ShapedType>(getInput().getType()).getRank() == 0)
    return emitOpError() << "needs a value with at least one dimension";
  return verifyOutput(*this);
}

LogicalResult AllToAllOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = verifyGroup(*this, symbols);
  return failed(ranks) ? failure() : verifySplit(*this, getExtent(*this, 0), *ranks);
}

LogicalResult RankOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyMesh(*this, symbols, getMeshAttr());
}

static LogicalResult verifyStep(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr mesh, int64_t step,
                                int64_t first) {
  FailureOr<MeshOp> meshOp = verifyMesh(op, symbols, mesh);
  if (failed(meshOp))
    return failure();
  if (step < first || step >= meshOp->getNumRanks())
    return op->emitOpError() << "has step " << step << ", outside [" << first << ", " << meshOp->getNumRanks() << ")";
  return success();
}

LogicalResult RingShardOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyStep(*this, symbols, getMeshAttr(), getStep(), 0);
}

LogicalResult RotateOp::verify() { return getGroup().empty() ? emitOpError() << "has an empty group name" : success(); }

LogicalResult RotateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyStep(*this, symbols, getMeshAttr(), getStep(), 1);
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

LogicalResult SyncPointOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = verifyGroup(*this, symbols);
  if (failed(ranks))
    return failure();
  DenseElementsAttr estimate = getPolicy().getEstimateScale();
  if (estimate && estimate.getType().getShape() != ArrayRef({*ranks, getNumChannels()}))
    return emitOpError() << "has an estimate of " << estimate.getType() << " for " << *ranks << " ranks and "
                         << getNumChannels() << " channels";
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
  LowRankAttr lowRank = policy.getLowRank();
  if (lowRank && lowRank.readsInput() && !getInput())
    return emitOpError() << "has an estimate that reads its input, which it does not have";
  if (!getBase() && getPending())
    return emitOpError() << "has something pending but no base";
  if (getSite().empty())
    return emitOpError() << "has an empty site name";
  return verifyAxes(*this, getAxesAttr());
}
