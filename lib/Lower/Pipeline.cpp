// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StructuredRewrites.h"
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/AllInterfaces.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/TensorInferTypeOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/TensorTilingInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Vector/Transforms/SubsetOpInterfaceImpl.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace caat;

/// Programs are structured until the end.
static void addCanonicalizer(OpPassManager &pm) { pm.addPass(createCanonicalizerPass(lower::structuredRewrites())); }

/// Row buffers of a GPU kernel: shared memory, of which reductions take a little too.
static constexpr int64_t kSharedRowBytes = 40 * 1024;

void caat::buildTensorPipeline(OpPassManager &pm, Device device, const StorageOptions &storage) {
  pm.addNestedPass<func::FuncOp>(createRTFormCachesPass());
  RTExtractParametersPassOptions products;
  products.dtype = storage.dtype;
  products.merge = device == Device::CUDA;
  pm.addPass(createRTExtractParametersPass(products));
  RTBlockWeightsPassOptions blocks;
  blocks.rules.assign(storage.weightRules.begin(), storage.weightRules.end());
  blocks.wideHalves = device == Device::CPU;
  pm.addPass(createRTBlockWeightsPass(blocks));
  RTFuseEpiloguesPassOptions epilogues;
  epilogues.gates = device == Device::CUDA;
  pm.addNestedPass<func::FuncOp>(createRTFuseEpiloguesPass(epilogues));
  if (device == Device::CUDA && !storage.wideActivations)
    pm.addPass(createRTNarrowActivationsPass());
  if (device == Device::CPU && storage.cache != "f32")
    pm.addNestedPass<func::FuncOp>(createRTNarrowCachesPass({storage.cache}));
  pm.addNestedPass<func::FuncOp>(createRTMarkResultsPass());
  OnnxToLinalgPassOptions linalg;
  linalg.forGPU = device == Device::CUDA;
  pm.addNestedPass<func::FuncOp>(createOnnxToLinalgPass(linalg));
  RTExtractParametersPassOptions constants;
  constants.constants = true;
  pm.addPass(createRTExtractParametersPass(constants));
  pm.addPass(createRTFormEntryPass());
  pm.addNestedPass<func::FuncOp>(createRTMergeEqualOpsPass());
  pm.addNestedPass<func::FuncOp>(createRTFormKernelsPass());
  pm.addNestedPass<func::FuncOp>(createRTResolveDimsPass());
  addCanonicalizer(pm);
  pm.addNestedPass<func::FuncOp>(createRTMergeEqualOpsPass());
}

void caat::buildBufferPipeline(OpPassManager &pm, Device device, bool overlap, bool sumInKernels) {
  pm.addNestedPass<func::FuncOp>(createRTBufferizePass());
  addCanonicalizer(pm);
  pm.addPass(createCSEPass());
  addCanonicalizer(pm);
  RTNormalizeBuffersPassOptions normalize;
  if (device == Device::CUDA)
    normalize.rowBytes = kSharedRowBytes;
  pm.addNestedPass<func::FuncOp>(createRTNormalizeBuffersPass(normalize));
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createRTResolveDimsPass());
  if (device == Device::CUDA) {
    pm.addNestedPass<func::FuncOp>(createRTChainKernelsPass());
    pm.addNestedPass<func::FuncOp>(createRTMergeKernelsPass());
  }
  pm.addPass(createRTOutlineKernelsPass());
  addCanonicalizer(pm);
  pm.addPass(createCSEPass());
  if (overlap) {
    RTOverlapCollectivesPassOptions parts;
    if (device == Device::CUDA) { // a part has to fill the device
      parts.parts = 2;
      parts.leastRows = 1024;
    }
    pm.addNestedPass<func::FuncOp>(createRTOverlapCollectivesPass(parts));
  }
  pm.addNestedPass<func::FuncOp>(createRTSkipUnreadPass());
  if (sumInKernels)
    pm.addPass(createRTSumInKernelsPass());
  pm.addPass(createRTPlanMemoryPass());
  pm.addPass(createCSEPass());
}

void caat::buildGPUPipeline(OpPassManager &pm, const GPUOptions &options) {
  pm.addNestedPass<func::FuncOp>(createReinterpretExpansionsPass());
  RTApproximateMathPassOptions math;
  math.trigonometric = true;
  pm.addNestedPass<func::FuncOp>(createRTApproximateMathPass(math));
  pm.addPass(createRTKernelsToGPUPass({options.keepKernels && !options.emulate}));
  if (options.emulate)
    pm.addPass(createRTEmulateGPUPass({options.keepKernels}));
  if (options.emulate && !options.keepKernels)
    return;
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  kernels.addPass(memref::createExpandStridedMetadataPass());
  addCanonicalizer(kernels);
  kernels.addPass(createCSEPass());
  kernels.addPass(createLowerAffinePass());
  kernels.addPass(createSCFToControlFlowPass());
  kernels.addPass(createRTGPUToNVVMPass());
  addCanonicalizer(kernels);
  kernels.addPass(createCSEPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
}

void caat::buildCodePipeline(OpPassManager &pm) {
  // What only kernels need comes first: the host is a few ops a layer until it becomes calls in LLVM's dialect.
  pm.addNestedPass<func::FuncOp>(createRTPrefetchLinesPass());
  pm.addNestedPass<func::FuncOp>(createReinterpretExpansionsPass());
  RTApproximateMathPassOptions math;
  math.bfloat16 = true;
  pm.addNestedPass<func::FuncOp>(createRTApproximateMathPass(math));
  pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  pm.addPass(memref::createFoldMemRefAliasOpsPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  addCanonicalizer(pm);
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createConvertVectorToSCFPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass()); // what LLVM has no intrinsic for
  pm.addPass(createRTToLLVMPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  ConvertFuncToLLVMPassOptions barePointers;
  barePointers.useBarePtrCallConv = true;
  pm.addPass(createConvertFuncToLLVMPass(barePointers));
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
}

void caat::buildLowerPipeline(OpPassManager &pm) {
  buildTensorPipeline(pm);
  buildBufferPipeline(pm);
  buildCodePipeline(pm);
}

void caat::registerLowerPipelines() {
  registerLowerConversionPasses();
  PassPipelineRegistration<>("lower-to-kernels", "Lower an SPMD program to kernels on tensors",
                             [](OpPassManager &pm) { buildTensorPipeline(pm); });
  PassPipelineRegistration<>("lower-to-buffers", "Bufferize, outline kernels and plan memory",
                             [](OpPassManager &pm) { buildBufferPipeline(pm); });
  PassPipelineRegistration<>("lower-to-gpu", "Lower kernels to NVVM", [](OpPassManager &pm) { buildGPUPipeline(pm); });
  PassPipelineRegistration<>("lower-to-llvm", "Lower host and kernels to the LLVM dialect", buildCodePipeline);
  PassPipelineRegistration<>("lower-pipeline", "The whole Lower stage", buildLowerPipeline);
}

void caat::registerLowerDialects(DialectRegistry &registry) {
  registry.insert<onnx::ONNXDialect, tp::TPDialect, rt::RTDialect, affine::AffineDialect, arith::ArithDialect,
                  bufferization::BufferizationDialect, cf::ControlFlowDialect, func::FuncDialect, gpu::GPUDialect,
                  linalg::LinalgDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect, memref::MemRefDialect,
                  scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerAllDialectInterfaceImplementations(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  scf::registerValueBoundsOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerInferTypeOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
  tensor::registerTilingInterfaceExternalModels(registry);
  vector::registerBufferizableOpInterfaceExternalModels(registry);
  vector::registerSubsetOpInterfaceExternalModels(registry);
  rt::registerBufferizationModels(registry);
  tp::registerBufferizableOpInterfaceExternalModels(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}
