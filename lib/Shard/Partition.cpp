// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rewrites a function in place, op by op: operands get local types from their producers, weights are sliced where they
// are used, and what an op needs whole is gathered. An op is changed by its rule only, so the program stays in order.
#include "Annotations.h"
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

/// Names of sites in the order of the graph: layers.0.attn, layers.0.mlp, layers.1.attn, …
class SiteNames {
public:
  explicit SiteNames(MLIRContext *context) : context(context) {}
  StringAttr next(bool heads) {
    bool &seen = heads ? attention : mlp;
    if (seen) {
      ++layer;
      attention = mlp = false;
    }
    (heads ? attention : mlp) = true;
    return StringAttr::get(context, "layers." + Twine(layer) + (heads ? ".attn" : ".mlp"));
  }
  StringAttr numbered(StringRef name) {
    unsigned number = counts[name]++;
    return StringAttr::get(context, number == 0 ? Twine(name) : name + "." + Twine(number));
  }

private:
  MLIRContext *context;
  int64_t layer = 0;
  bool attention = false, mlp = false;
  llvm::StringMap<unsigned> counts;
};

class Partitioner {
public:
  Partitioner(ShardingAnalysis &analysis, const Split &split, FlatSymbolRefAttr mesh)
      : analysis(analysis), split(split), mesh(mesh), rewriter(mesh.getContext()),
        local(rewriter, analysis, split, mesh), axes(rewriter.getStrArrayAttr({axisName})), sites(mesh.getContext()) {}

  LogicalResult run();

private:
  void rewriteArguments();
  LogicalResult rewriteOp(Operation *op);
  void rewriteReturn(func::ReturnOp op);
  void keepWhole(Operation *op);
  void reducePartialSums(Operation *op);
  Value shardWeight(Value weight, int64_t dim, const DimLayout &terms);
  Value slice(Value value, int64_t dim, const DimLayout &terms);
  Value gather(Value value, Operation *user);

  ShardingAnalysis &analysis;
  const Split &split;
  FlatSymbolRefAttr mesh;
  IRRewriter rewriter;
  LocalShapes local;
  ArrayAttr axes;
  SiteNames sites;
  llvm::MapVector<Value, Value> gathered;
  llvm::DenseMap<std::tuple<Value, int64_t, Attribute>, Value> slices;
};

} // namespace

Value Partitioner::slice(Value value, int64_t dim, const DimLayout &terms) {
  ArrayAttr pieces = split.piecesAttr(rewriter.getContext(), terms);
  Value &result = slices[{value, dim, pieces}];
  if (!result) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfterValue(value);
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = split.localSize(terms);
    result = tp::ShardOp::create(rewriter, value.getLoc(), type.clone(shape), value, dim, pieces, shape[dim]);
  }
  return result;
}

/// Slices below transposes and casts, so that a tied weight is sliced once for all its uses.
Value Partitioner::shardWeight(Value weight, int64_t dim, const DimLayout &terms) {
  OpBuilder::InsertionGuard guard(rewriter);
  Operation *op = weight.getDefiningOp();
  if (!isa<onnx::TransposeOp, onnx::CastOp>(op))
    return slice(weight, dim, terms);
  Value &result = slices[{weight, dim, split.piecesAttr(rewriter.getContext(), terms)}];
  if (result)
    return result;
  int64_t from = dim;
  if (auto transpose = dyn_cast<onnx::TransposeOp>(op)) {
    int64_t rank = cast<RankedTensorType>(weight.getType()).getRank();
    from = transpose.getPerm() ? (*transpose.getPerm())[dim] : rank - 1 - dim;
  }
  Value input = shardWeight(op->getOperand(0), from, terms);
  rewriter.setInsertionPoint(op);
  if (Operation *producer = input.getDefiningOp(); producer && op->isBeforeInBlock(producer))
    rewriter.setInsertionPointAfter(producer);
  Operation *copy = rewriter.clone(*op);
  copy->setOperand(0, input);
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = split.localSize(terms);
  copy->getResult(0).setType(type.clone(shape));
  // The recursion may have moved the map's entries.
  return slices[{weight, dim, split.piecesAttr(rewriter.getContext(), terms)}] = copy->getResult(0);
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
                                   mesh, axes, sites.numbered("gather"))
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
                       isa<func::ReturnOp>(user) ? "hands it out" : analysis.getFactors(user).replicated,
                       bytesPerToken(type.clone(shape)))
             .str();
  return result;
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
      local.replaceResult(argument, slice(argument, dim, layout[dim]));
      continue;
    }
    auto type = cast<RankedTensorType>(argument.getType());
    function.setArgAttr(argument.getArgNumber(), tp::kShardAttrName,
                        tp::ShardAttr::get(rewriter.getContext(), dim, type.getDimSize(dim),
                                           split.piecesAttr(rewriter.getContext(), layout[dim])));
    argument.setType(split.localType(type, layout));
  }
}

/// An op without a rule: takes whole values, also those that its regions capture.
void Partitioner::keepWhole(Operation *op) {
  op->walk([&](Operation *inner) {
    for (OpOperand &operand : inner->getOpOperands())
      if (!analysis.isWeight(operand.get()) && split.splitDim(analysis.getLayout(operand.get())) >= 0)
        operand.set(gather(operand.get(), op));
  });
  for (Value result : op->getResults())
    if (ValueLayout layout = analysis.getLayout(result); split.splitDim(layout) >= 0) {
      int64_t dim = split.splitDim(layout);
      local.replaceResult(result, slice(result, dim, layout[dim]));
    }
}

void Partitioner::reducePartialSums(Operation *op) {
  for (const Contraction &contraction : analysis.getFactors(op).contractions) {
    DimLayout terms = analysis.getSpace().resolve(contraction.layout);
    if (!split.isSplit(terms))
      continue;
    Value partial = local.getReplacement(op->getResult(0));
    StringAttr site = contraction.lookup ? sites.numbered("embed") : sites.next(analysis.getSpace().isHeads(terms));
    rewriter.setInsertionPointAfterValue(partial);
    Value sum =
        tp::AllReduceOp::create(rewriter, op->getLoc(), partial.getType(), partial, mesh, axes, site).getResult();
    local.replaceResult(op->getResult(0), sum);
    remark::passed(op->getLoc(), remark::RemarkOpts::name("all-reduce").category("caat"))
        << llvm::formatv("site {0}: reduces {1} bytes per token", site.getValue(), bytesPerToken(partial.getType()))
               .str();
  }
}

LogicalResult Partitioner::rewriteOp(Operation *op) {
  const OpFactors &factors = analysis.getFactors(op);
  if (!factors.rule) {
    keepWhole(op);
    return success();
  }
  for (OpOperand &operand : op->getOpOperands()) {
    if (!analysis.isWeight(operand.get()))
      continue;
    ValueLayout layout = analysis.getLayout(operand);
    if (int64_t dim = split.splitDim(layout); dim >= 0)
      operand.set(shardWeight(operand.get(), dim, layout[dim]));
  }
  rewriter.setInsertionPoint(op);
  if (factors.rule->localize && failed(factors.rule->localize(op, local)))
    return op->emitError("cannot be rewritten for local shapes");
  for (Value result : op->getResults())
    if (ValueLayout layout = analysis.getLayout(result); split.splitDim(layout) >= 0)
      result.setType(split.localType(cast<RankedTensorType>(result.getType()), layout));
  reducePartialSums(op);
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
  function.setType(FunctionType::get(function.getContext(), function.getBody().front().getArgumentTypes(),
                                     end ? TypeRange(end->getOperandTypes()) : TypeRange()));
  return success();
}

namespace {
struct TpPartition : impl::TpPartitionBase<TpPartition> {
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
