// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mlir-opt with caat's dialects, passes and pipelines, which also reads and writes .onnx files.
#include "Allocator.h"
#include "OnnxFiles.h"
#include "Stages.h"
#include "caat/Check/Check.h"
#include "caat/Import/ModuleText.h"
#include "caat/Import/NodeMessages.h"
#include "caat/Support/SafeStream.h"
#include "caat/Support/Version.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

static llvm::cl::opt<std::string> tpCheck(
    "tp-check", llvm::cl::ValueOptional, llvm::cl::value_desc("options"),
    llvm::cl::desc("Only say over how many ranks the model can be split and what that takes, e.g. "
                   "--tp-check=\"size=2,4 link=10GB/s,5us dim=batch=8 prefill=512 context=1024 limit=16 json\""));

// Not MLIR's own, whose parsing of the command line ends the process with 1.
static llvm::cl::opt<std::string> input(llvm::cl::Positional, llvm::cl::desc("<input file>"), llvm::cl::init("-"));
static llvm::cl::opt<std::string> output("o", llvm::cl::desc("Output filename"), llvm::cl::value_desc("filename"),
                                         llvm::cl::init("-"));

/// Whether the command line is understood; if not, it is said why.
static bool parseCommandLine(int argc, char **argv, DialectRegistry &registry) {
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllPasses();
  caat::registerStages(registry);
  std::string header = registerCLIOptions(
      "caat-opt: MLIR or ONNX in, passes, MLIR or ONNX out\n\n"
      "  caat-opt model.onnx --tp-pipeline=\"size=3 plan=plan.json\"               prints the IR of all ranks\n"
      "  caat-opt model.onnx --tp-pipeline=size=3 -o out/rank-%r.onnx             writes an ONNX file for each rank\n"
      "  caat-opt model.onnx --onnx-raise-pipeline -o simpler.onnx                writes the model back, simplified\n",
      registry);
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  bool isRight = llvm::cl::ParseCommandLineOptions(argc, argv, header, &stream);
  caat::safeErrs() << errors;
  return isRight;
}

static LogicalResult run(int argc, char **argv, DialectRegistry &registry) {
  if (tpCheck.getNumOccurrences()) {
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> report = openOutputFile(output, &message);
    if (!report) {
      caat::safeErrs() << message << "\n";
      return failure();
    }
    caat::SafeStream os(report->os());
    if (failed(caat::checkModel(input, tpCheck, os)))
      return failure();
    os.flushPending();
    report->keep();
    return success();
  }
  bool writesOnnx = StringRef(output).ends_with(".onnx");
  std::string error;
  if (StringRef(input).ends_with(".mlir") && !caat::openModuleFile(input, error)) {
    caat::safeErrs() << error << "\n";
    return failure();
  }
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  bool isTyped = input == "-" && llvm::sys::Process::StandardInIsUserInput(); // which MLIR's main remarks on
  if (config.shouldShowDialects() || config.shouldListPasses() || isTyped)
    return MlirOptMain(argc, argv, input, output, registry);
  std::unique_ptr<llvm::MemoryBuffer> model =
      StringRef(input).ends_with(".onnx") ? caat::importToBytecode(input) : openInputFile(input, &error);
  if (!model) {
    caat::safeErrs() << error << (error.empty() ? "" : "\n");
    return failure();
  }
  bool isText = !writesOnnx && !StringRef(input).ends_with(".onnx");
  config.setPassPipelineSetupFn([isText, given = config](PassManager &pm) {
    if (isText) {
      caat::makeMessagesPrintable(*pm.getContext());
    } else {
      pm.getContext()->printOpOnDiagnostic(false); // one message, not the module behind it
      caat::printMessagesByNode(*pm.getContext(), input);
    }
    return given.setupPassPipeline(pm);
  });
  if (writesOnnx)
    return caat::runAndExport(std::move(model), output, config, registry);
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &error);
  if (!file) {
    caat::safeErrs() << error << "\n";
    return failure();
  }
  if (failed(MlirOptMain(file->os(), std::move(model), registry, config)))
    return failure();
  file->keep();
  return success();
}

int main(int argc, char **argv) {
  caat::useLargePages();
  llvm::InitLLVM init(argc, argv);
  llvm::cl::SetVersionPrinter(
      [](llvm::raw_ostream &os) { os << "caat-opt " << caat::kVersion << ", LLVM " << LLVM_VERSION_STRING << "\n"; });
  DialectRegistry registry;
  if (!parseCommandLine(argc, argv, registry))
    return 2;
  return asMainReturnCode(run(argc, argv, registry));
}
