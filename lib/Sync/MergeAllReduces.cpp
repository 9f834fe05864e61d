// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-merge-all-reduces: sums of all-reduces become the all-reduce of a sum.
#include "WeightExpressions.h"
#include "caat/Sync/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPMERGEALLREDUCES
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

/// The add of one type that `add` alone feeds, or null at the root of a tree of adds.
static onnx::AddOp getParentAdd(onnx::AddOp add) {
  if (!add->hasOneUse())
    return {};
  auto parent = dyn_cast<onnx::AddOp>(*add->user_begin());
  return parent && parent.getType() == add.getType() ? parent : onnx::AddOp();
}

static void collectLeaves(Value value, Type type, bool isRoot, SmallVectorImpl<Value> &leaves) {
  auto add = value.getDefiningOp<onnx::AddOp>();
  if (!add || add.getType() != type || (!isRoot && !add->hasOneUse())) {
    leaves.push_back(value);
    return;
  }
  for (Value operand : add->getOperands())
    collectLeaves(operand, type, false, leaves);
}

static Value add(OpBuilder &builder, Location loc, Value lhs, Value rhs, Type type) {
  return lhs ? Value(onnx::AddOp::create(builder, loc, type, lhs, rhs)) : rhs;
}

/// Rewrites one tree of adds. Biases (weight expressions of smaller shape) are added up among themselves, so that what
/// remains is residual + (all_reduce + bias).
static void mergeTree(onnx::AddOp root, WeightExpressions &weights) {
  Type type = root.getType();
  SmallVector<Value> leaves;
  collectLeaves(root, type, true, leaves);
  SmallVector<tp::AllReduceOp> reduces;
  SmallVector<Value> biases, others;
  for (Value leaf : leaves) {
    auto reduce = leaf.getDefiningOp<tp::AllReduceOp>();
    bool joins =
        reduce && reduce->hasOneUse() && leaf.getType() == type &&
        (reduces.empty() || (reduce.getMesh() == reduces[0].getMesh() && reduce.getAxes() == reduces[0].getAxes()));
    if (joins)
      reduces.push_back(reduce);
    else if (weights.contains(leaf) && leaf.getType() != type &&
             (biases.empty() || biases[0].getType() == leaf.getType()))
      biases.push_back(leaf);
    else
      others.push_back(leaf);
  }
  // The others add up to the tree's type where one of them has it: start with that one.
  auto stream = llvm::find_if(others, [&](Value value) { return value.getType() == type; });
  bool hasStream = stream != others.end();
  // One all-reduce beside several other values joins what they add up to: the stream, and what a module adds to it that
  // every rank computes whole.
  if (reduces.empty() || (reduces.size() == 1 && (others.size() < 2 || !hasStream)))
    return;

  OpBuilder builder(root);
  Location loc = root.getLoc();
  Value partial, bias, residual;
  StringAttr site;
  for (tp::AllReduceOp reduce : reduces) {
    partial = add(builder, loc, partial, reduce.getInput(), type);
    site = site ? site : reduce.getSiteAttr();
  }
  for (Value value : biases)
    bias = add(builder, loc, bias, value, value.getType());
  if (hasStream) {
    std::rotate(others.begin(), stream, std::next(stream));
    for (Value value : others)
      residual = add(builder, loc, residual, value, type);
  }
  Value sum = tp::AllReduceOp::create(builder, loc, TypeRange{type}, partial, reduces[0].getMeshAttr(),
                                      reduces[0].getAxesAttr(), site)
                  .getResult();
  if (bias)
    sum = add(builder, loc, sum, bias, type);
  if (hasStream)
    sum = add(builder, loc, residual, sum, type);
  else
    for (Value value : others)
      sum = add(builder, loc, value, sum, type);
  root.replaceAllUsesWith(sum);
  if (reduces.size() > 1)
    remark::passed(loc, remark::RemarkOpts::name("merge-all-reduces").category("caat"))
        << llvm::formatv("{0} all-reduces whose results are added became one", reduces.size()).str();
}

namespace {
struct MergeAllReduces : caat::impl::TPMergeAllReducesBase<MergeAllReduces> {
  void runOnOperation() override {
    SmallVector<onnx::AddOp> roots;
    getOperation().walk([&](onnx::AddOp op) {
      if (!getParentAdd(op))
        roots.push_back(op);
    });
    WeightExpressions weights;
    for (onnx::AddOp root : roots)
      mergeTree(root, weights);
    // Adds and all-reduces that are no longer read; in reverse, so that users go first.
    SmallVector<Operation *> candidates;
    getOperation().walk([&](Operation *op) {
      if (isa<onnx::AddOp, tp::AllReduceOp>(op))
        candidates.push_back(op);
    });
    for (Operation *op : llvm::reverse(candidates))
      if (op->use_empty())
        op->erase();
  }
};
} // namespace
