// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Rotate/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace caat {
#define GEN_PASS_DEF_RTSCHEDULEROTATIONS
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

struct ScheduleRotations : caat::impl::RTScheduleRotationsBase<ScheduleRotations> {
  using Base::Base;

  /// The group whose weights `op` reads, or null.
  static StringAttr groupOf(Operation *op) {
    FlatSymbolRefAttr name;
    if (auto linear = dyn_cast<rt::LinearOp>(op))
      name = linear.getWeightAttr();
    else if (auto parameter = dyn_cast<rt::ParameterOp>(op))
      name = parameter.getWeightAttr();
    auto weight = name ? SymbolTable::lookupNearestSymbolFrom<rt::WeightOp>(op, name) : rt::WeightOp();
    return weight ? weight.getGroupAttr() : StringAttr();
  }

  void runOnOperation() override {
    func::FuncOp func = getOperation();
    llvm::MapVector<Attribute, SmallVector<tp::RotateOp>> rotations;
    DenseMap<Attribute, Operation *> firstUse;
    func.walk([&](Operation *op) {
      if (auto rotate = dyn_cast<tp::RotateOp>(op))
        rotations[rotate.getGroupAttr()].push_back(rotate);
      else if (StringAttr group = groupOf(op))
        firstUse.try_emplace(group, op);
    });
    for (auto &[group, steps] : rotations) {
      auto name = cast<StringAttr>(group);
      Operation *first = firstUse.lookup(group);
      if (!first || first->getBlock() != steps.front()->getBlock() || !first->isBeforeInBlock(steps.front())) {
        steps.front().emitError("group ") << name << " is rotated before a weight of it is used";
        return signalPassFailure();
      }
      OpBuilder b(first);
      if (!inPlace)
        rt::RotateStartOp::create(b, first->getLoc(), name);
      for (auto [i, rotate] : llvm::enumerate(steps)) {
        Location loc = rotate.getLoc();
        b.setInsertionPoint(rotate);
        if (inPlace) {
          rt::RotateOp::create(b, loc, name);
        } else {
          rt::RotateWaitOp::create(b, loc, name);
          if (i + 1 < steps.size())
            rt::RotateStartOp::create(b, loc, name);
        }
        auto shard = tp::RingShardOp::create(b, loc, b.getIndexType(), rotate.getStepAttr(), rotate.getMeshAttr());
        rotate.getShard().replaceAllUsesWith(shard.getResult());
        rotate.erase();
      }
    }
  }
};
} // namespace
