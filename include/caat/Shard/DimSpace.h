// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which dimensions have to be split together, and where they may be cut.
//
// An *atom* is a set of units that are dealt out to the ranks: the KV heads of a layer, the columns of an MLP, the
// words of the vocabulary. A dimension is a list of *terms*, one per segment; a term is every unit of an atom in order,
// each unit `group * scale` elements wide:
//
//   columns of an MLP                [mlp]
//   heads of Q, two per KV head      [kv x 2]
//   output of q_proj, head size 64   [kv x 2 x 64]
//   fused q|k|v                      [kv x 2 x 64, kv x 64, kv x 64]
//
// Ops say which dimensions agree; unification finds the atoms, the coarsest units that fit all uses.
#ifndef CAAT_SHARD_DIMSPACE_H
#define CAAT_SHARD_DIMSPACE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>
#include <vector>

namespace mlir {
class Operation;
} // namespace mlir

namespace caat::shard {

using Atom = unsigned;

/// All units of an atom in order, `group * scale` elements each. `group` counts the query heads of a KV head: where a
/// KV head is repeated on several ranks they share out its group, and terms without a group are repeated whole.
struct Term {
  Atom atom = 0;
  int64_t group = 1;
  int64_t scale = 1;
  int64_t width() const { return group * scale; }
  bool operator==(const Term &other) const = default;
};

/// The segments of a dimension. Empty: never split (size 1, or not known at compile time).
using DimLayout = llvm::SmallVector<Term, 1>;

class DimSpace {
public:
  /// What holds for an atom that no other one stands for.
  struct Info {
    int64_t units = 0;
    bool heads = false;     // KV heads of an attention: more ranks than units can be served
    bool leads = false;     // merged with others, this is the one to follow
    bool repeatable = true; // a unit may be on several ranks (heads with a group only)
    int64_t group = 1;      // query heads per KV head
    std::string refused;    // why some op needs it whole; empty: none does
    mlir::Operation *refusedBy = nullptr;
    std::string unpaddable; // why padding would be wrong; empty: it would not
  };

  /// A dimension about which only its size is known.
  DimLayout fresh(int64_t size);
  /// `layout` in terms of atoms that no other ones stand for.
  DimLayout resolve(llvm::ArrayRef<Term> layout);
  /// Elements of the dimension.
  int64_t getSize(llvm::ArrayRef<Term> layout);
  const Info &getInfo(Atom atom) const { return atoms[atom].info; }
  unsigned getNumAtoms() const { return atoms.size(); }

  /// Each element of `layout` replaced by `factor` consecutive ones.
  DimLayout scaled(llvm::ArrayRef<Term> layout, int64_t factor);
  /// `count` copies one behind the other, split alike.
  DimLayout repeated(llvm::ArrayRef<Term> layout, int64_t count);
  /// The query heads of the KV heads `layout`.
  DimLayout grouped(llvm::ArrayRef<Term> layout, int64_t group);

  /// Makes both the same. False where they cannot be cut alike; what was joined by then stays so.
  bool unify(llvm::ArrayRef<Term> a, llvm::ArrayRef<Term> b);
  /// Notes that some op needs the dimension whole. It can still be split, and gathered there; merges prefer others.
  void refuse(llvm::ArrayRef<Term> layout, llvm::StringRef reason);
  /// The op that speaks from here on.
  void setSpeaker(mlir::Operation *op) { speaker = op; }
  void forbidPadding(llvm::ArrayRef<Term> layout, llvm::StringRef reason);
  void forbidRepeats(llvm::ArrayRef<Term> layout);
  void markHeads(llvm::ArrayRef<Term> layout, int64_t group);
  void markLeading(llvm::ArrayRef<Term> layout);

  bool isRefused(llvm::ArrayRef<Term> layout);
  bool isHeads(llvm::ArrayRef<Term> layout);
  bool isLeading(llvm::ArrayRef<Term> layout);

private:
  struct State {
    Info info;
    bool bound = false;
    DimLayout binding;
  };
  const DimLayout &resolveBinding(Atom atom);
  bool unifyHeads(Term a, Term b);
  void bind(Atom atom, llvm::ArrayRef<Term> to);
  Term compose(Term outer, Term inner);
  void cut(Atom atom, int64_t units);

  std::vector<State> atoms;
  mlir::Operation *speaker = nullptr;
};

} // namespace caat::shard

#endif // CAAT_SHARD_DIMSPACE_H
