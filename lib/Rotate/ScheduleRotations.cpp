// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Transfers go one after the other, in the order in which their shards are needed; the link should never wait for a
// product, nor a product for more than the link's speed demands. So a transfer is started as early as that order and
// the buffer that receives it allow, which may be long before its group begins.
#include "caat/Rotate/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/MapVector.h"

namespace caat {
#define GEN_PASS_DEF_RTSCHEDULEROTATIONS
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

class Scheduler {
public:
  Scheduler(func::FuncOp func, bool inPlace) : func(func), inPlace(inPlace) {}

  LogicalResult run() {
    func.walk([&](tp::RotateOp rotate) { rotations.push_back(rotate); });
    if (rotations.empty())
      return success();
    Block *block = rotations.front()->getBlock();
    for (tp::RotateOp rotate : rotations)
      if (rotate->getBlock() != block)
        return rotate.emitError("is in another block than the rotation before");
    if (failed(checkReads()))
      return failure();
    assignSpares();
    for (tp::RotateOp rotate : rotations)
      place(rotate, *block);
    return success();
  }

private:
  StringAttr groupOf(FlatSymbolRefAttr weight, Operation *op) {
    auto declared = symbols.lookupNearestSymbolFrom<rt::WeightOp>(op, weight);
    return declared ? declared.getGroupAttr() : StringAttr();
  }

  /// What a step reads of a group must come before the next step's shards are there.
  LogicalResult checkReads() {
    DenseMap<std::pair<Attribute, Value>, Operation *> ends; // of the step with this shard; of the first one with none
    DenseMap<Attribute, Value> current;
    for (tp::RotateOp rotate : rotations) {
      Value &shard = current[rotate.getGroupAttr()];
      ends[{rotate.getGroupAttr(), shard}] = rotate;
      shard = rotate.getShard();
    }
    auto check = [&](Operation *reader, Attribute group, Value shard) -> LogicalResult {
      Operation *end = ends.lookup({group, shard.getDefiningOp<tp::RotateOp>() ? shard : Value()});
      Operation *ancestor = end ? end->getBlock()->findAncestorOpInBlock(*reader) : nullptr;
      if (!end || (ancestor && ancestor->isBeforeInBlock(end)))
        return success();
      InFlightDiagnostic diagnostic = reader->emitOpError("reads shards of group ") << group << " that have gone on";
      diagnostic.attachNote(end->getLoc()) << "the next ones come here";
      return diagnostic;
    };
    WalkResult result = func.walk([&](Operation *op) {
      if (auto linear = dyn_cast<rt::LinearOp>(op); linear && linear.getShard())
        return WalkResult(check(op, groupOf(linear.getWeightAttr(), op), linear.getShard()));
      auto parameter = dyn_cast<rt::ParameterOp>(op);
      if (!parameter || !parameter.getShard())
        return WalkResult::advance();
      // Also through views of the array.
      StringAttr group = groupOf(parameter.getWeightAttr(), op);
      SmallVector<Operation *> readers(op->getUsers());
      while (!readers.empty()) {
        Operation *reader = readers.pop_back_val();
        if (failed(check(reader, group, parameter.getShard())))
          return WalkResult::interrupt();
        if (llvm::any_of(reader->getResultTypes(), llvm::IsaPred<MemRefType>))
          llvm::append_range(readers, reader->getUsers());
      }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  /// Groups of one size receive into one buffer.
  void assignSpares() {
    DenseMap<Attribute, int64_t> bytes;
    for (auto weight : func->getParentOfType<ModuleOp>().getOps<rt::WeightOp>())
      if (StringAttr group = weight.getGroupAttr())
        bytes[group] += onnx::storageBytes(weight.getTensorType()).value_or(0);
    llvm::SmallMapVector<int64_t, int64_t, 4> spares;
    for (tp::RotateOp rotate : rotations) {
      auto known = spares.insert({bytes.lookup(rotate.getGroupAttr()), static_cast<int64_t>(spares.size())});
      spareOf[rotate.getGroupAttr()] = known.first->second;
    }
    lastWait.assign(spares.size(), nullptr);
  }

  void place(tp::RotateOp rotate, Block &block) {
    Location loc = rotate.getLoc();
    StringAttr group = rotate.getGroupAttr();
    OpBuilder b(rotate);
    if (inPlace) {
      rt::RotateOp::create(b, loc, group);
    } else {
      // After the transfer before, and after the last one into this buffer has ended: the shards that it replaced,
      // which the buffer holds now, have been read.
      int64_t spare = spareOf.lookup(group);
      Operation *after = lastWait[spare];
      if (!after || (lastStart && after->isBeforeInBlock(lastStart)))
        after = lastStart;
      if (after)
        b.setInsertionPointAfter(after);
      else
        b.setInsertionPoint(firstWork(block));
      lastStart = rt::RotateStartOp::create(b, loc, group, spare);
      b.setInsertionPoint(rotate);
      lastWait[spare] = rt::RotateWaitOp::create(b, loc, group);
    }
    auto shard = tp::RingShardOp::create(b, loc, b.getIndexType(), rotate.getStepAttr(), rotate.getMeshAttr());
    rotate.getShard().replaceAllUsesWith(shard.getResult());
    rotate.erase();
  }

  /// Sizes and checks come before.
  static Operation *firstWork(Block &block) {
    for (Operation &op : block)
      if (isa<rt::LaunchOp, rt::LinearOp, rt::MatmulOp, rt::AttentionOp, rt::CopyOp, tp::RotateOp>(op) ||
          op.getNumRegions() > 0)
        return &op;
    return block.getTerminator();
  }

  func::FuncOp func;
  bool inPlace;
  SmallVector<tp::RotateOp> rotations; // in the order in which they run
  SymbolTableCollection symbols;
  DenseMap<Attribute, int64_t> spareOf;
  SmallVector<Operation *> lastWait; // by spare
  Operation *lastStart = nullptr;
};

struct ScheduleRotations : caat::impl::RTScheduleRotationsBase<ScheduleRotations> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(Scheduler(getOperation(), inPlace).run()))
      signalPassFailure();
  }
};
} // namespace
