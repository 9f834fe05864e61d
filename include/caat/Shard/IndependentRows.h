// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether the samples of a batch meet anywhere in a program. Where they do not, any of its rows may be run by
// themselves.
#ifndef CAAT_SHARD_INDEPENDENTROWS_H
#define CAAT_SHARD_INDEPENDENTROWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>
#include <string>

namespace caat::shard {

/// The symbol that the first dimension of the first argument with one has; null where there is none.
mlir::StringAttr findBatch(mlir::func::FuncOp function);

/// Proves that the samples along the symbol `batch` do not meet: the first dimension of every argument that has it and
/// of every result is one and the same dimension, which no op needs whole, sums over, or loses. Nothing where that is
/// so, else what stands in its way.
std::optional<std::string> whyRowsMeet(mlir::func::FuncOp function, llvm::StringRef batch);

} // namespace caat::shard

#endif // CAAT_SHARD_INDEPENDENTROWS_H
