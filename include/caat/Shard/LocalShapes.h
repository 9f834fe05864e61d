// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a localize rule sees of the op that it rewrites: which dimensions are split, their local sizes, and what
// rewrites shape operands.
#ifndef CAAT_SHARD_LOCALSHAPES_H
#define CAAT_SHARD_LOCALSHAPES_H

#include "caat/Shard/ShardingChoice.h"
#include "mlir/IR/PatternMatch.h"

namespace caat::shard {

class LocalShapes {
public:
  LocalShapes(mlir::RewriterBase &rewriter, ShardingAnalysis &analysis, const Split &split,
              mlir::FlatSymbolRefAttr mesh)
      : rewriter(rewriter), analysis(analysis), split(split), mesh(mesh) {}

  mlir::RewriterBase &getRewriter() { return rewriter; }
  const Split &getSplit() const { return split; }
  mlir::FlatSymbolRefAttr getMesh() const { return mesh; }
  const OpFactors &getFactors(mlir::Operation *op) const { return analysis.getFactors(op); }
  DimSpace &getSpace() { return analysis.getSpace(); }

  ValueLayout operandLayout(mlir::Operation *op, unsigned index) { return analysis.getLayout(op->getOpOperand(index)); }
  ValueLayout resultLayout(mlir::Operation *op, unsigned index) { return analysis.getLayout(op->getResult(index)); }
  /// The dimension of an operand or result that is split, or -1.
  int64_t operandSplit(mlir::Operation *op, unsigned index) { return split.splitDim(operandLayout(op, index)); }
  int64_t resultSplit(mlir::Operation *op, unsigned index) { return split.splitDim(resultLayout(op, index)); }
  int64_t localSize(llvm::ArrayRef<Term> layout) const { return split.localSize(layout); }

  /// A 1-D tensor of integers with element `index` replaced by `value`; null where it is neither a constant nor a
  /// tensor.from_elements.
  mlir::Value replaceElement(mlir::Value shape, int64_t index, int64_t value);

  /// A shape operand with the size of dimension `dim` of `type`, which is element `index`, made the local one. Null
  /// where it cannot be rewritten.
  mlir::Value replaceSize(mlir::Value shape, int64_t index, mlir::RankedTensorType type, int64_t dim,
                          llvm::ArrayRef<Term> layout);

  /// The sum of `partial` over the ranks, at a site called `name`, `name`.1, ...
  mlir::Value allReduce(mlir::Value partial, llvm::StringRef name);
  /// `value` with zeros where dimension `dim`, which is `layout`, is padded on this rank; itself where it never is.
  mlir::Value zeroPadding(mlir::Value value, int64_t dim, llvm::ArrayRef<Term> layout);

  /// Lets all users of `result` take `value` instead, except `value`'s own op.
  void replaceResult(mlir::Value result, mlir::Value value);
  /// What stands for a result that was replaced, or the result itself.
  mlir::Value getReplacement(mlir::Value result) const { return replaced.lookup_or(result, result); }

private:
  mlir::RewriterBase &rewriter;
  ShardingAnalysis &analysis;
  const Split &split;
  mlir::FlatSymbolRefAttr mesh;
  llvm::DenseMap<mlir::Value, mlir::Value> replaced;
  llvm::StringMap<unsigned> sites;
};

/// True if replaceElement can rewrite `shape`.
bool canReplaceElements(mlir::Value shape);

} // namespace caat::shard

#endif // CAAT_SHARD_LOCALSHAPES_H
