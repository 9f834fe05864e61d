// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "OnnxFiles.h"
#include "caat/Export/Export.h"
#include "caat/Import/Import.h"
#include "caat/Import/NodeMessages.h"
#include "caat/Support/SafeStream.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

std::unique_ptr<llvm::MemoryBuffer> caat::importToBytecode(StringRef path) {
  DialectRegistry registry;
  registerImportDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.disableMultithreading(); // MLIR's command line options turn it on again
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context, safeErrs());
  printMessagesByNode(context, path);
  FailureOr<OwningOpRef<ModuleOp>> module = importONNX(path, &context);
  std::string bytecode;
  llvm::raw_string_ostream stream(bytecode);
  if (failed(module) || failed(writeBytecodeToFile(**module, stream)))
    return nullptr;
  return llvm::MemoryBuffer::getMemBufferCopy(bytecode, path);
}

LogicalResult caat::runAndExport(std::unique_ptr<llvm::MemoryBuffer> model, StringRef output, MlirOptMainConfig config,
                                 DialectRegistry &registry) {
  std::string name = model->getBufferIdentifier().str(), bytecode;
  llvm::raw_string_ostream stream(bytecode);
  config.emitBytecode(true);
  if (failed(MlirOptMain(stream, std::move(model), registry, config)))
    return failure();
  registerExportDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.disableMultithreading(); // MLIR's command line options turn it on again
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context, safeErrs());
  context.printOpOnDiagnostic(false); // one message, not the module behind it
  printMessagesByNode(context, name);
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(bytecode, ParserConfig(&context, /*verifyAfterParse=*/false), name);
  return module ? exportONNX(*module, {output.str()}) : failure();
}
