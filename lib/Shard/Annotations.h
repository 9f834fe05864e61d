// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How tp-auto-shard hands its choice to tp-partition: discardable attributes that say which dimensions are split.
#ifndef CAAT_LIB_SHARD_ANNOTATIONS_H
#define CAAT_LIB_SHARD_ANNOTATIONS_H

#include "caat/Shard/ShardingChoice.h"

namespace caat::shard {

inline constexpr llvm::StringLiteral operandShardings = "caat.operand_shardings";
inline constexpr llvm::StringLiteral resultShardings = "caat.result_shardings";
inline constexpr llvm::StringLiteral argumentSharding = "caat.sharding";
/// Of the op that sums over heads: the order in which these are dealt out to the ranks.
inline constexpr llvm::StringLiteral headOrder = "caat.head_order";
inline constexpr llvm::StringLiteral meshName = "mesh";
inline constexpr llvm::StringLiteral axisName = "tp";

/// Adds the mesh of `size` ranks. Fails, with an error, where there is one of another size.
llvm::LogicalResult addMesh(mlir::ModuleOp module, int64_t size);
void annotate(ShardingAnalysis &analysis, const Split &split);
/// The annotated choice. Fails, with an error, where it would split a value twice or a dimension that cannot be.
llvm::FailureOr<Split> readAnnotations(ShardingAnalysis &analysis, int64_t size);
void clearAnnotations(mlir::func::FuncOp function);

} // namespace caat::shard

#endif // CAAT_LIB_SHARD_ANNOTATIONS_H
