// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rotated tensor parallelism: the batch is split, and the slices of the weights travel round a ring of ranks.
#ifndef CAAT_ROTATE_PASSES_H
#define CAAT_ROTATE_PASSES_H

#include "dialects/onnx/ONNX.h"
#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace caat {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "caat/Rotate/Passes.h.inc"

/// onnx + tp after partitioning -> the program that runs each virtual rank in turn.
void buildRotatePipeline(mlir::OpPassManager &pm);

} // namespace caat

#endif // CAAT_ROTATE_PASSES_H
