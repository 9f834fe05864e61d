// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Import/Import.h"

#include "GraphImporter.h"
#include "Limits.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;

void caat::registerImportDialects(DialectRegistry &registry) {
  registry.insert<onnx::ONNXDialect, func::FuncDialect>();
}

static llvm::Error importInto(ModuleOp module, StringRef path, const ImportOptions &options) {
  // The model itself may be reached through links; from here on nothing is.
  SmallString<256> real;
  if (std::error_code error = llvm::sys::fs::real_path(path, real))
    return llvm::createStringError("cannot be opened: " + error.message());
  StringRef directory = llvm::sys::path::parent_path(real), name = llvm::sys::path::filename(real);
  WeightFiles files(directory, name);
  llvm::Expected<ArrayRef<char>> bytes = files.file(name);
  if (!bytes)
    return bytes.takeError();
  google::protobuf::Arena arena; // its hundreds of thousands of messages are freed at once
  auto &model = *google::protobuf::Arena::CreateMessage<::onnx::ModelProto>(&arena);
  if (llvm::Error error = parseModelFile(*bytes, model))
    return error;
  if (llvm::Error error = checkLimits(model))
    return error;
  Builder b(module.getContext());
  module->setAttr("onnx.directory", b.getStringAttr(directory));
  module->setAttr("onnx.file", b.getStringAttr(name));
  TensorReader tensors(module.getContext(), files, name, options);
  return GraphImporter(module, model, tensors).run();
}

FailureOr<OwningOpRef<ModuleOp>> caat::importONNX(StringRef path, MLIRContext *context, const ImportOptions &options) {
  context->loadDialect<onnx::ONNXDialect, func::FuncDialect>();
  Location loc = FileLineColLoc::get(context, path, 0, 0);
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  if (llvm::Error error = importInto(*module, path, options)) {
    emitError(loc) << toString(std::move(error));
    return failure();
  }
  return module;
}
