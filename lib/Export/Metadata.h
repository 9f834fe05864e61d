// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_EXPORT_METADATA_H
#define CAAT_LIB_EXPORT_METADATA_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "onnx.pb.h"

namespace caat {

/// What a file says of itself: the producer, and as metadata_props
/// - caat.rank and caat.ranks;
/// - caat.plan: the SHA-256 of the plan's file, where there was one;
/// - caat.sites: JSON, what each sync point sends;
/// - caat.shard.NAME: JSON, which pieces of an input or output this rank has: {"dim", "global", "pieces"}.
void writeMetadata(mlir::func::FuncOp function, int64_t rank, int64_t ranks, ::onnx::ModelProto &model);

} // namespace caat

#endif // CAAT_LIB_EXPORT_METADATA_H
