// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Export stage: the program of one rank in operators that an ONNX file can hold.
#ifndef CAAT_EXPORT_PASSES_H
#define CAAT_EXPORT_PASSES_H

#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace caat {

#define GEN_PASS_DECL
#include "caat/Export/Passes.h.inc"

/// The passes between any stage's result and the file of `rank`.
void buildExportPipeline(mlir::OpPassManager &pm, int64_t rank);

#define GEN_PASS_REGISTRATION
#include "caat/Export/Passes.h.inc"

} // namespace caat

#endif // CAAT_EXPORT_PASSES_H
