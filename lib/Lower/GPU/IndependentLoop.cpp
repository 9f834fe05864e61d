// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/IndependentLoop.h"
#include "lib/Lower/GPU/Team.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;

namespace caat::lower {

/// The op that combines the value carried at `position` with each iteration's term, where nothing else sees it.
static Operation *combinerOf(scf::ForOp loop, unsigned position) {
  BlockArgument carried = loop.getRegionIterArg(position);
  Value yielded = loop.getYieldedValues()[position];
  Operation *op = yielded.getDefiningOp();
  if (!carried.hasOneUse() || !op || op->getBlock() != loop.getBody() || *carried.user_begin() != op ||
      !yielded.hasOneUse() || !isCombiner(op))
    return nullptr;
  return op;
}

static std::string placesOf(scf::ForOp loop, Value memref, ValueRange indices) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "loop " << loop.getLowerBound().getAsOpaquePointer() << " " << loop.getUpperBound().getAsOpaquePointer() << " "
     << loop.getStep().getAsOpaquePointer() << " " << memref.getAsOpaquePointer();
  for (Value index : indices) {
    if (index == loop.getInductionVar())
      os << " i";
    else if (loop.isDefinedOutsideOfLoop(index))
      os << " " << index.getAsOpaquePointer();
    else
      return "";
  }
  return text;
}

std::optional<IndependentLoop> findIndependentLoop(scf::ForOp loop) {
  IndependentLoop result;
  for (unsigned i = 0; i < loop.getNumRegionIterArgs(); ++i) {
    Operation *combiner = combinerOf(loop, i);
    if (!combiner)
      return std::nullopt;
    result.combiners.push_back(combiner);
  }

  struct Touch {
    Value memref;
    SmallVector<Value> indices;
    bool isWrite;
  };
  SmallVector<Touch> touches;
  WalkResult known = loop.getBody()->walk([&](Operation *op) {
    if (auto load = dyn_cast<memref::LoadOp>(op))
      touches.push_back({load.getMemRef(), SmallVector<Value>(load.getIndices()), false});
    else if (auto store = dyn_cast<memref::StoreOp>(op))
      touches.push_back({store.getMemRef(), SmallVector<Value>(store.getIndices()), true});
    else if (!isMemoryEffectFree(op) && !isa<scf::ForOp, scf::IfOp, scf::YieldOp>(op))
      return WalkResult::interrupt();
    return WalkResult::advance();
  });
  if (known.wasInterrupted())
    return std::nullopt;

  // Each root that is written, the one view it is touched through, and which of its indices is the induction variable.
  llvm::DenseMap<Value, std::pair<Value, unsigned>> written;
  for (Touch &touch : touches)
    if (touch.isWrite) {
      auto *at = llvm::find(touch.indices, loop.getInductionVar());
      if (at == touch.indices.end() || !loop.isDefinedOutsideOfLoop(touch.memref))
        return std::nullopt;
      written.try_emplace(rootOf(touch.memref), touch.memref, at - touch.indices.begin());
    }
  for (Touch &touch : touches) {
    auto it = written.find(rootOf(touch.memref));
    if (it != written.end() &&
        (it->second.first != touch.memref || touch.indices[it->second.second] != loop.getInductionVar()))
      return std::nullopt;
    std::string places =
        loop.isDefinedOutsideOfLoop(touch.memref) ? placesOf(loop, touch.memref, touch.indices) : std::string();
    result.accesses.push_back({touch.memref, touch.isWrite, places});
  }
  return result;
}

} // namespace caat::lower
