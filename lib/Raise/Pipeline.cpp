// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace caat {

void buildRaisePipeline(OpPassManager &pm, const RaiseOptions &options) {
  auto foldShapes = [&] {
    ONNXFoldShapesPassOptions fold;
    fold.maxElements = options.maxElements;
    pm.addNestedPass<func::FuncOp>(createONNXFoldShapesPass(fold));
    pm.addNestedPass<func::FuncOp>(createCSEPass());
  };
  auto foldControlFlow = [&](bool final) {
    ONNXFoldControlFlowPassOptions fold;
    fold.final = final;
    pm.addNestedPass<func::FuncOp>(createONNXFoldControlFlowPass(fold));
  };
  auto convertContrib = [&] {
    ONNXConvertContribPassOptions convert;
    convert.rowLengths = options.rowLengths;
    pm.addNestedPass<func::FuncOp>(createONNXConvertContribPass(convert));
  };
  // Folding is skipped where nothing has changed since the last time. For that, passes that find nothing to do preserve
  // all analyses, and all are nested in one pipeline, at whose end analyses are dropped.
  foldShapes();
  foldControlFlow(/*final=*/false);
  convertContrib();
  foldShapes();
  // What the branches hold, and conditions behind converted ops.
  foldControlFlow(/*final=*/true);
  convertContrib();
  foldShapes();
  pm.addNestedPass<func::FuncOp>(createONNXExpandBroadcastsPass());
  pm.addNestedPass<func::FuncOp>(createCSEPass());
  if (options.widen) {
    pm.addNestedPass<func::FuncOp>(createONNXWidenFloatsPass());
    foldShapes();
  }
  pm.addNestedPass<func::FuncOp>(createONNXDecomposeGemmPass());
  pm.addNestedPass<func::FuncOp>(createONNXDecomposeNormsPass());
  pm.addNestedPass<func::FuncOp>(createONNXSimplifyMovementPass());
  if (options.raise) {
    pm.addNestedPass<func::FuncOp>(createONNXRaiseActivationsPass());
    pm.addNestedPass<func::FuncOp>(createONNXRaiseNormsPass());
    pm.addNestedPass<func::FuncOp>(createONNXRaiseRotaryPass());
    pm.addNestedPass<func::FuncOp>(createONNXRaiseAttentionPass());
    pm.addNestedPass<func::FuncOp>(createONNXRaiseMasksPass());
    pm.addNestedPass<func::FuncOp>(createONNXSimplifyMovementPass()); // what raising put around its ops
  }
  pm.addNestedPass<func::FuncOp>(createONNXCheckDivisorsPass());
  foldShapes();
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createSymbolDCEPass());
}

void registerRaisePipelines() {
  PassPipelineRegistration<RaiseOptions>("onnx-raise-pipeline",
                                         "Imported ONNX to the canonical form of the onnx dialect", buildRaisePipeline);
}

} // namespace caat
