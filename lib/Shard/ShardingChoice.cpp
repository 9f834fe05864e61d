// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/ShardingChoice.h"
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
    if (cls.refused.empty())
      cls.refused = info.refused;
  }
}

const DimClass *ShardingChoice::getClass(ArrayRef<Term> layout) {
  for (const Term &term : analysis.getSpace().resolve(layout))
    if (classOf[term.atom] >= 0)
      return &classes[classOf[term.atom]];
  return nullptr;
}

void ShardingChoice::weigh() {
  auto classOfLayout = [&](const DimLayout &terms) { return const_cast<DimClass *>(getClass(terms)); };
  llvm::SmallPtrSet<DimClass *, 8> products;
  for (Operation *op : analysis.getOps()) {
    const OpFactors &factors = analysis.getFactors(op);
    bool replicated = !factors.rule;
    for (OpOperand &operand : op->getOpOperands()) {
      int64_t bytes = bytesPerToken(operand.get().getType());
      if (analysis.isWeight(operand.get())) {
        for (const DimLayout &terms : analysis.getLayout(operand))
          if (DimClass *cls = classOfLayout(terms))
            cls->weightBytes += bytes;
      } else if (replicated && !isa<func::ReturnOp>(op)) {
        for (const DimLayout &terms : analysis.getLayout(operand.get()))
          if (DimClass *cls = classOfLayout(terms))
            cls->gatheredBytes += bytes;
      }
    }
    for (const Contraction &contraction : factors.contractions)
      if (DimClass *cls = classOfLayout(contraction.layout)) {
        cls->reducedBytes += bytesPerToken(op->getResult(0).getType());
        if (contraction.lookup) {
          cls->lookupOnly |= !products.contains(cls);
          largestTable = std::max(largestTable, contraction.tableBytes);
        } else {
          products.insert(cls);
          cls->lookupOnly = false;
        }
      }
  }
}

/// A value can be split in one dimension only: classes that meet in a value exclude each other.
void ShardingChoice::findRivals() {
  SmallVector<int> met;
  forEachLayout(analysis, [&](const ValueLayout &layout) {
    met.clear();
    for (const DimLayout &terms : layout)
      if (!terms.empty())
        met.push_back(classOf[terms.front().atom]);
    for (auto [i, a] : llvm::enumerate(met))
      for (int b : ArrayRef(met).drop_front(i + 1)) {
        classes[a].rivals.push_back(b);
        classes[b].rivals.push_back(a);
      }
  });
  for (DimClass &cls : classes) {
    llvm::sort(cls.rivals);
    cls.rivals.erase(llvm::unique(cls.rivals), cls.rivals.end());
  }
}

/// True if some value would have two dimensions split over the same ranks.
bool ShardingChoice::conflicts(const DimClass &candidate) const {
  return llvm::any_of(candidate.rivals,
                      [&](int rival) { return classes[rival].chosen || &classes[rival] == &candidate; });
}

bool ShardingChoice::dividesEvenly(const DimClass &candidate, const Split &trial) const {
  return llvm::all_of(candidate.atoms, [&](Atom atom) {
    const DimSpace::Info &info = analysis.getSpace().getInfo(atom);
    int64_t copies = trial.copies(atom);
    return copies > 1 ? info.group % copies == 0 : info.units % trial.getSize() == 0;
  });
}

std::string ShardingChoice::findObstacle(const DimClass &candidate, const ChoiceOptions &options) {
  if (!candidate.refused.empty())
    return candidate.refused;
  if (!candidate.hasWeights())
    return "splits no weight";
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
  double kept = 1.0 / options.size;
  double saved = candidate.weightBytes * (1 - kept);
  if (candidate.lookupOnly) {
    if (candidate.weightBytes < options.lookupShare * largestTable)
      return "is a table too small to be worth an all-reduce";
  } else if (saved <= 2 * (1 - kept) * candidate.reducedBytes + (1 - kept) * candidate.gatheredBytes) {
    return llvm::formatv("saves {0} bytes of weights but sends {1} per token", int64_t(saved),
                         int64_t(2 * (1 - kept) * candidate.reducedBytes + (1 - kept) * candidate.gatheredBytes))
        .str();
  }
  if (conflicts(candidate))
    return "would split a value twice";
  return {};
}

void ShardingChoice::choose(const ChoiceOptions &options) {
  split = Split(analysis.getSpace(), options.size);
  for (DimClass &cls : classes)
    cls.chosen = false;
  SmallVector<unsigned> order = llvm::to_vector(llvm::seq<unsigned>(0, classes.size()));
  auto gain = [&](unsigned index) {
    const DimClass &cls = classes[index];
    return cls.weightBytes - 2 * cls.reducedBytes - cls.gatheredBytes;
  };
  llvm::sort(order, [&](unsigned a, unsigned b) { return std::pair(-gain(a), a) < std::pair(-gain(b), b); });
  for (unsigned index : order) {
    DimClass &cls = classes[index];
    bool splittable = cls.refused.empty() && cls.hasWeights();
    if (splittable)
      for (Atom atom : cls.atoms)
        largestSize = std::max(largestSize, analysis.getSpace().getInfo(atom).units);
    cls.rejected = findObstacle(cls, options);
    cls.chosen = cls.rejected.empty();
    if (cls.chosen)
      for (Atom atom : cls.atoms)
        split.choose(Term{atom});
  }
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
