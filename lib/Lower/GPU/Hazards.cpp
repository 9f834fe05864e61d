// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/Hazards.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;

namespace caat::lower {

Value rootOf(Value memref) {
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  auto argument = dyn_cast<BlockArgument>(memref);
  auto kernel = argument ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp()) : func::FuncOp();
  if (!kernel || kernel.getArgAttr(argument.getArgNumber(), LLVM::LLVMDialect::getNoAliasAttrName()))
    return memref;
  for (BlockArgument other : kernel.getArguments())
    if (isa<MemRefType>(other.getType()) &&
        !kernel.getArgAttr(other.getArgNumber(), LLVM::LLVMDialect::getNoAliasAttrName()))
      return other;
  return memref;
}

/// Whether an access at `places` may touch an element that another thread touched at one of `others`.
static bool differs(const std::set<std::string> &others, const std::string &places) {
  if (others.empty())
    return false;
  return places.empty() || others.size() > 1 || *others.begin() != places;
}

bool Hazards::conflicts(ArrayRef<Access> accesses) const {
  for (const Access &access : accesses) {
    auto it = touched.find(rootOf(access.memref));
    if (it == touched.end())
      continue;
    if (differs(it->second.writes, access.places) || (access.isWrite && differs(it->second.reads, access.places)))
      return true;
  }
  return false;
}

void Hazards::add(ArrayRef<Access> accesses) {
  for (const Access &access : accesses) {
    Touched &root = touched[rootOf(access.memref)];
    (access.isWrite ? root.writes : root.reads).insert(access.places);
  }
}

void Hazards::merge(const Hazards &other) {
  for (const auto &[root, other] : other.touched) {
    touched[root].reads.insert(other.reads.begin(), other.reads.end());
    touched[root].writes.insert(other.writes.begin(), other.writes.end());
  }
}

} // namespace caat::lower
