// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/ScopedHashTable.h"

namespace caat {
#define GEN_PASS_DEF_RTMERGEEQUALOPSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;

namespace {

/// An operation with the hash of all that makes its results: its operands, attributes, and what its regions use from
/// outside of them.
struct Computation {
  Operation *op = nullptr;
  unsigned hash = 0;

  explicit Computation(Operation *op)
      : op(op), hash(OperationEquivalence::computeHash(op, OperationEquivalence::directHashValue,
                                                       OperationEquivalence::ignoreHashValue,
                                                       OperationEquivalence::IgnoreLocations)) {
    SetVector<Value> captured;
    getUsedValuesDefinedAbove(op->getRegions(), captured);
    for (Value value : captured)
      hash = llvm::hash_combine(hash, value);
  }
  Computation(Operation *op, unsigned hash) : op(op), hash(hash) {}
};

struct ComputationInfo {
  using Pointers = DenseMapInfo<Operation *>;
  static Computation getEmptyKey() { return {Pointers::getEmptyKey(), 0}; }
  static Computation getTombstoneKey() { return {Pointers::getTombstoneKey(), 0}; }
  static unsigned getHashValue(const Computation &x) { return x.hash; }
  static bool isEqual(const Computation &x, const Computation &y) {
    if (x.op == y.op)
      return true;
    auto isSpecial = [](Operation *op) { return op == Pointers::getEmptyKey() || op == Pointers::getTombstoneKey(); };
    return x.hash == y.hash && !isSpecial(x.op) && !isSpecial(y.op) &&
           OperationEquivalence::isEquivalentTo(x.op, y.op, OperationEquivalence::IgnoreLocations);
  }
};

using Computations = llvm::ScopedHashTable<Computation, Operation *, ComputationInfo>;

/// Merges the operations of `region`, whose blocks do not see each other's, with equal ones before them.
void mergeEqual(Region &region, Computations &known) {
  for (Block &block : region) {
    Computations::ScopeTy scope(known);
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (isOpTriviallyDead(&op)) {
        op.erase();
        continue;
      }
      if (!op.hasTrait<OpTrait::IsIsolatedFromAbove>())
        for (Region &inner : op.getRegions())
          mergeEqual(inner, known);
      if (op.hasTrait<OpTrait::IsTerminator>() || op.getNumRegions() > 1 || !isMemoryEffectFree(&op))
        continue;
      Computation computation(&op);
      if (Operation *before = known.lookup(computation)) {
        op.replaceAllUsesWith(before);
        op.erase();
      } else {
        known.insert(computation, &op);
      }
    }
  }
}

struct MergeEqualOpsPass : caat::impl::RTMergeEqualOpsPassBase<MergeEqualOpsPass> {
  void runOnOperation() override {
    Computations known;
    mergeEqual(getOperation().getBody(), known);
  }
};
} // namespace
