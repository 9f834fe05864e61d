// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which atoms are split over how many ranks, and what every rank then holds of a dimension.
#ifndef CAAT_SHARD_SHARDINGCHOICE_H
#define CAAT_SHARD_SHARDINGCHOICE_H

#include "caat/Shard/ShardingAnalysis.h"
#include "dialects/tp/TP.h"
#include "llvm/ADT/SmallBitVector.h"

namespace caat::shard {

/// The atoms that are split, over `size` ranks.
class Split {
public:
  Split(DimSpace &space, int64_t size) : space(&space), size(size), chosen(space.getNumAtoms()) {}

  int64_t getSize() const { return size; }
  void choose(llvm::ArrayRef<Term> layout);
  /// Deals the units of an atom out in this order, a permutation, instead of as they are numbered.
  void setOrder(Atom atom, llvm::ArrayRef<int64_t> units) { orders[atom].assign(units.begin(), units.end()); }
  /// True if a rank holds only a part of the dimension.
  bool isSplit(llvm::ArrayRef<Term> layout) const;
  /// The one dimension that is split, or -1.
  int64_t splitDim(const ValueLayout &layout) const;
  bool hasTwoSplitDims(const ValueLayout &layout) const;

  /// Elements of a dimension that each rank holds, with padding.
  int64_t localSize(llvm::ArrayRef<Term> layout) const;
  /// What `rank` holds, segment by segment; a piece that starts at -1 is zeros. The last piece is never padding.
  llvm::SmallVector<tp::Piece> pieces(llvm::ArrayRef<Term> layout, int64_t rank) const;
  /// True if padding stands between elements, not only at the end of a slice.
  bool hasInnerPadding(llvm::ArrayRef<Term> layout) const;
  mlir::RankedTensorType localType(mlir::RankedTensorType type, const ValueLayout &layout) const;
  mlir::ArrayAttr piecesAttr(mlir::MLIRContext *context, llvm::ArrayRef<Term> layout) const;

  /// Units of an atom on each rank.
  int64_t unitsPerRank(Atom atom) const;
  /// How many ranks hold the same unit: above 1 where KV heads are repeated.
  int64_t copies(Atom atom) const;
  /// What is done to units that the ranks do not divide, in words; empty where they do.
  std::string describePadding(Atom atom) const;

private:
  int64_t localWidth(const Term &term) const;

  DimSpace *space;
  int64_t size;
  llvm::SmallBitVector chosen;
  llvm::DenseMap<Atom, llvm::SmallVector<int64_t>> orders; // where they are not dealt out as they are numbered
};

/// Why an op is computed whole on every rank where `split` splits some of its dimensions; nullopt where it follows its
/// rule.
std::optional<std::string> whyWhole(ShardingAnalysis &analysis, const Split &split, mlir::Operation *op);

/// Dimensions that are split together or not at all, with what that saves and costs.
struct DimClass {
  llvm::SmallVector<Atom> atoms;
  bool heads = false;
  bool lookupOnly = false;   // its only use is the rows of a looked up table
  int64_t weightBytes = 0;   // of the weights that it splits, whole
  int64_t reducedBytes = 0;  // of partial sums, per token
  int64_t gatheredBytes = 0; // of slices that an op needs whole, per token
  int64_t returnedBytes = 0; // of results that stay split, per token
  std::string needed;        // why an op needs it whole; empty: none does
  std::string stuck;         // why it can be neither gathered nor sliced where that would have to be; empty: it can
  std::string rejected;      // why it is not split; empty: it is
  bool chosen = false;
  llvm::SmallVector<int> rivals; // classes that split another dimension of some value
  bool hasWeights() const { return weightBytes != 0; }
  /// Bytes that a token moves, as a multiple of what a rank saves: an all-reduce moves its operand twice. A result that
  /// stays split is put together by whoever reads it: less than an all-reduce, more than a slice.
  int64_t sentBytes() const { return 2 * reducedBytes + gatheredBytes + returnedBytes * 3 / 2; }
  int64_t gain() const { return weightBytes - sentBytes(); }
};

struct ChoiceOptions {
  int64_t size = 1;
  bool pad = true;            // false: refuse sizes that need padding
  double lookupShare = 0.25;  // smallest table whose rows are split, as a share of the largest one
  double gatherShare = 0.002; // smallest class that is split although it is gathered, as a share of all weights
};

/// The classes of a function, those worth most first.
class ShardingChoice {
public:
  ShardingChoice(ShardingAnalysis &analysis, const ChoiceOptions &options);
  /// Chooses again, for another size.
  void choose(const ChoiceOptions &options);

  const Split &getSplit() const { return split; }
  llvm::ArrayRef<DimClass> getClasses() const { return classes; }
  /// The class that a dimension belongs to; null for one that is never split.
  const DimClass *getClass(llvm::ArrayRef<Term> layout);
  /// Largest number of ranks that leaves none without work.
  int64_t getLargestSize() const { return largestSize; }
  /// Sizes from 1 to `limit` at which nothing is padded.
  llvm::SmallVector<int64_t> getUnpaddedSizes(int64_t limit) const;

private:
  void findClasses();
  void findRivals();
  void weigh();
  void rank();
  std::string findObstacle(const DimClass &candidate, const ChoiceOptions &options);
  bool displacesRivals(DimClass &candidate);
  bool dividesEvenly(const DimClass &candidate, const Split &trial) const;

  ShardingAnalysis &analysis;
  Split split;
  llvm::SmallVector<DimClass, 0> classes;
  llvm::SmallVector<int> classOf;
  llvm::SmallVector<unsigned> order; // the fewest bytes sent for a byte of weights saved first
  int64_t largestTable = 0, largestSize = 1, allWeights = 0;
};

/// Bytes of a value for one token: dimensions of unknown size count as 1.
int64_t bytesPerToken(mlir::Type type);

} // namespace caat::shard

#endif // CAAT_SHARD_SHARDINGCHOICE_H
