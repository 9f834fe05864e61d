// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SHARD_STEPINPUTS_H
#define CAAT_LIB_SHARD_STEPINPUTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"
#include <optional>
#include <string>

namespace caat::shard {

/// The names of a decoder's sizes, as the engine fills its inputs.
struct StepInputs {
  std::string tokens, past;
  llvm::DenseSet<unsigned> caches; // arguments that attentions take as their past

  /// Why the engine cannot fill the function's inputs with tokens; nothing where it can.
  std::optional<std::string> find(mlir::func::FuncOp function);
  /// Makes the arguments those of a step: one sequence, all lengths in terms of `tokens` and `past`.
  std::optional<std::string> bind(mlir::func::FuncOp function) const;
};

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_STEPINPUTS_H
