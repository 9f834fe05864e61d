// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mlir-opt with caat's dialects, passes and pipelines, which also reads and writes .onnx files.
#include "OnnxFiles.h"
#include "Stages.h"
#include "caat/Check/Check.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

static llvm::cl::opt<std::string> tpCheck(
    "tp-check", llvm::cl::ValueOptional, llvm::cl::value_desc("options"),
    llvm::cl::desc("Only say over how many ranks the model can be split and what that takes, e.g. "
                   "--tp-check=\"size=2,4 link=10GB/s,5us dim=batch=8 prefill=512 context=1024 limit=16 json\""));

<<<<<<< HEAD
=======
namespace {
struct TPOptions : PassPipelineOptions<TPOptions> {
  Option<int64_t> size{*this, "size", llvm::cl::desc("Number of ranks"), llvm::cl::init(1)};
  Option<std::string> plan{*this, "plan", llvm::cl::desc("File of the plan; none synchronises everything")};
  Option<bool> raise{*this, "raise", llvm::cl::desc("Raise decomposed patterns"), llvm::cl::init(true)};
};
} // namespace

/// An imported model to the program of every rank, with the plan applied.
static void buildTPPipeline(OpPassManager &pm, const TPOptions &options) {
  caat::RaiseOptions raise;
  raise.raise = options.raise;
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

>>>>>>> 9d3f4d2 (all)
static LogicalResult run(int argc, char **argv) {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllPasses();
  caat::registerStages(registry);
  auto [input, output] = registerAndParseCLIOptions(
      argc, argv,
      "caat-opt: MLIR or ONNX in, passes, MLIR or ONNX out\n\n"
      "  caat-opt model.onnx --tp-pipeline=\"size=3 plan=plan.json\"               prints the IR of all ranks\n"
      "  caat-opt model.onnx --tp-pipeline=size=3 -o out/rank-%r.onnx             writes an ONNX file for each rank\n"
      "  caat-opt model.onnx --onnx-raise-pipeline -o simpler.onnx                writes the model back, simplified\n",
      registry);

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
  bool writesOnnx = StringRef(output).ends_with(".onnx");
  if (!writesOnnx && !StringRef(input).ends_with(".onnx"))
    return MlirOptMain(argc, argv, input, output, registry);
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> model =
      StringRef(input).ends_with(".onnx") ? caat::importToBytecode(input) : openInputFile(input, &error);
  if (!model) {
    llvm::errs() << error << (error.empty() ? "" : "\n");
    return failure();
  }
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (writesOnnx)
    return caat::runAndExport(std::move(model), output, config, registry);
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &error);
  if (!file) {
    llvm::errs() << error << "\n";
    return failure();
  }
  if (failed(MlirOptMain(file->os(), std::move(model), registry, config)))
    return failure();
  file->keep();
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return asMainReturnCode(run(argc, argv));
}
