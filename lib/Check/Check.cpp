// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Imports and raises a model once, asks the sharding analysis about every number of ranks, and makes one rank's program
// for the sizes whose choice of split dimensions differs.
#include "caat/Check/Check.h"
#include "Messages.h"
#include "caat/Import/Import.h"
#include "caat/Import/ModuleText.h"
#include "caat/Import/NodeMessages.h"
#include "caat/Raise/Passes.h"
#include "caat/Raise/SymbolicShapes.h"
#include "caat/Shard/Passes.h"
#include "caat/Shard/ShardingChoice.h"
#include "caat/Support/SafeStream.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>
#include <map>
#include <set>

using namespace mlir;
using namespace caat;
using namespace caat::check;

/// Above this no compilation goes (Artifact/Compile.h has the same bound).
static constexpr int64_t maxRanks = 64;

static LogicalResult refuse(const Twine &message) {
  safeErrs() << "error: --tp-check: " << message << "\n";
  return failure();
}

namespace {

class Checker {
public:
  Checker(StringRef model, const CheckOptions &options)
      : model(model), options(options), context(MLIRContext::Threading::DISABLED),
        handler(sources, &context, safeErrs()) {
    context.disableMultithreading(); // MLIR's command line options turn it on again, and with it all locks
    printMessagesByNode(context, model);
  }

  LogicalResult run(raw_ostream &os);

private:
  LogicalResult readOptions();
  LogicalResult import();
  LogicalResult raise();
  LogicalResult bindDims();
  void findNamedDims(const SymbolicShapes &shapes);
  Verdict judge(shard::ShardingChoice &choice, int64_t ranks, const SmallVector<bool> &reference);
  LogicalResult measure(shard::ShardingAnalysis &analysis, shard::ShardingChoice &choice, int64_t ranks);
  void countWeights(shard::ShardingAnalysis &analysis, const shard::Split &split, RankReport &rank);
  LogicalResult timed(StringRef stage, llvm::function_ref<LogicalResult()> action);

  StringRef model;
  const CheckOptions &options;
  MLIRContext context;
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  Report report;
  SmallVector<int64_t> sizes;
  DimValues values;
  /// The messages for each choice of classes that was met. Their sizes do not depend on the number of ranks, but for
  /// the padding of gathers.
  std::map<std::vector<bool>, std::vector<Message>> known;
};

} // namespace

LogicalResult Checker::timed(StringRef stage, llvm::function_ref<LogicalResult()> action) {
  auto start = std::chrono::steady_clock::now();
  LogicalResult result = action();
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (options.timing)
    safeErrs() << llvm::formatv("{0,-10} {1:F3} s\n", stage, seconds.count());
  return result;
}

LogicalResult Checker::readOptions() {
  for (int64_t size : options.sizes) {
    if (size < 1 || size > maxRanks)
      return refuse("size=" + Twine(size) + " is not in 1 … " + Twine(maxRanks));
    sizes.push_back(size);
  }
  auto atLeast = [](StringRef name, int64_t value, int64_t least) {
    return value >= least ? success() : refuse(name + "=" + Twine(value) + " is less than " + Twine(least));
  };
  if (failed(atLeast("prefill", options.prefill, 1)) || failed(atLeast("context", options.context, 0)) ||
      failed(atLeast("limit", options.limit, 1)))
    return failure();
  if (options.limit > maxRanks)
    return refuse("limit=" + Twine(options.limit.getValue()) + " is above " + Twine(maxRanks));
  report.prefill = options.prefill;
  report.context = options.context;
  if (options.link.empty())
    return success();
  std::string error;
  report.link = cost::Link::parse(options.link, error);
  return report.link ? success() : refuse("link=" + options.link + ": " + error);
}

LogicalResult Checker::import() {
  DialectRegistry registry;
  registerImportDialects(registry);
  registry.insert<tp::TPDialect, arith::ArithDialect, tensor::TensorDialect>();
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  if (model.ends_with(".mlir")) {
    module = parseModuleFile(model, sources, &context);
    if (!module)
      return failure();
  } else {
    ImportOptions importOptions;
    importOptions.requireWeights = false;
    FailureOr<OwningOpRef<ModuleOp>> imported = importONNX(model, &context, importOptions);
    if (failed(imported))
      return failure();
    module = std::move(*imported);
  }
  function = module->lookupSymbol<func::FuncOp>("main");
  if (!function || function.isExternal())
    return refuse("'" + model + "' has no function @main");
  report.model = llvm::sys::path::filename(model).str();
  StringRef folder = llvm::sys::path::filename(llvm::sys::path::parent_path(model));
  if (report.model == "model.onnx" && !folder.empty()) // as most are called: its folder says more
    report.model = (folder + "/" + report.model).str();
  report.nodes = llvm::count_if(function.getBody().front().without_terminator(),
                                [](Operation &op) { return !isa<onnx::GetInitializerOp>(op); });
  return success();
}

LogicalResult Checker::raise() {
  PassManager manager(&context);
  manager.enableVerifier(false); // the importer has verified the module
  RaiseOptions raiseOptions;
  buildRaisePipeline(manager, raiseOptions);
  if (failed(manager.run(*module)))
    return failure();
  report.raisedOps = function.getBody().front().getOperations().size();
  module->walk([&](onnx::InitializerOp op) { report.weightBytes += op.getLength(); });
  return success();
}

/// Which named dimensions are the batch, the tokens of a pass and those in the cache: attention tells.
void Checker::findNamedDims(const SymbolicShapes &shapes) {
  auto nameOf = [&](AffineExpr dim) {
    return isa_and_nonnull<AffineSymbolExpr>(dim) ? shapes.print(dim) : std::string();
  };
  function.walk([&](onnx::AttentionOp attention) {
    if (report.attentions++ > 0)
      return;
    report.dims.batch = nameOf(shapes.getDim(attention.getQ(), 0));
    report.dims.query = nameOf(shapes.getDim(attention.getQ(), 2));
    if (Value past = attention.getPastKey()) {
      report.dims.past = nameOf(shapes.getDim(past, 2));
      report.hasCache = true;
    }
  });
  if (report.attentions)
    return;
  for (BlockArgument argument : function.getArguments())
    if (shapes.getRank(argument).value_or(0) >= 2) {
      report.dims.batch = nameOf(shapes.getDim(argument, 0));
      report.dims.query = nameOf(shapes.getDim(argument, 1));
      return;
    }
}

LogicalResult Checker::bindDims() {
  SymbolicShapes shapes(function.getOperation());
  findNamedDims(shapes);
  std::set<std::string> names;
  for (BlockArgument argument : function.getArguments())
    for (AffineExpr dim : shapes.getDims(argument).value_or(SymbolicShapes::Dims()))
      dim.walk([&](AffineExpr part) {
        if (isa<AffineSymbolExpr>(part))
          names.insert(shapes.print(part));
      });
  shard::LocalSizes::Dims given;
  for (StringRef text : options.dims) {
    StringRef name = text.split('=').first;
    if (!shard::parseDimValue(text, given))
      return refuse("dim=" + text + ": expected NAME=VALUE with a number");
    if (!names.contains(name.str())) {
      std::string list = llvm::join(SmallVector<std::string>(names.begin(), names.end()), ", ");
      return refuse("dim=" + text +
                    ": no input has a dimension of that name; there are: " + (list.empty() ? "none" : list));
    }
  }
  auto take = [&](StringRef name, int64_t &value) {
    if (!name.empty() && given.contains(name))
      value = given[name];
  };
  take(report.dims.batch, report.batch);
  take(report.dims.query, report.prefill);
  take(report.dims.past, report.context);
  for (unsigned scenario = 0; scenario < numScenarios; ++scenario) {
    values[scenario] = given;
    if (!report.dims.batch.empty())
      values[scenario][report.dims.batch] = scenario == Token ? 1 : report.batch;
    if (!report.dims.query.empty())
      values[scenario][report.dims.query] = scenario == Prefill ? report.prefill : 1;
    if (!report.dims.past.empty())
      values[scenario][report.dims.past] = scenario == Decode ? report.context : 0;
  }
  return success();
}

/// `reference`: the classes that are split over two ranks; what is not split over more is kept whole on every rank.
Verdict Checker::judge(shard::ShardingChoice &choice, int64_t ranks, const SmallVector<bool> &reference) {
  Verdict verdict{ranks, Verdict::Even, {}};
  if (ranks == 1)
    return verdict;
  if (ranks > choice.getLargestSize()) {
    verdict.kind = Verdict::Refused;
    verdict.reasons.push_back(choice.getLargestSize() == 1
                                  ? "no dimension can be split"
                                  : llvm::formatv("the widest dimension has {0} parts", choice.getLargestSize()).str());
    return verdict;
  }
  choice.choose({ranks});
  std::map<std::string, int64_t> padded, whole;
  for (auto [cls, wasSplit] : llvm::zip(choice.getClasses(), reference)) {
    if (!cls.chosen && wasSplit)
      ++whole[llvm::formatv("kept whole, {0} bytes of weights on every rank: {1}", cls.weightBytes, cls.rejected)];
    if (!cls.chosen)
      continue;
    for (shard::Atom atom : cls.atoms)
      if (std::string text = choice.getSplit().describePadding(atom); !text.empty())
        ++padded[text];
  }
  verdict.kind = !whole.empty() ? Verdict::Partly : !padded.empty() ? Verdict::Padded : Verdict::Even;
  for (auto *group : {&padded, &whole})
    for (const auto &[text, count] : *group)
      verdict.reasons.push_back(count == 1 ? text : llvm::formatv("{0} ({1} places)", text, count).str());
  return verdict;
}

/// Every weight that an op takes is a parameter of its own, as in an artifact.
void Checker::countWeights(shard::ShardingAnalysis &analysis, const shard::Split &split, RankReport &rank) {
  llvm::DenseSet<std::pair<Value, int64_t>> seen;
  for (Operation *op : analysis.getOps())
    for (OpOperand &operand : op->getOpOperands()) {
      auto type = dyn_cast<RankedTensorType>(operand.get().getType());
      if (!type || !type.hasStaticShape() || !analysis.isWeight(operand.get()) ||
          operand.get().getDefiningOp<onnx::ConstantOp>())
        continue;
      shard::ValueLayout layout = analysis.getLayout(operand);
      int64_t dim = split.splitDim(layout);
      if (!seen.insert({operand.get(), dim}).second)
        continue;
      int64_t whole = onnx::storageBytes(type).value_or(0);
      int64_t local = dim < 0 ? whole : onnx::storageBytes(split.localType(type, layout)).value_or(0);
      rank.weightBytes += local;
      if (dim < 0)
        rank.wholeBytes += whole;
      else
        rank.extraBytes += local * rank.ranks - whole;
    }
  for (BlockArgument argument : function.getArguments()) {
    bool isCache = llvm::any_of(argument.getUsers(), [&](Operation *user) {
      auto attention = dyn_cast<onnx::AttentionOp>(user);
      return attention && (attention.getPastKey() == argument || attention.getPastValue() == argument);
    });
    if (auto type = dyn_cast<RankedTensorType>(argument.getType()); type && isCache)
      rank.cacheBytes += shard::bytesPerToken(split.localType(type, analysis.getLayout(argument)));
  }
}

LogicalResult Checker::measure(shard::ShardingAnalysis &analysis, shard::ShardingChoice &choice, int64_t ranks) {
  RankReport rank;
  rank.ranks = ranks;
  choice.choose({ranks});
  if (ranks > choice.getLargestSize() && choice.getLargestSize() > 1)
    return refuse("size=" + Twine(ranks) + ": cannot be split over " + Twine(ranks) +
                  " ranks, the widest dimension has " + Twine(choice.getLargestSize()) +
                  " parts; sizes that can: 1 to " + Twine(choice.getLargestSize()));
  shard::Split one(analysis.getSpace(), 1);
  const shard::Split &split = ranks == 1 ? one : choice.getSplit();
  countWeights(analysis, split, rank);
  if (ranks > 1) {
    std::vector<bool> chosen;
    for (const shard::DimClass &cls : choice.getClasses())
      chosen.push_back(cls.chosen);
    auto [it, isNew] = known.try_emplace(chosen);
    if (isNew) {
      FailureOr<std::vector<Message>> messages = findMessages(analysis, split, ranks, values);
      if (failed(messages))
        return failure();
      it->second = std::move(*messages);
    }
    rank.messages = it->second;
  }
  report.sizes.push_back(std::move(rank));
  return success();
}

LogicalResult Checker::run(raw_ostream &os) {
  if (failed(readOptions()) || failed(timed("import", [&] { return import(); })) ||
      failed(timed("raise", [&] { return raise(); })) || failed(timed("shapes", [&] { return bindDims(); })))
    return failure();
  shard::ShardingRules rules;
  std::optional<shard::ShardingAnalysis> analysis;
  std::optional<shard::ShardingChoice> choice;
  LogicalResult result = timed("analysis", [&] {
    analysis.emplace(function, rules);
    choice.emplace(*analysis, shard::ChoiceOptions{2});
    SmallVector<bool> reference;
    for (const shard::DimClass &cls : choice->getClasses())
      reference.push_back(cls.chosen);
    report.largestSize = std::min(choice->getLargestSize(), maxRanks);
    for (int64_t ranks = 1; ranks <= options.limit; ++ranks)
      report.verdicts.push_back(judge(*choice, ranks, reference));
    return success();
  });
  if (sizes.empty())
    for (int64_t size : {2, 4, 8})
      if (size <= report.largestSize)
        sizes.push_back(size);
  if (failed(result) || failed(timed("messages", [&] {
        for (int64_t size : sizes)
          if (failed(measure(*analysis, *choice, size)))
            return failure();
        return success();
      })))
    return failure();
  options.json ? printJson(report, os) : printText(report, os);
  return success();
}

LogicalResult caat::checkModel(StringRef model, const CheckOptions &options, raw_ostream &os) {
  return Checker(model, options).run(os);
}

LogicalResult caat::checkModel(StringRef model, StringRef text, raw_ostream &os) {
  std::unique_ptr<CheckOptions> options = CheckOptions::createFromString(text);
  return options ? checkModel(model, *options, os) : failure();
}
