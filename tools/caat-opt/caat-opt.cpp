// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mlir-opt with caat's dialects, passes and pipelines, which also reads .onnx files.
#include "caat/Check/Check.h"
#include "caat/Import/Import.h"
#include "caat/Lower/Passes.h"
#include "caat/Raise/Passes.h"
#include "caat/Rotate/Passes.h"
#include "caat/Shard/Passes.h"
#include "caat/Sync/Passes.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

static llvm::cl::opt<std::string> tpCheck(
    "tp-check", llvm::cl::ValueOptional, llvm::cl::value_desc("options"),
    llvm::cl::desc("Only say over how many ranks the model can be split and what that takes, e.g. "
                   "--tp-check=\"size=2,4 link=10GB/s,5us dim=batch=8 prefill=512 context=1024 limit=16 json\""));

namespace {
struct TPOptions : PassPipelineOptions<TPOptions> {
  Option<int64_t> size{*this, "size", llvm::cl::desc("Number of ranks"), llvm::cl::init(1)};
  Option<std::string> plan{*this, "plan", llvm::cl::desc("File of the plan; none synchronises everything")};
};
} // namespace

/// An imported model to the program of every rank, with the plan applied.
static void buildTPPipeline(OpPassManager &pm, const TPOptions &options) {
  caat::RaiseOptions raise;
  caat::buildRaisePipeline(pm, raise);
  caat::ShardOptions shard;
  shard.size = options.size.getValue();
  caat::buildShardPipeline(pm, shard);
  caat::SyncOptions sync;
  sync.plan = options.plan;
  sync.size = options.size;
  caat::buildSyncPipeline(pm, sync);
}

static void registerStages(DialectRegistry &registry) {
  caat::registerImportDialects(registry);
  caat::registerRaisePasses();
  caat::registerRaisePipelines();
  caat::registerShardPipelines();
  caat::registerSyncPasses();
  PassPipelineRegistration<TPOptions>("tp-pipeline", "Raises and shards a model and applies a plan", buildTPPipeline);
  caat::registerRotatePasses();
  caat::registerLowerPasses();
  caat::registerLowerPipelines();
  caat::registerLowerDialects(registry);
}

/// The imported model as MLIR bytecode, which keeps nodes' names; null after an error.
static std::unique_ptr<llvm::MemoryBuffer> importModel(StringRef path) {
  DialectRegistry registry;
  caat::registerImportDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  FailureOr<OwningOpRef<ModuleOp>> module = caat::importONNX(path, &context);
  std::string bytecode;
  llvm::raw_string_ostream stream(bytecode);
  if (failed(module) || failed(writeBytecodeToFile(**module, stream)))
    return nullptr;
  return llvm::MemoryBuffer::getMemBufferCopy(bytecode, path);
}

static LogicalResult run(int argc, char **argv) {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllPasses();
  registerStages(registry);
  auto [input, output] =
      registerAndParseCLIOptions(argc, argv, "caat-opt: MLIR or ONNX in, passes, MLIR out\n", registry);

  if (tpCheck.getNumOccurrences()) {
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> report = openOutputFile(output, &message);
    if (!report) {
      llvm::errs() << message << "\n";
      return failure();
    }
    if (failed(caat::checkModel(input, tpCheck, report->os())))
      return failure();
    report->keep();
    return success();
  }
  if (StringRef(output).ends_with(".onnx")) {
    llvm::errs() << "caat-opt: " << output
                 << ": ONNX can be read, not written yet; give an output that ends in .mlir\n";
    return failure();
  }
  if (!StringRef(input).ends_with(".onnx"))
    return MlirOptMain(argc, argv, input, output, registry);
  std::unique_ptr<llvm::MemoryBuffer> model = importModel(input);
  if (!model)
    return failure();
  std::string error;
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &error);
  if (!file) {
    llvm::errs() << error << "\n";
    return failure();
  }
  if (failed(MlirOptMain(file->os(), std::move(model), registry, MlirOptMainConfig::createFromCLOptions())))
    return failure();
  file->keep();
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return asMainReturnCode(run(argc, argv));
}
