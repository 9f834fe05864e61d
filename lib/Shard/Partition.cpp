// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rewrites a function in place, op by op: operands get local types from their producers, weights are sliced where they
// are used, and what an op needs whole is gathered. An op is changed by its rule only, so the program stays in order.
#include "Annotations.h"
#include "SinkAllReduces.h"
#include "SiteNames.h"
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/Passes.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace caat {
#define GEN_PASS_DEF_TPPARTITION
#include "caat/Shard/Passes.h.inc"

using namespace shard;

namespace {

class Partitioner {
public:
  Partitioner(ShardingAnalysis &analysis, const Split &split, FlatSymbolRefAttr mesh)
      : analysis(analysis), split(split), mesh(mesh), rewriter(mesh.getContext()),
        local(rewriter, analysis, split, mesh), axes(rewriter.getStrArrayAttr({axisName})) {}

  LogicalResult run();

private:
  void rewriteArguments();
  LogicalResult rewriteOp(Operation *op);
  void rewriteReturn(func::ReturnOp op);
  void keepWhole(Operation *op);
  void reducePartialSums(Operation *op);
  /// Slices as deep in the weight's expression as possible.
  Value shardWeight(Value weight, int64_t dim, ArrayAttr pieces, int64_t size);
  Value slice(Value value, int64_t dim, const DimLayout &terms);
  Value slice(Value value, int64_t dim, ArrayAttr pieces, int64_t size);
  Value gather(Value value, Operation *user);
  void replaceBySlice(Value whole, Value part);

  ShardingAnalysis &analysis;
  const Split &split;
  FlatSymbolRefAttr mesh;
  IRRewriter rewriter;
  LocalShapes local;
  ArrayAttr axes;
  SiteNames sites;
  llvm::MapVector<Value, Value> gathered;
  SmallVector<tp::AllReduceOp> reductions; // of products
  SmallVector<Operation *> replaced; // ops that no one reads any more; erased last, since their addresses are keys
  llvm::DenseMap<std::tuple<Value, int64_t, Attribute>, Value> slices;
};

} // namespace

/// This rank's part of a value that all ranks have whole: a slice at rank * size, or where it is cut in segments or
/// padded, the elements that a row of a table names.
static Value sliceActivation(RewriterBase &rewriter, Value value, int64_t dim, ArrayRef<Term> terms, const Split &split,
                             FlatSymbolRefAttr mesh) {
  Location loc = value.getLoc();
  auto type = cast<RankedTensorType>(value.getType());
  int64_t size = split.localSize(terms);
  SmallVector<int64_t> shape(type.getShape()), table;
  shape[dim] = size;
  bool plain = true, padded = false;
  for (int64_t rank = 0; rank < split.getSize(); ++rank) {
    for (const tp::Piece &piece : split.pieces(terms, rank))
      for (int64_t i = 0; i < piece.length; ++i)
        table.push_back(piece.start < 0 ? -1 : piece.start + i);
    table.resize((rank + 1) * size, -1);
  }
  for (auto [position, element] : llvm::enumerate(table)) {
    padded |= element < 0;
    plain &= element == int64_t(position);
  }
  auto scalar = [&](int64_t number) -> Value { return arith::ConstantIndexOp::create(rewriter, loc, number); };
  auto tensorOf = [&](Value index) -> Value {
    Value number = arith::IndexCastOp::create(rewriter, loc, rewriter.getI64Type(), index);
    return tensor::FromElementsOp::create(rewriter, loc, RankedTensorType::get({1}, rewriter.getI64Type()), number);
  };
  Value rank = tp::RankOp::create(rewriter, loc, rewriter.getIndexType(), mesh);
  Value first = arith::MulIOp::create(rewriter, loc, rank, scalar(size));
  Value axis = onnx::createInts(rewriter, loc, {dim});
  Value from = tensorOf(first), to = tensorOf(arith::AddIOp::create(rewriter, loc, first, scalar(size)));
  if (plain)
    return onnx::SliceOp::create(rewriter, loc, type.clone(shape), value, from, to, axis, Value());

  Value zero = onnx::createInts(rewriter, loc, {0});
  auto row = [&](ArrayRef<int64_t> numbers) -> Value {
    auto rowType = RankedTensorType::get({size}, rewriter.getI64Type());
    return onnx::SliceOp::create(rewriter, loc, rowType, onnx::createInts(rewriter, loc, numbers), from, to, zero,
                                 Value());
  };
  SmallVector<int64_t> index = llvm::map_to_vector(table, [](int64_t i) { return std::max<int64_t>(i, 0); });
  Value own = onnx::GatherOp::create(rewriter, loc, type.clone(shape), value, row(index), dim);
  if (!padded)
    return own;
  auto maskType = RankedTensorType::get({size}, rewriter.getI1Type());
  Value mask = onnx::GreaterOrEqualOp::create(rewriter, loc, maskType, row(table), zero);
  SmallVector<int64_t> axes, maskShape{size};
  for (int64_t after = dim + 1; after < type.getRank(); ++after) {
    axes.push_back(after - dim);
    maskShape.push_back(1);
  }
  if (!axes.empty())
    mask = onnx::UnsqueezeOp::create(rewriter, loc, maskType.clone(maskShape), mask,
                                     onnx::createInts(rewriter, loc, axes));
  auto zeroType = RankedTensorType::get({}, type.getElementType());
  Value none = onnx::ConstantOp::create(rewriter, loc,
                                        DenseElementsAttr::get(zeroType, rewriter.getZeroAttr(type.getElementType())));
  return onnx::WhereOp::create(rewriter, loc, type.clone(shape), mask, own, none);
}

Value Partitioner::slice(Value value, int64_t dim, const DimLayout &terms) {
  ArrayAttr pieces = split.piecesAttr(rewriter.getContext(), terms);
  if (analysis.isWeight(value))
    return slice(value, dim, pieces, split.localSize(terms));
  Value &result = slices[{value, dim, pieces}];
  if (!result) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfterValue(value);
    result = sliceActivation(rewriter, value, dim, terms, split, mesh);
  }
  return result;
}

Value Partitioner::slice(Value value, int64_t dim, ArrayAttr pieces, int64_t size) {
  Value &result = slices[{value, dim, pieces}];
  if (!result) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfterValue(value);
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = size;
    result = tp::ShardOp::create(rewriter, value.getLoc(), type.clone(shape), value, dim, pieces, size);
  }
  return result;
}

/// The pieces in units of `unit`, for a dimension that holds one number for each so many; null where a piece is none.
static ArrayAttr inUnits(ArrayAttr pieces, int64_t unit) {
  SmallVector<Attribute> ranks;
  for (auto rank : pieces.getAsRange<DenseI64ArrayAttr>()) {
    SmallVector<int64_t> scaled(rank.asArrayRef());
    for (auto [i, value] : llvm::enumerate(scaled)) {
      bool isPadding = i % 2 == 0 && value < 0;
      if (!isPadding && value % unit != 0)
        return {};
      value = isPadding ? value : value / unit;
    }
    ranks.push_back(DenseI64ArrayAttr::get(pieces.getContext(), scaled));
  }
  return ArrayAttr::get(pieces.getContext(), ranks);
}

/// What one operand of a weight expression is cut into, so that the expression gives its slice: dimension, pieces,
/// size.
struct OperandSlice {
  int64_t dim, size;
  ArrayAttr pieces; // null: the operand as it is
};

/// The slices of `op`'s operands that make the slice [dim, pieces] of its result; nothing where there are none. Less is
/// computed so for each rank, and a tied weight is sliced once for all its uses.
static std::optional<SmallVector<OperandSlice>> operandSlices(Operation *op, int64_t dim, ArrayAttr pieces,
                                                              int64_t size) {
  if (isa<onnx::CastOp>(op))
    return {{{dim, size, pieces}}};
  if (auto transpose = dyn_cast<onnx::TransposeOp>(op)) {
    int64_t rank = cast<RankedTensorType>(transpose.getType()).getRank();
    return {{{transpose.getPerm() ? (*transpose.getPerm())[dim] : rank - 1 - dim, size, pieces}}};
  }
  if (auto unpack = dyn_cast<onnx::UnpackOp>(op)) {
    bool isLast = dim == cast<RankedTensorType>(unpack.getType()).getRank() - 1;
    int64_t unit = isLast ? 8 / unpack.getBits() : 1;
    ArrayAttr scaled = inUnits(pieces, unit);
    if (!scaled || size % unit != 0)
      return std::nullopt;
    return {{{dim, size / unit, scaled}}};
  }
  auto dequantize = dyn_cast<onnx::DequantizeLinearOp>(op);
  if (!dequantize)
    return std::nullopt;
  auto type = cast<RankedTensorType>(dequantize.getType()),
       scale = cast<RankedTensorType>(dequantize.getXScale().getType());
  int64_t axis = dequantize.getAxis() < 0 ? dequantize.getAxis() + type.getRank() : dequantize.getAxis();
  int64_t block = dequantize.getBlockSize();
  if (block <= 0 || scale.getRank() != type.getRank() || type.getDimSize(axis) % block != 0)
    return std::nullopt;
  int64_t unit = dim == axis ? block : 1;
  ArrayAttr scaled = inUnits(pieces, unit);
  if (!scaled || size % unit != 0)
    return std::nullopt;
  SmallVector<OperandSlice> result = {{dim, size, pieces}};
  result.append(op->getNumOperands() - 1, {dim, size / unit, scaled});
  return result;
}

Value Partitioner::shardWeight(Value weight, int64_t dim, ArrayAttr pieces, int64_t size) {
  Operation *op = weight.getDefiningOp();
  auto operands = operandSlices(op, dim, pieces, size);
  if (!operands)
    return slice(weight, dim, pieces, size);
  if (Value known = slices.lookup({weight, dim, pieces}))
    return known;
  OpBuilder::InsertionGuard guard(rewriter);
  SmallVector<Value> inputs;
  for (auto [operand, part] : llvm::zip_equal(op->getOperands(), *operands))
    inputs.push_back(shardWeight(operand, part.dim, part.pieces, part.size));
  Operation *last = op;
  for (Value input : inputs)
    if (Operation *producer = input.getDefiningOp(); producer && last->isBeforeInBlock(producer))
      last = producer;
  last == op ? rewriter.setInsertionPoint(op) : rewriter.setInsertionPointAfter(last);
  Operation *copy = rewriter.clone(*op);
  copy->setOperands(inputs);
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = size;
  copy->getResult(0).setType(type.clone(shape));
  return slices[{weight, dim, pieces}] = copy->getResult(0);
}

/// The whole value from the ranks' slices. The slices come one behind the other, each with its segments and padding;
/// where that is not the order of the whole, an index puts it right.
Value Partitioner::gather(Value value, Operation *user) {
  Value &result = gathered[value];
  if (result)
    return result;
  ValueLayout layout = analysis.getLayout(value);
  int64_t dim = split.splitDim(layout), ranks = split.getSize();
  int64_t localSize = split.localSize(layout[dim]), wholeSize = analysis.getSpace().getSize(layout[dim]);
  Location loc = user->getLoc();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(user);
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = localSize * ranks;
  result = tp::AllGatherOp::create(rewriter, loc, type.clone(shape), value, Value(), rewriter.getI64IntegerAttr(dim),
                                   mesh, axes, rewriter.getStringAttr(sites.numbered("gather")))
               .getResult();

  SmallVector<int64_t> index(wholeSize, -1);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    int64_t position = rank * localSize;
    for (const tp::Piece &piece : split.pieces(layout[dim], rank)) {
      for (int64_t i = 0; i < piece.length; ++i)
        if (piece.start >= 0 && index[piece.start + i] < 0)
          index[piece.start + i] = position + i;
      position += piece.length;
    }
  }
  shape[dim] = wholeSize;
  bool inOrder =
      llvm::all_of(llvm::enumerate(index), [](auto entry) { return int64_t(entry.index()) == entry.value(); });
  if (!inOrder)
    result =
        onnx::GatherOp::create(rewriter, loc, type.clone(shape), result, onnx::createInts(rewriter, loc, index), dim);
  else if (wholeSize != localSize * ranks)
    result = onnx::SliceOp::create(rewriter, loc, type.clone(shape), result, onnx::createInts(rewriter, loc, {0}),
                                   onnx::createInts(rewriter, loc, {wholeSize}), onnx::createInts(rewriter, loc, {dim}),
                                   Value());
  remark::missed(loc, remark::RemarkOpts::name("gather").category("caat"))
      << llvm::formatv("{0} {1} and needs a value whole that is split: gathers {2} bytes per token",
                       user->getName().getStringRef(),
                       isa<func::ReturnOp>(user) ? "hands it out" : whyWhole(analysis, split, user).value_or(""),
                       bytesPerToken(type.clone(shape)))
             .str();
  return result;
}

/// Users take the slice, and where one needs the whole value, that is at hand.
void Partitioner::replaceBySlice(Value whole, Value part) {
  // The slice's own ops come before it: only what follows takes it.
  whole.replaceUsesWithIf(part, [&](OpOperand &use) {
    return use.getOwner()->getBlock() != part.getParentBlock() || part.getDefiningOp()->isBeforeInBlock(use.getOwner());
  });
  analysis.copyLayout(whole, part);
  gathered[part] = whole;
}

void Partitioner::rewriteArguments() {
  func::FuncOp function = analysis.getFunction();
  for (BlockArgument argument : function.getArguments()) {
    ValueLayout layout = analysis.getLayout(argument);
    int64_t dim = split.splitDim(layout);
    if (dim < 0)
      continue;
    if (split.hasInnerPadding(layout[dim])) {
      // The runtime cuts arguments in plain pieces only; this one is handed over whole.
      rewriter.setInsertionPointToStart(&function.getBody().front());
      replaceBySlice(argument, slice(argument, dim, layout[dim]));
      continue;
    }
    auto type = cast<RankedTensorType>(argument.getType());
    function.setArgAttr(argument.getArgNumber(), tp::kShardAttrName,
                        tp::ShardAttr::get(rewriter.getContext(), dim, type.getDimSize(dim),
                                           split.piecesAttr(rewriter.getContext(), layout[dim])));
    argument.setType(split.localType(type, layout));
  }
}

/// An op that needs whole values takes them, also those that its regions capture; its results are sliced again.
void Partitioner::keepWhole(Operation *op) {
  op->walk([&](Operation *inner) {
    for (OpOperand &operand : inner->getOpOperands())
      if (!analysis.isWeight(operand.get()) && split.splitDim(analysis.getLayout(operand.get())) >= 0)
        operand.set(gather(operand.get(), op));
  });
  for (Value result : op->getResults())
    if (ValueLayout layout = analysis.getLayout(result); split.splitDim(layout) >= 0) {
      int64_t dim = split.splitDim(layout);
      replaceBySlice(result, slice(result, dim, layout[dim]));
    }
}

void Partitioner::reducePartialSums(Operation *op) {
  for (const Contraction &contraction : analysis.getFactors(op).contractions) {
    DimLayout terms = analysis.getSpace().resolve(contraction.layout);
    if (!split.isSplit(terms))
      continue;
    Value partial = local.getReplacement(op->getResult(0));
    StringAttr site = rewriter.getStringAttr(sites.of(analysis, op, contraction));
    rewriter.setInsertionPointAfterValue(partial);
    auto sum = tp::AllReduceOp::create(rewriter, op->getLoc(), partial.getType(), partial, mesh, axes, site);
    local.replaceResult(op->getResult(0), sum->getResult(0));
    if (!contraction.lookup)
      reductions.push_back(sum);
    remark::passed(op->getLoc(), remark::RemarkOpts::name("all-reduce").category("caat"))
        << llvm::formatv("site {0}: reduces {1} bytes per token", site.getValue(), bytesPerToken(partial.getType()))
               .str();
  }
}

LogicalResult Partitioner::rewriteOp(Operation *op) {
  const OpFactors &factors = analysis.getFactors(op);
  if (whyWhole(analysis, split, op)) {
    keepWhole(op);
    return success();
  }
  for (OpOperand &operand : op->getOpOperands()) {
    if (!analysis.isWeight(operand.get()))
      continue;
    ValueLayout layout = analysis.getLayout(operand);
    if (int64_t dim = split.splitDim(layout); dim >= 0)
      operand.set(shardWeight(operand.get(), dim, split.piecesAttr(rewriter.getContext(), layout[dim]),
                              split.localSize(layout[dim])));
  }
  rewriter.setInsertionPoint(op);
  if (factors.rule->localize && failed(factors.rule->localize(op, local)))
    return op->emitError("cannot be rewritten for local shapes");
  for (Value result : op->getResults())
    if (ValueLayout layout = analysis.getLayout(result); split.splitDim(layout) >= 0)
      result.setType(split.localType(cast<RankedTensorType>(result.getType()), layout));
  reducePartialSums(op);
  if (op->use_empty() && op->getNumResults() != 0 && local.getReplacement(op->getResult(0)) != op->getResult(0))
    replaced.push_back(op);
  return success();
}

void Partitioner::rewriteReturn(func::ReturnOp op) {
  func::FuncOp function = analysis.getFunction();
  for (OpOperand &operand : op->getOpOperands()) {
    ValueLayout layout = analysis.getLayout(operand.get());
    int64_t dim = split.splitDim(layout);
    if (dim < 0)
      continue;
    if (split.hasInnerPadding(layout[dim])) {
      operand.set(gather(operand.get(), op));
      continue;
    }
    function.setResultAttr(operand.getOperandNumber(), tp::kShardAttrName,
                           tp::ShardAttr::get(rewriter.getContext(), dim, analysis.getSpace().getSize(layout[dim]),
                                              split.piecesAttr(rewriter.getContext(), layout[dim])));
  }
}

LogicalResult Partitioner::run() {
  func::FuncOp function = analysis.getFunction();
  rewriteArguments();
  func::ReturnOp end;
  for (Operation *op : analysis.getOps()) {
    if (auto returned = dyn_cast<func::ReturnOp>(op))
      end = returned;
    else if (failed(rewriteOp(op)))
      return failure();
  }
  if (end)
    rewriteReturn(end);
  llvm::DenseSet<Value> partial;
  for (tp::AllReduceOp reduction : reductions)
    partial.insert(reduction.getInput());
  auto isReplicated = [&](Value value) {
    return analysis.isWeight(value) || (!partial.contains(value) && split.splitDim(analysis.getLayout(value)) < 0);
  };
  for (tp::AllReduceOp reduction : reductions)
    partial.insert_range(sinkAllReduce(rewriter, reduction, isReplicated));
  for (Operation *op : llvm::reverse(replaced))
    rewriter.eraseOp(op);
  function.setType(FunctionType::get(function.getContext(), function.getBody().front().getArgumentTypes(),
                                     end ? TypeRange(end->getOperandTypes()) : TypeRange()));
  return success();
}

namespace {
struct TPPartition : impl::TPPartitionBase<TPPartition> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto mesh = module.lookupSymbol<tp::MeshOp>(meshName);
    if (!mesh || !mesh.getAxisSize(axisName)) {
      module.emitError("has no tp.mesh @")
          << meshName << " with an axis \"" << axisName << "\"; run tp-auto-shard first";
      return signalPassFailure();
    }
    int64_t size = *mesh.getAxisSize(axisName);
    ShardingRules rules;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      if (size > 1) {
        ShardingAnalysis analysis(function, rules);
        FailureOr<Split> split = readAnnotations(analysis, size);
        if (failed(split) || failed(Partitioner(analysis, *split, FlatSymbolRefAttr::get(mesh)).run()))
          return signalPassFailure();
      }
      clearAnnotations(function);
    }
  }
};
} // namespace
} // namespace caat
