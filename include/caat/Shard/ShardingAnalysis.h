// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Applies the factor rules to a function: the layout of every dimension, the places where partial sums arise, and the
// ops that are left replicated.
#ifndef CAAT_SHARD_SHARDINGANALYSIS_H
#define CAAT_SHARD_SHARDINGANALYSIS_H

#include "caat/Raise/SymbolicShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

namespace caat::shard {

using ValueLayout = llvm::SmallVector<DimLayout, 4>;

/// A factor that an op sums over: split, it makes result 0 a partial sum.
struct Contraction {
  DimLayout layout;
  bool lookup = false;
  int64_t tableBytes = 0; // of a lookup
};

/// A dimension that an op needs whole.
struct Need {
  DimLayout layout;
  std::string reason;
};

/// Two numbers or so for each row of a split dimension, summed over the ranks: what a norm over that dimension needs.
struct Statistic {
  DimLayout layout;
  int64_t count = 1; // all-reduces of one number for each row
};

struct OpFactors {
  const ShardingRules::Rule *rule = nullptr; // null: replicated
  std::string replicated;                    // why
  llvm::SmallVector<Contraction, 1> contractions;
  llvm::SmallVector<Statistic, 1> statistics;
  llvm::SmallVector<Need, 2> needs;
};

class ShardingAnalysis {
public:
  /// `isLeading(argument, dim)`: of dimensions that a reshape merges this is the one that is split; else it is the
  /// heads.
  ShardingAnalysis(mlir::func::FuncOp function, const ShardingRules &rules,
                   llvm::function_ref<bool(unsigned argument, int64_t dim)> isLeading = {});

  mlir::func::FuncOp getFunction() const { return function; }
  DimSpace &getSpace() { return space; }
  const SymbolicShapes &getShapes() const { return shapes; }

  /// True if `value` is computed from weights alone: every rank can have any slice of it for nothing.
  bool isWeight(mlir::Value value) const { return weights.contains(value); }
  /// The dimensions of an activation, an argument or an op's result; empty where it has none.
  ValueLayout getLayout(mlir::Value value);
  /// What an op wants of an operand: the value's own layout, or for a weight the op's.
  ValueLayout getLayout(mlir::OpOperand &operand);
  /// `to` takes `from`'s place.
  void copyLayout(mlir::Value from, mlir::Value to);
  const OpFactors &getFactors(mlir::Operation *op) const;
  /// Ops of the body in order, without weight expressions.
  llvm::ArrayRef<mlir::Operation *> getOps() const { return ops; }

private:
  friend class FactorBuilder;
  struct Merge {
    mlir::Operation *op;
    llvm::SmallVector<DimLayout> factors;
    llvm::SmallVector<int64_t> sizes;
    DimLayout merged;
  };
  void need(mlir::Operation *op, llvm::ArrayRef<Term> layout, llvm::StringRef reason);
  void findWeights();
  void addLayout(mlir::Value value);
  void visit(mlir::Operation *op, const ShardingRules &rules);
  void resolveMerges();
  void resolveMerge(const Merge &merge);
  std::optional<size_t> leadingFactor(const Merge &merge);
  ValueLayout freshLayout(mlir::Value value);
  ValueLayout resolved(const ValueLayout *layout);

  mlir::func::FuncOp function;
  SymbolicShapes shapes;
  DimSpace space;
  llvm::DenseSet<mlir::Value> weights;
  llvm::SmallVector<mlir::Operation *> ops;
  llvm::DenseMap<mlir::Value, ValueLayout> values;
  llvm::DenseMap<mlir::OpOperand *, ValueLayout> operands;
  llvm::DenseMap<mlir::Operation *, OpFactors> factors;
  llvm::SmallVector<Merge> merges;
};

} // namespace caat::shard

#endif // CAAT_SHARD_SHARDINGANALYSIS_H
