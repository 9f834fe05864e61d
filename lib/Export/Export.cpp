// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The files of all ranks: where tensors go, their bytes, and what the files say of themselves.
#include "caat/Export/Export.h"
#include "GraphWriter.h"
#include "Metadata.h"
#include "Protos.h"
#include "caat/Artifact/ByteProgress.h"
#include "caat/Artifact/OutputFile.h"
#include "caat/Artifact/WeightEvaluator.h"
#include "caat/Export/Passes.h"
#include "caat/Import/Import.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace caat;
namespace path = llvm::sys::path;

/// Smaller tensors stay in the model's file.
static constexpr int64_t kExternalBytes = 1024;

/// Where a tensor may start: large ones so that they can be mapped on any system.
static int64_t alignmentOf(int64_t bytes) { return bytes >= (1 << 20) ? 65536 : 64; }

void caat::registerExportDialects(DialectRegistry &registry) {
  registerImportDialects(registry);
  registry.insert<tp::TPDialect, arith::ArithDialect, tensor::TensorDialect>();
}

static std::string fileOf(StringRef pattern, int64_t rank) {
  std::string name;
  for (size_t i = 0; i < pattern.size(); ++i)
    if (pattern.substr(i).starts_with("%r")) {
      name += std::to_string(rank);
      ++i;
    } else {
      name += pattern[i];
    }
  return name;
}

namespace {

/// One rank's program, ready to be written.
struct RankFile {
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<::onnx::ModelProto> model = std::make_unique<::onnx::ModelProto>();
  SmallVector<Value> stored;
  std::string directory, name;
  int64_t externalBytes = 0;
};

class Exporter {
public:
  Exporter(ModuleOp module, const ExportOptions &options) : module(module), options(options) {}
  LogicalResult run();

private:
  LogicalResult findProgram();
  FailureOr<RankFile> makeRank(int64_t rank);
  void placeTensors(RankFile &file);
  llvm::Error writeTensors(RankFile &file, int64_t rank, ByteProgress &progress);
  llvm::Error writeModel(RankFile &file);

  ModuleOp module;
  const ExportOptions &options;
  StringAttr function;
  int64_t ranks = 1;
  SmallVector<OutputFile> written;
};

} // namespace

LogicalResult Exporter::findProgram() {
  SmallVector<func::FuncOp> functions;
  for (auto candidate : module.getOps<func::FuncOp>())
    if (!candidate.isExternal())
      functions.push_back(candidate);
  func::FuncOp program = functions.size() == 1 ? functions[0] : module.lookupSymbol<func::FuncOp>("main");
  if (!program || program.isExternal())
    return module.emitError("cannot be written to ONNX: the module has no function, or several and none is @main");
  if (!program.getBody().hasOneBlock())
    return program.emitError("cannot be written to ONNX: the function has several blocks");
  function = program.getSymNameAttr();

  SmallVector<tp::MeshOp> meshes(module.getOps<tp::MeshOp>());
  if (meshes.size() > 1)
    return meshes[1].emitError("cannot be written to ONNX: the module has a second mesh");
  if (!meshes.empty())
    ranks = meshes[0].getNumRanks();
  if (ranks > 1 && !StringRef(options.output).contains("%r"))
    return module.emitError() << "the program is for " << ranks
                              << " ranks: name an output with %r for the rank, such as "
                              << "rank-%r.onnx, not '" << options.output << "'";
  return success();
}

/// Gives every initializer of at least kExternalBytes its place in the file beside the model's.
void Exporter::placeTensors(RankFile &file) {
  for (auto [value, tensor] : llvm::zip_equal(file.stored, *file.model->mutable_graph()->mutable_initializer())) {
    int64_t bytes = caat::onnx::storageBytes(cast<RankedTensorType>(value.getType())).value_or(0);
    if (bytes < kExternalBytes)
      continue;
    int64_t offset = llvm::alignTo(file.externalBytes, alignmentOf(bytes));
    tensor.set_data_location(::onnx::TensorProto::EXTERNAL);
    for (auto [key, text] : {std::pair("location", file.name + ".data"), std::pair("offset", std::to_string(offset)),
                             std::pair("length", std::to_string(bytes))}) {
      auto &entry = *tensor.add_external_data();
      entry.set_key(key);
      entry.set_value(text);
    }
    file.externalBytes = offset + bytes;
  }
}

FailureOr<RankFile> Exporter::makeRank(int64_t rank) {
  RankFile file;
  std::string target = fileOf(options.output, rank);
  file.directory = path::parent_path(target).str();
  file.name = path::filename(target).str();
  file.module = module.clone();
  PassManager passes(module.getContext());
  buildExportPipeline(passes, rank);
  if (failed(passes.run(*file.module)))
    return failure();
  auto program = file.module->lookupSymbol<func::FuncOp>(function);
  GraphWriter writer(program, *file.model);
  if (failed(writer.run()))
    return failure();
  file.stored.assign(writer.storedValues().begin(), writer.storedValues().end());
  writeMetadata(program, rank, ranks, *file.model);
  placeTensors(file);
  return file;
}

/// An initializer of elements below a byte is stored packed, which the evaluator does not know; it is copied.
static llvm::Expected<bool> writePacked(ModuleOp module, WeightFiles &files, Value value, raw_ostream &os) {
  auto get = value.getDefiningOp<caat::onnx::GetInitializerOp>();
  if (!get || WeightEvaluator::supports(get))
    return false;
  auto bytes = files.bytes(module.lookupSymbol<caat::onnx::InitializerOp>(get.getName()));
  if (!bytes)
    return bytes.takeError();
  os.write(bytes->data(), bytes->size());
  return true;
}

llvm::Error Exporter::writeTensors(RankFile &file, int64_t rank, ByteProgress &progress) {
  std::optional<OutputFile> data;
  if (file.externalBytes > 0) {
    llvm::Expected<OutputFile> created = OutputFile::create(file.directory, file.name + ".data");
    if (!created)
      return created.takeError();
    data.emplace(std::move(*created));
  }
  WeightEvaluator evaluator(*file.module);
  WeightFiles files(*file.module);
  int64_t position = 0;
  for (auto [value, tensor] : llvm::zip_equal(file.stored, *file.model->mutable_graph()->mutable_initializer())) {
    int64_t bytes = caat::onnx::storageBytes(cast<RankedTensorType>(value.getType())).value_or(0);
    bool isExternal = tensor.data_location() == ::onnx::TensorProto::EXTERNAL;
    auto fail = [&](llvm::Error error) {
      return llvm::createStringError("initializer '" + tensor.name() + "': " + toString(std::move(error)));
    };
    std::string inlineBytes;
    llvm::raw_string_ostream inlineStream(inlineBytes);
    raw_ostream &os = isExternal ? static_cast<raw_ostream &>(data->os()) : inlineStream;
    if (isExternal) {
      int64_t offset = llvm::alignTo(position, alignmentOf(bytes));
      os.write_zeros(offset - position);
      position = offset + bytes;
    }
    if (auto constant = value.getDefiningOp<caat::onnx::ConstantOp>()) {
      llvm::Expected<std::string> elements = storedBytes(constant.getValue());
      if (!elements)
        return fail(elements.takeError());
      os << *elements;
    } else {
      llvm::Expected<bool> copied = writePacked(*file.module, files, value, os);
      if (!copied)
        return fail(copied.takeError());
      if (!*copied) {
        llvm::Expected<TensorView> view = evaluator.evaluate(value, rank);
        if (!view)
          return fail(view.takeError());
        writeDense(*view, os);
      }
    }
    if (isExternal) {
      progress.add(bytes);
      if (llvm::Error error = data->status())
        return error;
      evaluator.release(); // so that the process never holds more of the model than one tensor
    } else {
      tensor.set_raw_data(std::move(inlineBytes));
    }
  }
  if (data)
    written.push_back(std::move(*data));
  return llvm::Error::success();
}

llvm::Error Exporter::writeModel(RankFile &file) {
  constexpr size_t kMostBytes = INT32_MAX;
  if (file.model->ByteSizeLong() > kMostBytes)
    return llvm::createStringError(file.name + " would have " + Twine(file.model->ByteSizeLong()) +
                                   " bytes, above the 2 GiB of a protobuf message");
  std::string bytes;
  if (!file.model->SerializeToString(&bytes))
    return llvm::createStringError(file.name + " cannot be serialised");
  llvm::Expected<OutputFile> out = OutputFile::create(file.directory, file.name);
  if (!out)
    return out.takeError();
  out->os() << bytes;
  written.push_back(std::move(*out));
  return llvm::Error::success();
}

LogicalResult Exporter::run() {
  if (failed(findProgram()))
    return failure();
  SmallVector<RankFile> files;
  int64_t total = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    FailureOr<RankFile> file = makeRank(rank);
    if (failed(file))
      return failure();
    total += file->externalBytes;
    files.push_back(std::move(*file));
  }
  auto fail = [&](llvm::Error error) { return module.emitError() << toString(std::move(error)); };
  ByteProgress progress("weights", total, options.progress && total >= (1 << 20));
  for (auto [rank, file] : llvm::enumerate(files)) {
    if (!file.directory.empty())
      if (std::error_code error = llvm::sys::fs::create_directories(file.directory))
        return fail(llvm::createStringError("cannot make the directory '" + file.directory + "': " + error.message()));
    if (llvm::Error error = writeTensors(file, rank, progress))
      return fail(std::move(error));
    if (llvm::Error error = writeModel(file))
      return fail(std::move(error));
  }
  if (options.progress && total >= (1 << 20))
    progress.finish();
  for (OutputFile &file : written)
    if (llvm::Error error = file.keep())
      return fail(std::move(error));
  return success();
}

LogicalResult caat::exportONNX(ModuleOp module, const ExportOptions &options) {
  return Exporter(module, options).run();
}
