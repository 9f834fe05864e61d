// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_ARTIFACT_WEIGHTEVALUATOR_H
#define CAAT_ARTIFACT_WEIGHTEVALUATOR_H

#include "caat/Artifact/TensorView.h"
#include "caat/Import/WeightFile.h"
#include "dialects/rt/RT.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/Error.h"

namespace caat {

/// Computes weights from the expressions in rt.weight ops and wherever else they stand. Transpositions, slices and
/// shards are views of the mapped files; what must be computed lives as long as the view that is returned.
class WeightEvaluator {
public:
  explicit WeightEvaluator(mlir::ModuleOp module);

  /// No value may be larger, nor a rank's weights together: the sizes in a model are untrusted, and little is needed to
  /// state a huge one.
  int64_t byteLimit() const { return limit; }
  /// Takes what was read of the model's files out of memory.
  void release() { files.release(); }

  /// Whether the results of `op` can be evaluated once its operands are.
  static bool supports(mlir::Operation *op);

  /// One rank's value of an expression over initializers and constants. The elements live as long as the view, or as
  /// this object where they are mapped.
  llvm::Expected<TensorView> evaluate(mlir::Value value, int64_t rank);

  /// The weight of one rank.
  llvm::Expected<TensorView> evaluate(rt::WeightOp weight, int64_t rank);

private:
  llvm::Expected<TensorView> evaluate(mlir::Value value, int64_t rank, llvm::DenseMap<mlir::Value, TensorView> &known);
  llvm::Expected<TensorView> evaluateOp(mlir::OpResult result, llvm::ArrayRef<TensorView> operands, int64_t rank);

  WeightFiles files;
  mlir::SymbolTable symbols;
  int64_t limit;
};

} // namespace caat

#endif // CAAT_ARTIFACT_WEIGHTEVALUATOR_H
