// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StreamReads.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace caat;
using namespace mlir;

bool caat::leavesReplicated(OpOperand &use) {
  if (auto ret = dyn_cast<func::ReturnOp>(use.getOwner()))
    return !ret->getParentOfType<func::FuncOp>().getResultAttr(use.getOperandNumber(), tp::kShardAttrName);
  return use.getOwner()->getNumRegions() > 0 || use.getOwner()->hasTrait<OpTrait::IsTerminator>();
}

/// Follows what is computed from a read of the stream, up to the sync points behind it.
static bool readMustBeReplicated(tp::ReadStreamOp read) {
  bool reachesSite = false;
  SmallVector<Operation *> worklist = {read};
  llvm::SmallPtrSet<Operation *, 32> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (!seen.insert(op).second)
      continue;
    for (OpOperand &use : op->getUses()) {
      Operation *user = use.getOwner();
      if (isa<tp::SyncPointOp>(user)) {
        reachesSite = true;
      } else if (leavesReplicated(use)) {
        return true;
      } else {
        worklist.push_back(user);
      }
    }
  }
  return !reachesSite;
}

bool caat::mustBeReplicated(tp::SyncPointOp site) {
  for (Value result : {Value(site.getNewBase()), Value(site.getNewPending())})
    for (Operation *user : result.getUsers()) {
      if (isa<tp::SyncPointOp>(user))
        continue;
      auto read = dyn_cast<tp::ReadStreamOp>(user);
      if (!read || readMustBeReplicated(read)) // a result that is used as it is must be complete
        return true;
    }
  return false;
}
