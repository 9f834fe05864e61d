// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Before partitioning: which dimensions are split together and why, and what follows for every op. After it: the
// collectives. Lines that differ only by numbers in names, as those of equal layers do, are printed once with a count.
#include "Annotations.h"
#include "caat/Shard/LocalSizes.h"
#include "caat/Shard/Passes.h"
#include "caat/Support/SafeStream.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace caat {
#define GEN_PASS_DEF_TPREPORTSHARDING
#include "caat/Shard/Passes.h.inc"

using namespace shard;

static std::string nameOf(Operation *op) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  return "";
}

/// Numbers of `name` as '*'.
static std::string withoutNumbers(StringRef name) {
  std::string text;
  while (!name.empty()) {
    StringRef word = name.take_until(llvm::isDigit);
    text += word;
    name = name.drop_front(word.size());
    if (name.empty())
      break;
    name = name.drop_while(llvm::isDigit);
    text += '*';
  }
  return text;
}

static std::string bytesText(int64_t bytes) { return llvm::formatv("{0} B", bytes); }

namespace {

/// Rows of cells; those whose key is equal are one row with a count.
class Table {
public:
  explicit Table(std::vector<std::string> header) { rows.push_back({std::move(header), 0}); }

  /// Counts a row; the cells of the first one with this key are printed.
  void add(StringRef key, std::vector<std::string> cells) {
    auto [it, isNew] = known.try_emplace(key, rows.size());
    if (isNew)
      rows.push_back({std::move(cells), 0});
    ++rows[it->second].count;
  }

  void print(raw_ostream &os) const {
    SmallVector<size_t> widths(rows.front().cells.size());
    for (const Row &row : rows)
      for (auto [width, cell] : llvm::zip(widths, row.cells))
        width = std::max(width, cell.size());
    for (const Row &row : rows) {
      std::string count = row.count == 0 ? "count" : std::to_string(row.count);
      std::string line = llvm::formatv("{0,5}", count);
      for (auto [width, cell] : llvm::zip(widths, row.cells))
        line += "  " + cell + std::string(width - cell.size(), ' ');
      os << StringRef(line).rtrim() << "\n";
    }
  }

private:
  struct Row {
    std::vector<std::string> cells;
    int64_t count;
  };
  std::vector<Row> rows;
  llvm::StringMap<size_t> known;
};

class OpReport {
public:
  OpReport(ShardingAnalysis &analysis, const Split &split)
      : analysis(analysis), split(split), choice(analysis, {split.getSize()}) {
    findCauses();
    nameClasses();
  }

  void print(raw_ostream &os);

private:
  struct Cause {
    Operation *attention = nullptr;
    std::string weight; // the first that the class splits
    int64_t weights = 0;
  };
  void findCauses();
  void nameClasses();
  bool isSplit(const DimClass &cls) const {
    return llvm::any_of(cls.atoms, [&](Atom atom) { return split.isSplit(Term{atom}); });
  }
  std::string describeCause(const DimClass &cls) const;
  std::string describeLayout(const ValueLayout &layout);
  std::string describeDims(Operation *op);
  std::string describeReason(Operation *op);

  ShardingAnalysis &analysis;
  const Split &split;
  ShardingChoice choice;
  llvm::DenseMap<const DimClass *, Cause> causes;
  llvm::DenseMap<const DimClass *, std::string> names;
};

} // namespace

/// The initializer that a weight expression is made of, or what it is called.
static std::string weightName(Value value) {
  Operation *op = value.getDefiningOp();
  while (op && op->getNumOperands() && !isa<onnx::GetInitializerOp>(op))
    op = op->getOperand(0).getDefiningOp();
  if (auto get = dyn_cast_or_null<onnx::GetInitializerOp>(op))
    return get.getName().str();
  return op ? nameOf(op) : "";
}

void OpReport::findCauses() {
  for (Operation *op : analysis.getOps())
    for (OpOperand &operand : op->getOpOperands())
      for (const DimLayout &terms : analysis.getLayout(operand)) {
        const DimClass *cls = choice.getClass(terms);
        if (!cls)
          continue;
        Cause &cause = causes[cls];
        if (isa<onnx::AttentionOp>(op) && !cause.attention && cls->heads)
          cause.attention = op;
        if (!analysis.isWeight(operand.get()))
          continue;
        if (cause.weights++ == 0)
          cause.weight = weightName(operand.get());
      }
}

/// heads, columns, columns.1, …, those that are split first: classes of the same size and use, as those of equal layers
/// are, share a name.
void OpReport::nameClasses() {
  llvm::StringMap<std::string> known;
  llvm::StringMap<int64_t> counts;
  for (bool whole : {false, true})
    for (const DimClass &cls : choice.getClasses()) {
      if (isSplit(cls) == whole || (whole && !cls.hasWeights()))
        continue;
      StringRef kind = cls.heads ? "heads" : cls.lookupOnly ? "vocabulary" : "columns";
      int64_t units = analysis.getSpace().getInfo(cls.atoms.front()).units;
      std::string &name = known[llvm::formatv("{0} {1} {2} {3} {4} {5}", whole, kind, units, cls.weightBytes,
                                              cls.reducedBytes, causes[&cls].weights)
                                    .str()];
      if (name.empty()) {
        int64_t number = counts[kind]++;
        name = number == 0 ? kind.str() : llvm::formatv("{0}.{1}", kind, number).str();
      }
      names[&cls] = name;
    }
}

std::string OpReport::describeCause(const DimClass &cls) const {
  const Cause &cause = causes.lookup(&cls);
  std::string text;
  if (cause.attention)
    text = "heads of '" + nameOf(cause.attention) + "'";
  if (cause.weights) {
    text += text.empty() ? "" : ", ";
    text += cause.weights == 1 ? "weight '" + cause.weight + "'"
                               : llvm::formatv("{0} weights, first '{1}'", cause.weights, cause.weight).str();
  }
  return text;
}

/// "1:heads": the dimension that is split and the class that splits it.
std::string OpReport::describeLayout(const ValueLayout &layout) {
  int64_t dim = split.splitDim(layout);
  if (dim < 0)
    return "-";
  const DimClass *cls = choice.getClass(layout[dim]);
  return llvm::formatv("{0}:{1}", dim, cls ? names.lookup(cls) : "");
}

std::string OpReport::describeDims(Operation *op) {
  SmallVector<std::string> operands, results;
  for (OpOperand &operand : op->getOpOperands())
    operands.push_back(describeLayout(analysis.getLayout(operand)));
  for (OpResult result : op->getResults())
    results.push_back(describeLayout(analysis.getLayout(result)));
  return llvm::join(operands, ", ") + " -> " + llvm::join(results, ", ");
}

/// Why the op is sharded so, and what it sends.
std::string OpReport::describeReason(Operation *op) {
  const OpFactors &factors = analysis.getFactors(op);
  DimSpace &space = analysis.getSpace();
  if (std::optional<std::string> why = whyWhole(analysis, split, op)) {
    int64_t bytes = 0;
    for (Value operand : op->getOperands())
      if (!analysis.isWeight(operand) && split.splitDim(analysis.getLayout(operand)) >= 0)
        bytes += bytesPerToken(operand.getType());
    return "whole on every rank: " + *why + (bytes ? ", all_gather " + bytesText(bytes) : "");
  }
  for (const Contraction &contraction : factors.contractions)
    if (DimLayout terms = space.resolve(contraction.layout); split.isSplit(terms)) {
      const DimClass *cls = choice.getClass(terms);
      return llvm::formatv("{0} over {1}: all_reduce {2}", contraction.lookup ? "finds rows" : "sums",
                           cls ? names.lookup(cls) : "its dimension",
                           bytesText(bytesPerToken(op->getResult(0).getType())));
    }
  bool splitResult =
      llvm::any_of(op->getResults(), [&](Value result) { return split.splitDim(analysis.getLayout(result)) >= 0; });
  for (auto [index, operand] : llvm::enumerate(op->getOpOperands()))
    if (splitResult && !analysis.isWeight(operand.get()) && split.splitDim(analysis.getLayout(operand)) >= 0)
      return llvm::formatv("follows operand {0}", index);
  if (splitResult) {
    for (OpOperand &operand : op->getOpOperands())
      if (analysis.isWeight(operand.get()) && split.splitDim(analysis.getLayout(operand)) >= 0)
        return "its weight is split: '" + withoutNumbers(weightName(operand.get())) + "'";
    return "takes a slice of whole operands";
  }
  // Name the refusal that a result's dimension has met.
  for (Value result : op->getResults())
    for (const DimLayout &terms : analysis.getLayout(result))
      for (const Term &term : terms)
        if (const std::string &reason = space.getInfo(term.atom).refused; !reason.empty())
          return "whole on every rank: a dimension " + reason;
  return "whole on every rank";
}

void OpReport::print(raw_ostream &os) {
  DimSpace &space = analysis.getSpace();
  Table groups({"split", "parts", "a rank", "weights", "reduced/token", "cause"});
  Table wholes({"kept whole", "parts", "weights", "why", "where"});
  for (const DimClass &cls : choice.getClasses()) {
    std::string name = names.lookup(&cls);
    Atom atom = cls.atoms.front();
    int64_t units = space.getInfo(atom).units;
    if (name.empty())
      continue;
    if (!isSplit(cls)) {
      wholes.add(name, {name, std::to_string(units), bytesText(cls.weightBytes),
                        cls.rejected.empty() ? "not asked for" : cls.rejected, describeCause(cls)});
      continue;
    }
    std::string share = std::to_string(split.unitsPerRank(atom));
    if (std::string padding = split.describePadding(atom); !padding.empty())
      share += split.copies(atom) > 1 ? " (repeated)" : " (padded)";
    groups.add(name, {name, std::to_string(units), share, bytesText(cls.weightBytes), bytesText(cls.reducedBytes),
                      describeCause(cls)});
  }
  os << "dimensions that are split together\n";
  groups.print(os);
  os << "\ndimensions of weights that are not split\n";
  wholes.print(os);

  Table ops({"op", "operands -> results", "why", "node"});
  int64_t scalars = 0;
  for (Operation *op : analysis.getOps()) {
    if (op->getNumResults() == 0)
      continue;
    if (!isa<onnx::ONNXDialect>(op->getDialect())) {
      ++scalars; // index arithmetic on sizes
      continue;
    }
    std::string dims = describeDims(op), why = describeReason(op), node = nameOf(op);
    StringRef name = op->getName().getStringRef();
    ops.add(llvm::join(ArrayRef<std::string>{name.str(), dims, why, withoutNumbers(node)}, "\n"),
            {name.str(), dims, why, node});
  }
  os << "\nops\n";
  ops.print(os);
  if (scalars)
    os << llvm::formatv("{0,5}  operations on sizes, equal on all ranks\n", scalars);
}

static void printCollectives(func::FuncOp function, const LocalSizes::Dims &dims, raw_ostream &os) {
  LocalSizes sizes(function);
  Table table({"collective", "site", "bytes/token", "bytes", "node"});
  int64_t total = 0, given = 0;
  function.walk([&](tp::CollectiveOpInterface op) {
    // An all-reduce sums its operand; of an all-gather the whole counts.
    int64_t token = sizes.getBytes(op->getResult(0), {}), bytes = sizes.getBytes(op->getResult(0), dims);
    total += token;
    given += bytes;
    std::string kind = op->getName().stripDialect().str(), site = op.getSiteName().str();
    table.add(
        llvm::join(ArrayRef<std::string>{kind, withoutNumbers(site), std::to_string(token), std::to_string(bytes)},
                   "\n"),
        {kind, site, std::to_string(token), std::to_string(bytes), nameOf(op)});
  });
  table.print(os);
  os << llvm::formatv("total: {0} bytes per token", total);
  if (!dims.empty())
    os << llvm::formatv(", {0} bytes for the given dimensions", given);
  os << "; a ring sends 2(r-1)/r of what is reduced, (r-1)/r of what is gathered\n";
}

namespace {
struct TPReportSharding : impl::TPReportShardingBase<TPReportSharding> {
  using TPReportShardingBase::TPReportShardingBase;

  LogicalResult printOps(func::FuncOp function, int64_t size, raw_ostream &os) {
    ShardingRules rules;
    ShardingAnalysis analysis(function, rules);
    FailureOr<Split> split = readAnnotations(analysis, size);
    if (failed(split))
      return failure();
    OpReport(analysis, *split).print(os);
    return success();
  }

  void runOnOperation() override {
    LocalSizes::Dims sizes;
    for (StringRef text : dims)
      if (!parseDimValue(text, sizes)) {
        getOperation().emitError("tp-report-sharding: dim=") << text << ": expected NAME=VALUE with a number";
        return signalPassFailure();
      }
    auto mesh = getOperation().lookupSymbol<tp::MeshOp>(meshName);
    int64_t size = mesh ? mesh.getAxisSize(axisName).value_or(1) : 1;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      bool partitioned =
          function.walk([](tp::CollectiveOpInterface) { return WalkResult::interrupt(); }).wasInterrupted();
      safeErrs() << (partitioned ? "collectives" : "sharding") << " of @" << function.getName() << " over " << size
                 << " ranks\n";
      if (partitioned)
        printCollectives(function, sizes, safeErrs());
      else if (failed(printOps(function, size, safeErrs())))
        return signalPassFailure();
      safeErrs() << "\n";
    }
    markAllAnalysesPreserved();
  }
};
} // namespace
} // namespace caat
