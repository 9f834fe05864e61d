// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_CHECK_MESSAGES_H
#define CAAT_LIB_CHECK_MESSAGES_H

#include "Report.h"
#include "caat/Shard/LocalSizes.h"
#include "caat/Shard/ShardingChoice.h"
#include "mlir/IR/BuiltinOps.h"

namespace caat::check {

/// Sizes of named dimensions in each scenario.
using DimValues = std::array<shard::LocalSizes::Dims, numScenarios>;

/// Splits a copy of the module of `analysis` over `ranks` and lists its collectives in the order of the program.
llvm::FailureOr<std::vector<Message>> findMessages(shard::ShardingAnalysis &analysis, const shard::Split &split,
                                                   int64_t ranks, const DimValues &values);

} // namespace caat::check

#endif // CAAT_LIB_CHECK_MESSAGES_H
