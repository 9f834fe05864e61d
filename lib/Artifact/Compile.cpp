// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/Compile.h"
#include "CodeGen.h"
#include "WeightWriter.h"
#include "caat/Artifact/Manifest.h"
#include "caat/Artifact/OutputFile.h"
#include "caat/Import/Import.h"
#include "caat/Import/ModuleText.h"
#include "caat/Import/NodeMessages.h"
#include "caat/Lower/Passes.h"
#include "caat/Raise/Passes.h"
#include "caat/Rotate/Passes.h"
#include "caat/Shard/Passes.h"
#include "caat/Support/SafeStream.h"
#include "caat/Sync/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/cuda/Kernels.h"
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
      : options(options), summary(summary), context(makeRegistry()), handler(sources, &context, safeErrs()) {
    printMessagesByNode(context, options.model);
  }

  LogicalResult run() {
    using Build = void (*)(OpPassManager &);
    if (failed(timed("import", [&] { return import(); })) || failed(makeDirectory("-o", options.output)) ||
        (!options.dumpDirectory.empty() && failed(makeDirectory("--dump-ir", options.dumpDirectory))))
      return failure();
    if (failed(raise()))
      return failure();
    int64_t vocabulary = findVocabulary();
    if (failed(stage("shard", "02-sharded", [&](OpPassManager &pm) { buildShard(pm); })) || failed(rotate()) ||
        (!isRotated() && failed(stage("sync", "03-synced", [&](OpPassManager &pm) { buildSync(pm); }))))
      return failure();
    if (isRotated() && !options.weightRules.empty())
      emitWarning(module->getLoc(), "weights travel between the ranks (--strategy=rtp), so --weights does not change "
                                    "them: those that travel stay floats");
    if (failed(
            stage("kernels", "04-kernels", [&](OpPassManager &pm) { buildTensorPipeline(pm, device(), storage()); })) ||
        failed(stage("buffers", "05-buffers", [&](OpPassManager &pm) { buildBuffers(pm); })))
      return failure();
    if (device() == Device::CUDA && failed(stage("gpu", "06-gpu", [&](OpPassManager &pm) {
          buildGPUPipeline(pm, {options.hostKernels, options.emulate});
        })))
      return failure();

    FailureOr<Program> program = Program::get(*module);
    if (failed(program))
      return failure();
    auto batch = (*module)->getAttrOfType<StringAttr>("caat.batch");
    ManifestOptions manifestOptions{llvm::sys::path::filename(options.model).str(),
                                    options.tp,
                                    options.maxLength,
                                    hasHostKernels() ? hostTarget() : baselineTarget(),
                                    batch ? batch.str() : "",
                                    vocabulary,
                                    options.gpuArchs};
    manifestOptions.target.device = options.emulate && !options.hostKernels ? "cpu" : options.target;
    FailureOr<std::string> manifest = writeManifest(*program, manifestOptions);
    if (failed(manifest))
      return failure();
    describe(*program);
    // From here to the new manifest at the end the folder is no artifact, whatever happens.
    if (failed(removeFile(options.output, "manifest.json")))
      return failure();
    if (failed(timed("weights", [&] { return writeWeightFiles(*program, *manifest); })) ||
        failed(writeKernels(*manifest)) ||
        failed(
            stage("llvm", device() == Device::CUDA ? "07-llvm" : "06-llvm", static_cast<Build>(buildCodePipeline))) ||
        failed(timed("code", [&] {
          int64_t bytes = 0;
          LogicalResult written = check(writeCode(*module, manifestOptions.target, *manifest, options.output), bytes);
          summary.codeBytes += bytes;
          return written;
        })))
      return failure();
    return writeText(options.output, "manifest.json", *manifest);
  }

private:
  bool hasHostKernels() const { return device() == Device::CPU || options.hostKernels || options.emulate; }
  Device device() const { return options.target == "cuda" ? Device::CUDA : Device::CPU; }

  StorageOptions storage() const {
    return {options.dtype, options.cache.empty() ? options.dtype : options.cache, options.wideActivations,
            options.weightRules};
  }

  /// The manifest says which files belong to it.
  LogicalResult writeWeightFiles(const Program &program, std::string &manifest) {
    if (options.weights) {
      WrittenWeights written;
      if (failed(
              check(writeWeights(*module, program.weights, {options.output, options.tp, options.progress}), written)))
        return failure();
      summary.weightBytes = written.bytes;
      manifest = withWeights(manifest, written.digests);
    }
    // Those of a program for more ranks, which was in the folder, belong to none any more.
    for (int64_t rank = options.weights ? options.tp : 0; rank < kMaxRanks; ++rank)
      if (failed(removeFile(options.output, "weights-" + std::to_string(rank) + ".safetensors")))
        return failure();
    return success();
  }

  /// The kernels of a GPU program leave the module: what remains is the host's. The manifest says which files they are.
  LogicalResult writeKernels(std::string &manifest) {
    for (auto kernels : llvm::make_early_inc_range(module->getOps<gpu::GPUModuleOp>())) {
      GPUCode code;
      if (failed(timed("ptx", [&] { return check(writeGPUCode(kernels, options.gpuArchs, options.output), code); })))
        return failure();
      summary.codeBytes += code.bytes;
      manifest = withKernels(manifest, code.files);
      kernels.erase();
    }
    return success();
  }

  /// Rows of the smallest table that `input_ids` are looked up in, 0 where there is none.
  int64_t findVocabulary() {
    int64_t rows = 0;
    auto main = module->lookupSymbol<func::FuncOp>("main");
    for (unsigned i = 0; main && i < main.getNumArguments(); ++i) {
      auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
      if (!name || name.getValue() != "input_ids")
        continue;
      for (Operation *user : main.getArgument(i).getUsers()) {
        auto gather = dyn_cast<onnx::GatherOp>(user);
        auto table = gather ? dyn_cast<RankedTensorType>(gather.getData().getType()) : RankedTensorType();
        if (table && table.getRank() == 2 && gather.getAxis() == 0 && gather.getIndices() == main.getArgument(i) &&
            !table.isDynamicDim(0))
          rows = rows == 0 ? table.getDimSize(0) : std::min(rows, table.getDimSize(0));
      }
    }
    return rows;
  }

  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerImportDialects(registry);
    registerLowerDialects(registry);
    return registry;
  }

  LogicalResult fail(const Twine &message) {
    safeErrs() << "error: " << message << "\n";
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
      module = parseModuleFile(options.model, sources, &context);
      return success(bool(module));
    }
    ImportOptions imports;
    imports.requireWeights = options.weights;
    FailureOr<OwningOpRef<ModuleOp>> imported = importONNX(options.model, &context, imports);
    if (failed(imported))
      return failure();
    module = std::move(*imported);
    return success();
  }

  void buildRaise(OpPassManager &pm, bool freeBatch) {
    if (!options.dims.empty() || !options.values.empty()) {
      ONNXBindInputsPassOptions bind;
      bind.dims.assign(options.dims.begin(), options.dims.end());
      bind.values.assign(options.values.begin(), options.values.end());
      pm.addNestedPass<func::FuncOp>(createONNXBindInputsPass(bind));
    }
    if (freeBatch)
      pm.addPass(createTPFreeBatch());
    RaiseOptions raise;
    raise.raise = options.raise;
    raise.widen = true;
    raise.rowLengths = options.rowLengths;
    buildRaisePipeline(pm, raise);
  }

  void buildShard(OpPassManager &pm) {
    if (options.strategy != "rtp") // whose batch is divided already
      pm.addPass(createTPFindHalves());
    ShardOptions shard;
    shard.size = options.tp;
    shard.plan = options.plan.empty() ? options.heads : options.plan;
    shard.report = options.report;
    buildShardPipeline(pm, shard);
  }

  void buildSync(OpPassManager &pm) {
    SyncOptions sync;
    sync.plan = options.plan;
    sync.size = options.tp;
    sync.switchable = options.switchable;
    sync.splitProducts = overlaps();
    sync.messageType = options.messages;
    buildSyncPipeline(pm, sync);
  }

  void buildBuffers(OpPassManager &pm) {
    buildBufferPipeline(pm, device(), overlaps(), sumsInKernels());
    if (isRotated())
      pm.addNestedPass<func::FuncOp>(createRTScheduleRotations({options.rotateInPlace}));
  }

  /// A switchable program does not know before it runs what a site sends.
  bool overlaps() const { return options.overlap && options.tp > 1 && !options.switchable && !isRotated(); }

  /// Programs that only the CPU runs have no memory that GPUs share.
  bool sumsInKernels() const {
    bool isForGPU = device() == Device::CUDA && (!options.emulate || options.hostKernels);
    return isForGPU && haveSumRows() && options.tp > 1 && options.tp <= runtime::cuda::maxPeers &&
           !options.switchable && !isRotated();
  }

  bool isRotated() const { return summary.strategy == "rtp"; }

  /// Raises the module, and finds out whether its batch can be divided. With `auto` a program for which it cannot is
  /// compiled for tensor parallelism.
  LogicalResult raise() {
    auto build = [&](bool freeBatch) {
      return stage("raise", "01-raised", [&](OpPassManager &pm) { buildRaise(pm, freeBatch); });
    };
    summary.strategy = options.strategy == "auto" ? "rtp" : options.strategy;
    if (options.strategy == "auto" && options.tp == 1) {
      summary.strategy = "tp";
      summary.reason = "there is one rank";
    }
    if (!isRotated())
      return build(false);
    auto find = [&] { return stage("batch", "01-batch", [](OpPassManager &pm) { pm.addPass(createTPFindBatch()); }); };
    if (options.strategy == "rtp") {
      if (succeeded(build(true)) && succeeded(find())) {
        whole = module->clone();
        return success();
      }
      if (auto batch = (*module)->getAttrOfType<IntegerAttr>("caat.fixed_batch"))
        emitRemark(module->getLoc(), "the batch is fixed at ")
            << batch.getInt()
            << "; --strategy=rtp divides it, as if it were dynamic. Export the model with a dynamic batch";
      return failure();
    }
    OwningOpRef<ModuleOp> imported(module->clone());
    std::string refusal;
    {
      ScopedDiagnosticHandler quiet(&context, [&](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
          return failure();
        refusal = refusal.empty() ? diagnostic.str() : refusal;
        return success();
      });
      if (succeeded(build(true)) && succeeded(find())) {
        whole = module->clone();
        return success();
      }
    }
    summary.strategy = "tp";
    summary.reason = refusal;
    module = std::move(imported);
    return build(false);
  }

  /// Lets the weights travel where that is the strategy, or where it sends less.
  LogicalResult rotate() {
    if (!isRotated())
      return success();
    OwningOpRef<ModuleOp> partitioned(module->clone());
    if (failed(stage("rotate", "03-rotated", buildRotatePipeline)))
      return failure();
    summary.cost = CostModel::get(*whole, *partitioned, *module, options.maxLength);
    whole = {};
    if (failed(costPlan(*partitioned)))
      return failure();
    if (options.strategy != "auto")
      return success();
    std::optional<int64_t> crossover = summary.cost->crossover();
    StrategyCost summed = summary.cost->planned(options.tokens);
    double tp = summed.sent.seconds(options.link);
    double rtp = summary.cost->rotated(options.tokens, options.rotateInPlace).sent.seconds(options.link);
    bool less = rtp < tp;
    summary.reason = llvm::formatv("a step of {0} token{1} takes {2:F3} ms on the link with {3}, {4:F3} ms with rtp",
                                   options.tokens, options.tokens == 1 ? "" : "s", tp * 1e3, summed.name, rtp * 1e3);
    if (less && !options.plan.empty())
      summary.reason += ", which is exact; the plan is not used";
    if (!less && crossover)
      summary.reason += llvm::formatv("; weights are worth sending from about {0} tokens on", *crossover);
    if (!less) {
      summary.strategy = "tp";
      module = std::move(partitioned);
    }
    return success();
  }

  /// What a plan would leave to send.
  LogicalResult costPlan(ModuleOp partitioned) {
    if (options.plan.empty())
      return success();
    OwningOpRef<ModuleOp> planned(partitioned.clone());
    PassManager pm(&context);
    buildSync(pm);
    if (failed(pm.run(*planned)))
      return failure();
    summary.cost->plannedPerToken = trafficPerToken(*planned, options.tp);
    return success();
  }

  LogicalResult makeDirectory(StringRef option, StringRef path) {
    if (llvm::sys::fs::exists(path) && !llvm::sys::fs::is_directory(path))
      return fail(option + "=" + path + " is a file; name a folder, which is made where it is missing");
    if (std::error_code error = llvm::sys::fs::create_directories(path))
      return fail(option + "=" + path + ": the folder cannot be made: " + error.message());
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
    for (rt::WeightOp weight : program.weights) {
      if (!weight.getLinear())
        continue;
      std::optional<rt::BlocksAttr> blocks = weight.getBlocks();
      CompileSummary::Matrices &matrices = !blocks                  ? summary.floats
                                           : blocks->getBits() == 4 ? summary.fourBits
                                                                    : summary.eightBits;
      ++matrices.count;
      matrices.bytes += storedBytes(weight);
      summary.roundedMatrices += weight.getRounded();
    }
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
  OwningOpRef<ModuleOp> whole; // before sharding, where strategies are compared
};

} // namespace

LogicalResult caat::compileModel(const CompileOptions &options, CompileSummary &summary) {
  return Compiler(options, summary).run();
}
