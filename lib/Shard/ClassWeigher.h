// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What it saves and costs to split the dimensions of a class, added up op by op.
#ifndef CAAT_LIB_SHARD_CLASSWEIGHER_H
#define CAAT_LIB_SHARD_CLASSWEIGHER_H

#include "TokenCost.h"
#include "caat/Shard/ShardingChoice.h"

namespace caat::shard {

class ClassWeigher {
public:
  /// `classOf`, which must live as long as this, gives the class of a dimension, null for one that is never split.
  ClassWeigher(ShardingAnalysis &analysis, llvm::function_ref<DimClass *(llvm::ArrayRef<Term>)> classOf)
      : analysis(analysis), classOf(classOf), cost(analysis) {}

  /// In the order of the function.
  void visit(mlir::Operation *op);

  int64_t largestTable = 0; // of which rows are looked up, in bytes
  int64_t allWeights = 0;   // bytes

private:
  void visitResults(mlir::Operation *terminator);
  void findNeeded(const OpFactors &factors);
  void visitOperand(mlir::OpOperand &operand, const OpFactors &factors);
  void findStuck(mlir::Operation *op, const OpFactors &factors);
  void visitContraction(mlir::Operation *op, const Contraction &contraction);
  void visitStatistic(mlir::Operation *op, const Statistic &statistic);
  void stick(mlir::Value value, DimClass *only);
  bool computesWhole(mlir::Operation *op, DimClass *cls);

  ShardingAnalysis &analysis;
  llvm::function_ref<DimClass *(llvm::ArrayRef<Term>)> classOf;
  TokenCost cost;
  llvm::SmallPtrSet<DimClass *, 8> needed;   // whole, by the op that is visited
  llvm::SmallPtrSet<DimClass *, 8> products; // that a product is contracted over
  llvm::DenseSet<std::pair<mlir::Value, DimClass *>> gathered;
};

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_CLASSWEIGHER_H
