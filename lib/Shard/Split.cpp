// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every rank holds of a dimension. Units go to ranks in order (setOrder: another one), ceil(units / size) to each;
// the last slices are padded. KV heads that are fewer than the ranks are repeated where the ranks are a multiple of
// them: rank r holds head r / copies, and the (r mod copies)-th part of its query heads.
#include "caat/Shard/ShardingChoice.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace caat::shard {

void Split::choose(ArrayRef<Term> layout) {
  for (const Term &term : space->resolve(layout))
    chosen.set(term.atom);
}

bool Split::isSplit(ArrayRef<Term> layout) const {
  return llvm::any_of(layout, [&](const Term &term) { return chosen.test(term.atom); });
}

int64_t Split::splitDim(const ValueLayout &layout) const {
  for (auto [dim, terms] : llvm::enumerate(layout))
    if (isSplit(terms))
      return dim;
  return -1;
}

bool Split::hasTwoSplitDims(const ValueLayout &layout) const {
  return llvm::count_if(layout, [&](const DimLayout &terms) { return isSplit(terms); }) > 1;
}

int64_t Split::copies(Atom atom) const {
  const DimSpace::Info &info = space->getInfo(atom);
  bool repeats = info.heads && info.repeatable && info.group > 1 && size > info.units && size % info.units == 0;
  return repeats ? size / info.units : 1;
}

int64_t Split::unitsPerRank(Atom atom) const { return llvm::divideCeil(space->getInfo(atom).units, size); }

int64_t Split::localWidth(const Term &term) const {
  int64_t count = copies(term.atom);
  return (count > 1 && term.group > 1 ? llvm::divideCeil(term.group, count) : term.group) * term.scale;
}

int64_t Split::localSize(ArrayRef<Term> layout) const {
  int64_t total = 0;
  for (const Term &term : layout)
    total += chosen.test(term.atom) ? unitsPerRank(term.atom) * localWidth(term)
                                    : space->getInfo(term.atom).units * term.width();
  return total;
}

SmallVector<tp::Piece> Split::pieces(ArrayRef<Term> layout, int64_t rank) const {
  SmallVector<tp::Piece> result;
  auto add = [&](int64_t start, int64_t length) {
    if (length <= 0)
      return;
    bool joins = !result.empty() &&
                 (start < 0 ? result.back().start < 0
                            : result.back().start >= 0 && result.back().start + result.back().length == start);
    if (joins)
      result.back().length += length;
    else
      result.push_back({start, length});
  };
  int64_t offset = 0;
  for (const Term &term : layout) {
    int64_t units = space->getInfo(term.atom).units;
    if (!chosen.test(term.atom)) {
      add(offset, units * term.width());
    } else if (int64_t count = copies(term.atom); count > 1) {
      int64_t share = term.group > 1 ? llvm::divideCeil(term.group, count) : 1;
      int64_t first = term.group > 1 ? std::min(rank % count * share, term.group) : 0;
      int64_t last = std::min(first + share, term.group);
      add(offset + (rank / count * term.group + first) * term.scale, (last - first) * term.scale);
      add(-1, (share - (last - first)) * term.scale);
    } else {
      int64_t share = unitsPerRank(term.atom);
      int64_t first = std::min(rank * share, units), last = std::min(first + share, units);
      if (auto order = orders.find(term.atom); order != orders.end())
        for (int64_t unit : ArrayRef(order->second).slice(first, last - first))
          add(offset + unit * term.width(), term.width());
      else
        add(offset + first * term.width(), (last - first) * term.width());
      add(-1, (share - (last - first)) * term.width());
    }
    offset += units * term.width();
  }
  if (!result.empty() && result.back().start < 0)
    result.pop_back();
  return result;
}

bool Split::hasInnerPadding(ArrayRef<Term> layout) const {
  for (int64_t rank = 0; rank < size; ++rank)
    if (llvm::any_of(pieces(layout, rank), [](const tp::Piece &piece) { return piece.start < 0; }))
      return true;
  return false;
}

RankedTensorType Split::localType(RankedTensorType type, const ValueLayout &layout) const {
  SmallVector<int64_t> shape(type.getShape());
  for (auto [dim, terms] : llvm::enumerate(layout))
    if (isSplit(terms) && !type.isDynamicDim(dim))
      shape[dim] = localSize(terms);
  return type.clone(shape);
}

ArrayAttr Split::piecesAttr(MLIRContext *context, ArrayRef<Term> layout) const {
  SmallVector<SmallVector<tp::Piece>> ranks;
  for (int64_t rank = 0; rank < size; ++rank)
    ranks.push_back(pieces(layout, rank));
  return tp::getPiecesAttr(context, ranks);
}

std::string Split::describePadding(Atom atom) const {
  const DimSpace::Info &info = space->getInfo(atom);
  int64_t copies = this->copies(atom), perRank = unitsPerRank(atom);
  StringRef what = info.heads ? "KV heads" : "parts";
  if (copies > 1) {
    std::string text =
        llvm::formatv("{0} KV heads on {1} ranks: each is repeated on {2} ranks, which share its {3} query heads",
                      info.units, size, copies, info.group);
    if (info.group % copies != 0)
      text += llvm::formatv(", padded to {0}", llvm::divideCeil(info.group, copies) * copies);
    return text;
  }
  if (info.units % size == 0)
    return {};
  std::string text =
      llvm::formatv("{0} {1} on {2} ranks: padded with zeros to {3}", info.units, what, size, perRank * size);
  int64_t busy = llvm::divideCeil(info.units, perRank);
  if (busy < size)
    text += llvm::formatv("; ranks from {0} on hold only padding", busy);
  return text;
}

} // namespace caat::shard
