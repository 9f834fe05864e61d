// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/Compile.h"
#include "CodeGen.h"
#include "OutputFile.h"
#include "WeightWriter.h"
#include "caat/Artifact/Manifest.h"
#include "caat/Import/Import.h"
#include "caat/Lower/Passes.h"
#include "caat/Raise/Passes.h"
#include "caat/Shard/Passes.h"
#include "caat/Sync/Passes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>

using namespace mlir;
using namespace caat;

namespace {

/// One run through the stages. Each leaves the module for the next one.
class Compiler {
public:
  Compiler(const CompileOptions &options, CompileSummary &summary)
      : options(options), summary(summary), context(makeRegistry()), handler(sources, &context) {}

  LogicalResult run() {
    using Build = void (*)(OpPassManager &);
    if (failed(timed("import", [&] { return import(); })) || failed(makeDirectory(options.output)) ||
        (!options.dumpDirectory.empty() && failed(makeDirectory(options.dumpDirectory))) || failed(bindDims()))
      return failure();
    if (failed(stage("raise", "01-raised", [&](OpPassManager &pm) { buildRaisePipeline(pm, RaiseOptions()); })) ||
        failed(stage("shard", "02-sharded", [&](OpPassManager &pm) { buildShard(pm); })) ||
        failed(stage("sync", "03-synced", [&](OpPassManager &pm) { buildSync(pm); })) ||
        failed(stage("kernels", "04-kernels", static_cast<Build>(buildTensorPipeline))) ||
        failed(stage("buffers", "05-buffers", static_cast<Build>(buildBufferPipeline))))
      return failure();

    FailureOr<Program> program = Program::get(*module);
    if (failed(program))
      return failure();
    ManifestOptions manifestOptions{llvm::sys::path::filename(options.model).str(), options.tp, options.maxLength,
                                    hostTarget()};
    FailureOr<std::string> manifest = writeManifest(*program, manifestOptions);
    if (failed(manifest))
      return failure();
    describe(*program);
    // From here to the new manifest at the end the folder is no artifact, whatever happens.
    if (failed(removeFile(options.output, "manifest.json")))
      return failure();
    if (failed(timed("weights",
                     [&] {
                       return check(
                           writeWeights(*module, program->weights, {options.output, options.tp, options.progress}),
                           summary.weightBytes);
                     })) ||
        failed(stage("llvm", "06-llvm", static_cast<Build>(buildCodePipeline))) || failed(timed("code", [&] {
          return check(writeCode(*module, manifestOptions.target, options.output), summary.codeBytes);
        })))
      return failure();
    return writeText(options.output, "manifest.json", *manifest);
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerImportDialects(registry);
    registerLowerDialects(registry);
    return registry;
  }

  LogicalResult fail(const Twine &message) {
    llvm::errs() << "error: " << message << "\n";
    return failure();
  }

  template <typename T, typename U> LogicalResult check(llvm::Expected<T> result, U &value) {
    if (!result)
      return fail(llvm::toString(result.takeError()));
    value = std::move(*result);
    return success();
  }

  LogicalResult timed(StringRef name, llvm::function_ref<LogicalResult()> action) {
    auto start = std::chrono::steady_clock::now();
    LogicalResult result = action();
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    summary.stages.emplace_back(name, seconds.count());
    return result;
  }

  LogicalResult stage(StringRef name, StringRef dump, llvm::function_ref<void(OpPassManager &)> build) {
    return timed(name, [&]() -> LogicalResult {
      PassManager pm(&context);
      pm.enableVerifier(false); // a third of the time if run after each pass; once a stage will do
      build(pm);
      if (failed(pm.run(*module)) || failed(verify(*module)))
        return failure();
      if (options.dumpDirectory.empty())
        return success();
      std::string text;
      llvm::raw_string_ostream os(text);
      module->print(os);
      return writeText(options.dumpDirectory, (dump + ".mlir").str(), text);
    });
  }

  LogicalResult import() {
    context.loadAllAvailableDialects();
    context.printOpOnDiagnostic(false); // one message, not the module behind it
    if (StringRef(options.model).ends_with(".mlir")) {
      module = parseSourceFile<ModuleOp>(options.model, sources, &context);
      return success(bool(module));
    }
    FailureOr<OwningOpRef<ModuleOp>> imported = importONNX(options.model, &context);
    if (failed(imported))
      return failure();
    module = std::move(*imported);
    return success();
  }

  /// Gives the symbols of --dim their values in the types of the arguments.
  LogicalResult bindDims() {
    auto main = module->lookupSymbol<func::FuncOp>("main");
    if (!main)
      return fail("'" + options.model + "' has no function @main");
    for (const auto &[name, value] : options.dims) {
      bool found = false;
      for (BlockArgument arg : main.getArguments()) {
        auto dims = main.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "onnx.dims");
        auto type = dyn_cast<RankedTensorType>(arg.getType());
        if (!dims || !type)
          continue;
        SmallVector<int64_t> shape(type.getShape());
        SmallVector<Attribute> names(dims.getValue());
        for (auto [d, text] : llvm::enumerate(dims.getAsRange<StringAttr>()))
          if (text.getValue() == name) {
            shape[d] = value;
            names[d] = StringAttr::get(&context, "");
            found = true;
          }
        arg.setType(type.clone(shape));
        main.setArgAttr(arg.getArgNumber(), "onnx.dims", ArrayAttr::get(&context, names));
      }
      if (!found)
        return fail("--dim=" + name + ": no input has a dimension of that name");
    }
    main.setFunctionType(FunctionType::get(&context, main.getBody().getArgumentTypes(), main.getResultTypes()));
    return success();
  }

  void buildShard(OpPassManager &pm) {
    ShardOptions shard;
    shard.size = options.tp;
    shard.report = options.report;
    buildShardPipeline(pm, shard);
  }

  void buildSync(OpPassManager &pm) {
    SyncOptions sync;
    sync.plan = options.plan;
    sync.size = options.tp;
    buildSyncPipeline(pm, sync);
  }

  LogicalResult makeDirectory(StringRef path) {
    if (std::error_code error = llvm::sys::fs::create_directories(path))
      return fail("cannot make the directory '" + path + "': " + error.message());
    if (!llvm::sys::fs::is_directory(path))
      return fail("the output '" + path + "' is not a directory");
    return success();
  }

  LogicalResult removeFile(StringRef directory, StringRef name) {
    SmallString<256> path(directory);
    llvm::sys::path::append(path, name);
    if (std::error_code error = llvm::sys::fs::remove(path))
      return fail("cannot remove the old '" + path + "': " + error.message());
    return success();
  }

  LogicalResult writeText(StringRef directory, StringRef name, StringRef text) {
    llvm::Expected<OutputFile> file = OutputFile::create(directory, name);
    if (!file)
      return fail(llvm::toString(file.takeError()));
    file->os() << text;
    if (llvm::Error error = file->keep())
      return fail(llvm::toString(std::move(error)));
    return success();
  }

  void describe(const Program &program) {
    summary.collectives = program.collectives.size();
    summary.kernels = program.kernels.size();
    summary.parameters = program.weights.size();
    auto sites = module->getOperation()->getAttrOfType<ArrayAttr>("tp.sync");
    if (!sites)
      return;
    for (auto site : sites.getAsRange<DictionaryAttr>()) {
      auto name = site.getAs<StringAttr>("site"), policy = site.getAs<StringAttr>("policy");
      auto bytes = site.getAs<IntegerAttr>("bytes_per_token");
      summary.sites.push_back({name ? name.str() : "", policy ? policy.str() : "", bytes ? bytes.getInt() : 0});
    }
  }

  const CompileOptions &options;
  CompileSummary &summary;
  MLIRContext context;
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler;
  OwningOpRef<ModuleOp> module;
};

} // namespace

LogicalResult caat::compileModel(const CompileOptions &options, CompileSummary &summary) {
  return Compiler(options, summary).run();
}
