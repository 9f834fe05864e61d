// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-bind-rank: see Passes.td.
#include "StoredWeights.h"
#include "caat/Export/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXBINDRANKPASS
#include "caat/Export/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

static Value castTo(OpBuilder &builder, Location loc, Value value, Type element) {
  auto type = cast<TensorType>(value.getType());
  return type.getElementType() == element ? value : onnx::CastOp::create(builder, loc, value, element);
}

/// `dim` of `value` from `start` on, `length` elements.
static Value sliceOf(OpBuilder &builder, Location loc, Value value, int64_t dim, int64_t start, int64_t length) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = length;
  return onnx::SliceOp::create(builder, loc, type.clone(shape), value, onnx::createInts(builder, loc, {start}),
                               onnx::createInts(builder, loc, {start + length}), onnx::createInts(builder, loc, {dim}),
                               Value());
}

/// A rank's slice of a value that is computed: a Slice where it is one piece, else an index into the value with a zero
/// behind it, which stands for all padding.
static Value bindShard(OpBuilder &builder, tp::ShardOp op, int64_t rank) {
  Location loc = op.getLoc();
  int64_t dim = op.getDim(), size = op.getSize();
  SmallVector<tp::Piece> pieces = tp::getPieces(op.getPieces(), rank);
  if (pieces.size() == 1 && pieces[0].length == size && pieces[0].start >= 0)
    return sliceOf(builder, loc, op.getInput(), dim, pieces[0].start, size);
  auto type = cast<RankedTensorType>(op.getInput().getType());
  int64_t extent = type.getDimSize(dim);
  SmallVector<int64_t> index, shape(type.getShape());
  for (const tp::Piece &piece : pieces)
    for (int64_t i = 0; i < piece.length; ++i)
      index.push_back(piece.start < 0 ? extent : piece.start + i);
  index.resize(size, extent);
  shape[dim] = extent + 1;
  Value padded =
      onnx::PadOp::create(builder, loc, type.clone(shape), op.getInput(), onnx::createInts(builder, loc, {0, 1}),
                          Value(), onnx::createInts(builder, loc, {dim}));
  return onnx::GatherOp::create(builder, loc, op.getResult().getType(), padded, onnx::createInts(builder, loc, index),
                                dim);
}

namespace {

/// Collectives as operators of ONNX Runtime's NCCL build.
class CollectiveBinder {
public:
  CollectiveBinder(OpBuilder &builder, tp::CollectiveOpInterface op, int64_t rank)
      : builder(builder), op(op), rank(rank), loc(makeLoc()) {}

  FailureOr<Value> run() {
    auto mesh = tp::lookupMesh(op, op.getMeshAttr());
    if (op.getGroupSize() != mesh.getNumRanks())
      return refuse("spans " + Twine(op.getGroupSize()) + " of " + Twine(mesh.getNumRanks()) +
                    " ranks; ONNX Runtime's collectives span all of them");
    return llvm::TypeSwitch<Operation *, FailureOr<Value>>(op)
        .Case([&](tp::AllReduceOp) { return allReduce(); })
        .Case([&](tp::AllGatherOp gather) {
          return moved("AllGather", gather->getResult(0).getType(),
                       {{"axis", gather.getDim()}, {"group_size", op.getGroupSize()}});
        })
        .Case([&](tp::AllToAllOp exchange) {
          return moved("AllToAll", exchange->getResult(0).getType(), {{"group_size", op.getGroupSize()}});
        })
        .Case([&](tp::ReduceScatterOp scatter) -> FailureOr<Value> {
          int64_t dim = scatter.getDim(),
                  part = cast<RankedTensorType>(scatter->getResult(0).getType()).getDimSize(dim);
          if (ShapedType::isDynamic(part))
            return refuse("scatters a dimension whose size is not known");
          FailureOr<Value> sum = allReduce();
          if (failed(sum))
            return failure();
          return sliceOf(builder, loc, *sum, dim, rank * part, part);
        })
        .Case([&](tp::QuantizedAllReduceOp) {
          return refuse("rounds what it sends, which no collective of ONNX Runtime does; export a plan without 'bits'");
        })
        .Default([&](Operation *) { return refuse("has no counterpart among ONNX Runtime's collectives"); });
  }

private:
  /// The node is named by its site.
  Location makeLoc() {
    StringAttr site = op.getSiteAttr();
    if (!site)
      return op.getLoc();
    return NameLoc::get(builder.getStringAttr(site.getValue() + "/" + kind()), op.getLoc());
  }

  StringRef kind() {
    return llvm::TypeSwitch<Operation *, StringRef>(op)
        .Case([](tp::AllGatherOp) { return "AllGather"; })
        .Case([](tp::AllToAllOp) { return "AllToAll"; })
        .Default([](Operation *) { return "AllReduce"; });
  }

  LogicalResult refuse(const Twine &why) {
    return op->emitError() << "cannot be written to ONNX: " << op->getName().getStringRef() << " " << why;
  }

  Value create(StringRef opType, Value input, Type result, ArrayRef<std::pair<StringRef, int64_t>> numbers) {
    NamedAttrList attributes;
    for (auto [name, value] : numbers)
      attributes.append(name, builder.getI64IntegerAttr(value));
    return onnx::CustomOp::create(builder, loc, TypeRange{result}, ValueRange{input}, "com.microsoft", opType,
                                  /*version=*/1, attributes.getDictionary(builder.getContext()))
        .getResult(0);
  }

  /// Takes f16, f32 and f64.
  FailureOr<Value> allReduce() {
    auto type = cast<TensorType>(op.getInput().getType());
    Type element = type.getElementType(), wire = element.isBF16() ? builder.getF32Type() : element;
    if (!wire.isF16() && !wire.isF32() && !wire.isF64())
      return refuse("sums elements that AllReduce does not take");
    Value sum = create("AllReduce", castTo(builder, loc, op.getInput(), wire), type.clone(wire), {});
    return castTo(builder, loc, sum, element);
  }

  /// What only moves elements; takes f16, f32, f64, i64 and booleans.
  FailureOr<Value> moved(StringRef opType, Type result, ArrayRef<std::pair<StringRef, int64_t>> attributes) {
    auto type = cast<TensorType>(result);
    Type element = type.getElementType(), wire = element;
    if (element.isBF16())
      wire = builder.getF32Type();
    else if (element.isInteger() && !element.isInteger(1) &&
             element.getIntOrFloatBitWidth() < (element.isUnsignedInteger() ? 64 : 65))
      wire = builder.getI64Type();
    if (!wire.isF16() && !wire.isF32() && !wire.isF64() && !wire.isInteger(1) && !wire.isSignlessInteger(64))
      return refuse("moves elements that " + opType + " does not take");
    Value value = create(opType, castTo(builder, loc, op.getInput(), wire), type.clone(wire), attributes);
    return castTo(builder, loc, value, element);
  }

  OpBuilder &builder;
  tp::CollectiveOpInterface op;
  int64_t rank;
  Location loc;
};

struct BindRank : caat::impl::ONNXBindRankPassBase<BindRank> {
  using ONNXBindRankPassBase::ONNXBindRankPassBase;

  void runOnOperation() override {
    EvaluatedOps weights(getOperation());
    WalkResult result = getOperation().walk([&](Operation *op) {
      OpBuilder builder(op);
      FailureOr<Value> value = Value();
      if (isa<tp::RankOp>(op))
        value = arith::ConstantIndexOp::create(builder, op->getLoc(), rank).getResult();
      else if (auto shard = dyn_cast<tp::ShardOp>(op); shard && !weights.contains(op))
        value = bindShard(builder, shard, rank);
      else if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op))
        value = CollectiveBinder(builder, collective, rank).run();
      if (failed(value))
        return WalkResult::interrupt();
      if (*value) {
        op->getResult(0).replaceAllUsesWith(*value);
        op->erase();
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
