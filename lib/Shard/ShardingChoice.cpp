// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The classes and which of them to split. What is compared is bytes: of the weights that a rank need not hold and read,
// and of what it sends for each token (TokenCost.h). Classes that send least for what they save come first.
#include "caat/Shard/ShardingChoice.h"
#include "ClassWeigher.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace caat::shard {

int64_t bytesPerToken(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.getElementType().isIntOrFloat())
    return 0;
  int64_t count = 1;
  for (int64_t size : tensor.getShape())
    count *= ShapedType::isDynamic(size) ? 1 : size;
  return count * std::max<int64_t>(1, tensor.getElementTypeBitWidth() / 8);
}

ShardingChoice::ShardingChoice(ShardingAnalysis &analysis, const ChoiceOptions &options)
    : analysis(analysis), split(analysis.getSpace(), options.size) {
  findClasses();
  findRivals();
  weigh();
  rank();
  choose(options);
}

/// All layouts that matter for a choice: those of values and those that ops want of weights.
static void forEachLayout(ShardingAnalysis &analysis, function_ref<void(const ValueLayout &)> visit) {
  for (BlockArgument argument : analysis.getFunction().getArguments())
    visit(analysis.getLayout(argument));
  for (Operation *op : analysis.getOps()) {
    for (Value result : op->getResults())
      visit(analysis.getLayout(result));
    for (OpOperand &operand : op->getOpOperands())
      if (analysis.isWeight(operand.get()))
        visit(analysis.getLayout(operand));
  }
}

/// Atoms of one dimension are split together: a slice is then a slice of each segment.
void ShardingChoice::findClasses() {
  unsigned count = analysis.getSpace().getNumAtoms();
  llvm::IntEqClasses equal(count);
  llvm::SmallBitVector used(count);
  forEachLayout(analysis, [&](const ValueLayout &layout) {
    for (const DimLayout &terms : layout)
      for (const Term &term : terms) {
        equal.join(term.atom, terms.front().atom);
        used.set(term.atom);
      }
  });
  equal.compress();
  classOf.assign(count, -1);
  SmallVector<int> number(equal.getNumClasses(), -1);
  for (unsigned atom : used.set_bits()) {
    int &index = number[equal[atom]];
    if (index < 0) {
      index = classes.size();
      classes.emplace_back();
    }
    classOf[atom] = index;
    DimClass &cls = classes[index];
    cls.atoms.push_back(atom);
    const DimSpace::Info &info = analysis.getSpace().getInfo(atom);
    cls.heads |= info.heads;
  }
}

const DimClass *ShardingChoice::getClass(ArrayRef<Term> layout) {
  for (const Term &term : analysis.getSpace().resolve(layout))
    if (classOf[term.atom] >= 0)
      return &classes[classOf[term.atom]];
  return nullptr;
}

std::optional<std::string> whyWhole(ShardingAnalysis &analysis, const Split &split, Operation *op) {
  const OpFactors &factors = analysis.getFactors(op);
  if (!factors.rule)
    return factors.replicated;
  for (const Need &need : factors.needs)
    if (split.isSplit(analysis.getSpace().resolve(need.layout)))
      return "needs a dimension that " + need.reason;
  return std::nullopt;
}

void ShardingChoice::weigh() {
  auto classAt = [&](ArrayRef<Term> layout) { return const_cast<DimClass *>(getClass(layout)); };
  ClassWeigher weigher(analysis, classAt);
  for (Operation *op : analysis.getOps())
    weigher.visit(op);
  largestTable = weigher.largestTable;
  allWeights = weigher.allWeights;
}

/// A value can be split in one dimension only, and one that is a sum over the ranks in none: classes that meet in a
/// value exclude each other.
void ShardingChoice::findRivals() {
  SmallVector<int> met;
  auto meet = [&](const ValueLayout &layout, ArrayRef<Contraction> sums = {}) {
    met.clear();
    auto add = [&](ArrayRef<Term> terms) {
      if (!terms.empty() && classOf[terms.front().atom] >= 0)
        met.push_back(classOf[terms.front().atom]);
    };
    for (const Contraction &sum : sums)
      add(analysis.getSpace().resolve(sum.layout));
    size_t numSums = met.size();
    llvm::for_each(layout, add);
    for (size_t i = 0; i < met.size(); ++i)
      for (size_t j = std::max(i + 1, numSums); j < met.size(); ++j) {
        classes[met[i]].rivals.push_back(met[j]);
        classes[met[j]].rivals.push_back(met[i]);
      }
  };
  forEachLayout(analysis, [&](const ValueLayout &layout) { meet(layout); });
  for (Operation *op : analysis.getOps())
    if (ArrayRef<Contraction> sums = analysis.getFactors(op).contractions; !sums.empty())
      meet(analysis.getLayout(op->getResult(0)), sums);
  for (DimClass &cls : classes) {
    llvm::sort(cls.rivals);
    cls.rivals.erase(llvm::unique(cls.rivals), cls.rivals.end());
  }
}

/// True if the candidate may be split: no rival is, or those that are gain far less than it does, and give way. They
/// send less for what they save, or they would not have been chosen first.
bool ShardingChoice::displacesRivals(DimClass &candidate) {
  int64_t lost = 0;
  for (int rival : candidate.rivals) {
    if (&classes[rival] == &candidate)
      return false;
    if (classes[rival].chosen)
      lost += classes[rival].gain();
  }
  constexpr int64_t outweighs = 4;
  if (lost != 0 && candidate.gain() <= outweighs * lost)
    return false;
  for (int rival : candidate.rivals)
    if (classes[rival].chosen) {
      classes[rival].chosen = false;
      classes[rival].rejected = "would split a value twice, and gains less";
    }
  return true;
}

bool ShardingChoice::dividesEvenly(const DimClass &candidate, const Split &trial) const {
  return llvm::all_of(candidate.atoms, [&](Atom atom) {
    const DimSpace::Info &info = analysis.getSpace().getInfo(atom);
    int64_t copies = trial.copies(atom);
    return copies > 1 ? info.group % copies == 0 : info.units % trial.getSize() == 0;
  });
}

std::string ShardingChoice::findObstacle(const DimClass &candidate, const ChoiceOptions &options) {
  if (!candidate.hasWeights())
    return "splits no weight";
  if (!candidate.stuck.empty())
    return candidate.stuck;
  DimSpace &space = analysis.getSpace();
  for (Atom atom : candidate.atoms) {
    const DimSpace::Info &info = space.getInfo(atom);
    if (info.units < options.size && !info.heads)
      return llvm::formatv("has {0} parts for {1} ranks", info.units, options.size).str();
    if (!info.unpaddable.empty() && info.units % options.size != 0)
      return llvm::formatv("{0}, so its {1} parts cannot be padded for {2} ranks", info.unpaddable, info.units,
                           options.size)
          .str();
  }
  if (candidate.lookupOnly && candidate.weightBytes < options.lookupShare * largestTable)
    return "is a table too small to be worth an all-reduce";
  double share = 1 - 1.0 / options.size;
  std::string why = candidate.needed.empty() ? "" : ": it " + candidate.needed;
  if (candidate.gain() <= 0)
    return llvm::formatv("saves {0} bytes of weights but sends {1} per token{2}",
                         int64_t(share * candidate.weightBytes), int64_t(share * candidate.sentBytes()), why)
        .str();
  if (candidate.gatheredBytes && candidate.weightBytes < options.gatherShare * allWeights)
    return "saves too few bytes of weights to be worth a gather" + why;
  return {};
}

void ShardingChoice::rank() {
  std::vector<std::tuple<double, int64_t, unsigned>> keys;
  for (auto [index, cls] : llvm::enumerate(classes)) {
    double sent = cls.hasWeights() ? double(cls.sentBytes()) / cls.weightBytes : std::numeric_limits<double>::max();
    keys.emplace_back(sent, -cls.weightBytes, index);
  }
  llvm::sort(keys);
  order = llvm::map_to_vector(keys, [](const auto &key) { return std::get<2>(key); });
}

void ShardingChoice::choose(const ChoiceOptions &options) {
  split = Split(analysis.getSpace(), options.size);
  for (DimClass &cls : classes)
    cls.chosen = false;
  for (unsigned index : order) {
    DimClass &cls = classes[index];
    if (cls.hasWeights() && cls.gain() > 0 && cls.gatheredBytes == 0)
      for (Atom atom : cls.atoms)
        largestSize = std::max(largestSize, analysis.getSpace().getInfo(atom).units);
    cls.rejected = findObstacle(cls, options);
    if (cls.rejected.empty() && !displacesRivals(cls))
      cls.rejected = "would split a value twice";
    cls.chosen = cls.rejected.empty();
  }
  for (const DimClass &cls : classes)
    if (cls.chosen)
      for (Atom atom : cls.atoms)
        split.choose(Term{atom});
}

SmallVector<int64_t> ShardingChoice::getUnpaddedSizes(int64_t limit) const {
  SmallVector<int64_t> sizes;
  for (int64_t ranks = 1; ranks <= limit; ++ranks) {
    Split trial(analysis.getSpace(), ranks);
    if (llvm::all_of(classes, [&](const DimClass &cls) { return !cls.chosen || dividesEvenly(cls, trial); }))
      sizes.push_back(ranks);
  }
  return sizes;
}

} // namespace caat::shard
