// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names of the places where partial sums are reduced, in the order of the graph: layers.0.attn, layers.0.mlp,
// layers.1.attn, ...
#ifndef CAAT_LIB_SHARD_SITENAMES_H
#define CAAT_LIB_SHARD_SITENAMES_H

#include "caat/Shard/ShardingChoice.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/StringMap.h"

namespace caat::shard {

class SiteNames {
public:
  /// Of a sum over heads, or over other units.
  std::string next(bool heads) {
    bool &seen = heads ? attention : mlp;
    if (seen) {
      ++layer;
      attention = mlp = false;
    }
    (heads ? attention : mlp) = true;
    return "layers." + std::to_string(layer) + (heads ? ".attn" : ".mlp");
  }
  /// name, name.1, name.2, ...
  std::string numbered(llvm::StringRef name) {
    unsigned number = counts[name]++;
    return number == 0 ? name.str() : name.str() + "." + std::to_string(number);
  }
  /// Of the partial sum that `op` makes by a contraction.
  std::string of(ShardingAnalysis &analysis, mlir::Operation *op, const Contraction &contraction) {
    if (contraction.lookup)
      return numbered("embed");
    if (sumsRows(op))
      return numbered("sum");
    return next(analysis.getSpace().isHeads(analysis.getSpace().resolve(contraction.layout)));
  }

private:
  /// A sum of the last dimension is a statistic of each row, not a part of the stream.
  static bool sumsRows(mlir::Operation *op) {
    if (!mlir::isa<onnx::ReduceSumOp, onnx::ReduceMeanOp, onnx::ReduceL1Op, onnx::ReduceSumSquareOp>(op))
      return false;
    auto from = mlir::cast<mlir::RankedTensorType>(op->getOperand(0).getType());
    auto to = mlir::cast<mlir::RankedTensorType>(op->getResult(0).getType());
    return to.getRank() == 0 || (to.getRank() == from.getRank() && to.getShape().back() == 1) ||
           to.getShape().back() != from.getShape().back();
  }

  int64_t layer = 0;
  bool attention = false, mlp = false;
  llvm::StringMap<unsigned> counts;
};

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_SITENAMES_H
