// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The factor rule of an op: which dimensions of its operands and results are the same factor, which factors are summed
// over (the result is then unreduced), and which it needs whole; and how the op changes where its operands are slices.
// An op without a rule is computed by every rank on whole operands.
#ifndef CAAT_SHARD_SHARDINGRULE_H
#define CAAT_SHARD_SHARDINGRULE_H

#include "caat/Shard/DimSpace.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/StringMap.h"
#include <functional>

namespace caat::onnx {
class GatherOp;
} // namespace caat::onnx

namespace caat::shard {

class ShardingAnalysis;
class LocalShapes;

/// What a rule says about one op. Dimensions count from the end where negative.
class FactorBuilder {
public:
  FactorBuilder(ShardingAnalysis &analysis, mlir::Operation *op) : analysis(analysis), op(op) {}

  mlir::Operation *getOperation() const { return op; }
  mlir::RankedTensorType operandType(unsigned index) const;
  mlir::RankedTensorType resultType(unsigned index = 0) const;
  bool isWeight(unsigned operand) const;

  DimLayout operand(unsigned index, int64_t dim);
  /// True if the rule has asked for a dimension of that operand.
  bool mentions(unsigned operand) const { return llvm::is_contained(mentioned, operand); }
  DimLayout result(unsigned index, int64_t dim);
  DimSpace &space();

  /// A dimension's size as an expression; null where it is not known.
  mlir::AffineExpr operandSize(unsigned index, int64_t dim) const;
  mlir::AffineExpr resultSize(unsigned index, int64_t dim) const;

  /// Pass-through: the dimensions are one factor. Dimensions of size 1 and of unknown size are not linked.
  void same(llvm::ArrayRef<Term> a, llvm::ArrayRef<Term> b);
  /// The same for a dimension of an operand that is broadcast to one of a result, both counted from the end.
  void broadcastDim(unsigned operandIndex, int64_t fromEnd, unsigned resultIndex);
  /// Links all dimensions of two shapes from the last one on, as broadcasting does.
  void broadcast(unsigned operand, unsigned result = 0);
  /// Needs the whole dimension on every rank: where it is split all the same, the op is computed on gathered operands
  /// and its results are sliced.
  void replicate(llvm::ArrayRef<Term> layout, llvm::StringRef reason);
  void replicateOperand(unsigned index, llvm::StringRef reason);
  void replicateResult(unsigned index, llvm::StringRef reason);
  /// Summed over: where `a` (an operand's dimension, and `b`, the other's) is split, each rank's result is a partial
  /// sum.
  void contract(llvm::ArrayRef<Term> a, llvm::ArrayRef<Term> b);
  /// Computed from sums over the dimension, `count` all-reduces of one number for each row; the rule's localize inserts
  /// them.
  void statistic(llvm::ArrayRef<Term> layout, int64_t count);
  /// Rows of a table that are looked up: each rank has the result of its own rows, the sum over the ranks is the whole.
  void lookup(llvm::ArrayRef<Term> rows, int64_t bytes);
  /// Adjacent dimensions `factors` against the one dimension that they are when merged (or the other way round). Which
  /// of them can be split is decided when all other rules have spoken.
  void merge(llvm::ArrayRef<DimLayout> factors, llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<Term> merged);

private:
  ShardingAnalysis &analysis;
  mlir::Operation *op;
  llvm::SmallVector<unsigned, 4> mentioned;
};

/// Failure: the op has a form that the rule does not cover. What it has linked by then stays linked.
using FactorRule = std::function<llvm::LogicalResult(mlir::Operation *, FactorBuilder &)>;
/// Rewrites attributes and shape operands of an op whose operands have local shapes by now. Result types are set after
/// it.
using LocalizeRule = std::function<llvm::LogicalResult(mlir::Operation *, LocalShapes &)>;

class ShardingRules {
public:
  struct Rule {
    FactorRule factors;
    LocalizeRule localize;
  };
  /// The rules of all onnx ops that have one.
  ShardingRules();

  template <typename... Ops> void add(FactorRule factors, LocalizeRule localize = {}) {
    (table.try_emplace(Ops::getOperationName(), Rule{factors, localize}), ...);
  }
  /// In the place of the op's rule, for an analysis that is to carry out nothing.
  template <typename... Ops> void replace(FactorRule factors) {
    (table.insert_or_assign(Ops::getOperationName(), Rule{factors, {}}), ...);
  }
  /// A rule for an op that takes and gives anything; null if there is none.
  const Rule *lookup(mlir::Operation *op) const;

private:
  llvm::StringMap<Rule> table;
  Rule elementwise;
};

/// Links what a Gather takes as it is: dimensions of the data beside the axis, and those of the indices. The axis;
/// nothing where it is none of the data's.
std::optional<int64_t> linkGathered(FactorBuilder &factors, onnx::GatherOp gather);

void populateElementwiseRules(ShardingRules &rules, ShardingRules::Rule &elementwise);
void populateMatMulRules(ShardingRules &rules);
void populateShapeRules(ShardingRules &rules);
void populateReshapeRules(ShardingRules &rules);
void populateNNRules(ShardingRules &rules);
void populateGatherRules(ShardingRules &rules);
void populateNormRules(ShardingRules &rules);
void populateReduceRules(ShardingRules &rules);
void populateConvolutionRules(ShardingRules &rules);
void populateIndexRules(ShardingRules &rules);

} // namespace caat::shard

#endif // CAAT_SHARD_SHARDINGRULE_H
