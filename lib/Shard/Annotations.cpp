// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Annotations.h"
#include "dialects/tp/TP.h"

using namespace mlir;

namespace caat::shard {

LogicalResult addMesh(ModuleOp module, int64_t size) {
  if (auto mesh = module.lookupSymbol<tp::MeshOp>(meshName)) {
    if (mesh.getAxisSize(axisName) != size)
      return mesh.emitError("is not a mesh of ") << size << " ranks along \"" << axisName << "\"";
    return success();
  }
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto axes = tp::AxesAttr::get(builder.getContext(), {builder.getStringAttr(axisName)}, {size});
  tp::MeshOp::create(builder, module.getLoc(), meshName, axes);
  return success();
}

namespace {
struct ShardingBuilder {
  ShardingBuilder(MLIRContext *context, const Split &split)
      : context(context), split(split), axis(ArrayAttr::get(context, StringAttr::get(context, axisName))),
        none(ArrayAttr::get(context, {})) {}

  bool isSplit(const ValueLayout &layout) const {
    return llvm::any_of(layout, [&](const DimLayout &terms) { return split.isSplit(terms); });
  }
  tp::ShardingAttr get(const ValueLayout &layout, bool unreduced) const {
    SmallVector<ArrayAttr> dims;
    for (const DimLayout &terms : layout)
      dims.push_back(split.isSplit(terms) ? axis : none);
    return tp::ShardingAttr::get(context, dims, unreduced ? axis : none, none);
  }

  MLIRContext *context;
  const Split &split;
  ArrayAttr axis, none;
};
} // namespace

/// No attributes where nothing is split.
void annotate(ShardingAnalysis &analysis, const Split &split) {
  func::FuncOp function = analysis.getFunction();
  MLIRContext *context = function.getContext();
  ShardingBuilder shardings(context, split);
  for (BlockArgument argument : function.getArguments())
    if (shardings.isSplit(analysis.getLayout(argument)))
      function.setArgAttr(argument.getArgNumber(), argumentSharding,
                          shardings.get(analysis.getLayout(argument), false));
  for (Operation *op : analysis.getOps()) {
    const OpFactors &factors = analysis.getFactors(op);
    bool whole = whyWhole(analysis, split, op).has_value();
    bool partial = !whole && llvm::any_of(factors.contractions, [&](const Contraction &contraction) {
      return split.isSplit(analysis.getSpace().resolve(contraction.layout));
    });
    SmallVector<Attribute> operands, results;
    auto isSplit = [&](auto &&value) { return shardings.isSplit(analysis.getLayout(value)); };
    if (!whole && llvm::any_of(op->getOpOperands(), isSplit)) {
      for (OpOperand &operand : op->getOpOperands())
        operands.push_back(shardings.get(analysis.getLayout(operand), false));
      op->setAttr(operandShardings, ArrayAttr::get(context, operands));
    }
    if (partial || llvm::any_of(op->getResults(), isSplit)) {
      for (OpResult result : op->getResults())
        results.push_back(shardings.get(analysis.getLayout(result), partial && result.getResultNumber() == 0));
      op->setAttr(resultShardings, ArrayAttr::get(context, results));
    }
  }
}

static LogicalResult choose(Split &split, DimSpace &space, const ValueLayout &layout, Attribute attr, Location loc) {
  auto sharding = dyn_cast<tp::ShardingAttr>(attr);
  if (!sharding || sharding.getDims().size() != layout.size())
    return emitError(loc, "a sharding must be a #tp.sharding of the value's rank, not ") << attr;
  for (auto [dim, axes] : llvm::enumerate(sharding.getDims())) {
    if (axes.empty())
      continue;
    if (layout[dim].empty())
      return emitError(loc, "dimension ")
             << dim << " cannot be split: its size is 1 or not known, or the op has no rule";
    split.choose(layout[dim]);
  }
  return success();
}

/// Heads that `op` sums over go to the ranks in the order that it is annotated with.
static LogicalResult orderHeads(Split &split, ShardingAnalysis &analysis, Operation *op) {
  auto order = op->getAttrOfType<DenseI64ArrayAttr>(headOrder);
  if (!order)
    return success();
  DimSpace &space = analysis.getSpace();
  for (const Contraction &contraction : analysis.getFactors(op).contractions) {
    DimLayout terms = space.resolve(contraction.layout);
    if (terms.size() != 1 || !space.isHeads(terms) || !split.isSplit(terms))
      continue;
    Atom atom = terms.front().atom;
    int64_t units = space.getInfo(atom).units;
    if (order.size() != units)
      return op->emitError("the order of its heads lists ") << order.size() << ", there are " << units << " KV heads";
    if (split.copies(atom) > 1)
      return op->emitError() << units << " KV heads on " << split.getSize()
                             << " ranks are repeated: there is no order to deal them out in";
    SmallVector<int64_t> sorted(order.asArrayRef());
    llvm::sort(sorted);
    for (auto [place, unit] : llvm::enumerate(sorted))
      if (unit != int64_t(place))
        return op->emitError("the order of its heads is no permutation of 0 to ") << units - 1;
    split.setOrder(atom, order);
    return success();
  }
  return op->emitError("sums over no heads that are split, but has an order for them");
}

FailureOr<Split> readAnnotations(ShardingAnalysis &analysis, int64_t size) {
  func::FuncOp function = analysis.getFunction();
  Split split(analysis.getSpace(), size);
  for (BlockArgument argument : function.getArguments())
    if (Attribute attr = function.getArgAttr(argument.getArgNumber(), argumentSharding))
      if (failed(choose(split, analysis.getSpace(), analysis.getLayout(argument), attr, argument.getLoc())))
        return failure();
  for (Operation *op : analysis.getOps()) {
    if (auto shardings = op->getAttrOfType<ArrayAttr>(operandShardings))
      for (auto [operand, attr] : llvm::zip(op->getOpOperands(), shardings))
        if (failed(choose(split, analysis.getSpace(), analysis.getLayout(operand), attr, op->getLoc())))
          return failure();
    if (auto shardings = op->getAttrOfType<ArrayAttr>(resultShardings))
      for (auto [result, attr] : llvm::zip(op->getResults(), shardings))
        if (failed(choose(split, analysis.getSpace(), analysis.getLayout(result), attr, op->getLoc())))
          return failure();
  }
  for (Operation *op : analysis.getOps())
    if (failed(orderHeads(split, analysis, op)))
      return failure();
  for (Operation *op : analysis.getOps()) {
    bool twice = false;
    for (OpOperand &operand : op->getOpOperands())
      twice |= split.hasTwoSplitDims(analysis.getLayout(operand));
    for (Value result : op->getResults())
      twice |= split.hasTwoSplitDims(analysis.getLayout(result));
    if (twice)
      return op->emitError("a value of this op would be split in two dimensions over the same ranks");
  }
  return split;
}

void clearAnnotations(func::FuncOp function) {
  for (unsigned index = 0; index < function.getNumArguments(); ++index)
    function.removeArgAttr(index, argumentSharding);
  function.walk([](Operation *op) {
    op->removeAttr(operandShardings);
    op->removeAttr(resultShardings);
    op->removeAttr(headOrder);
  });
}

} // namespace caat::shard
