// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/Host/HostOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat::lower {

LogicalResult lower(RuntimeCalls &calls, rt::LaunchOp op) {
  calls.clearLists();
  for (Value buffer : op.getBuffers())
    calls.addBuffer(calls.fromMemRef(buffer).pointer);
  for (Value dim : op.getDims())
    calls.addNumber(calls.toI64(dim));
  const ArgumentList &buffers = calls.getBuffers(), &dims = calls.getNumbers();
  bool sums = !op.getSums().empty();
  SmallVector<Value> arguments;
  if (sums)
    arguments.push_back(calls.constant(op.getSums().size()));
  arguments.push_back(calls.kernel(op.getKernel()));
  if (sums)
    arguments.push_back(calls.kernel(*op.getSumming()));
  arguments.append({calls.toI64(op.getGrid()), buffers.getAddress(), calls.constant(buffers.getSize()),
                    dims.getAddress(), calls.constant(dims.getSize())});
  calls.call(sums ? CAAT_API_launch_behind_sums : CAAT_API_launch, arguments);
  return success();
}

/// By which the runtime knows a message.
static Value numberOf(RuntimeCalls &calls, StringAttr message) {
  const auto &messages = calls.getProgram().messages;
  return calls.constant(llvm::find(messages, message) - messages.begin());
}

LogicalResult lower(RuntimeCalls &calls, rt::CheckOp op) {
  Value condition = arith::ExtUIOp::create(calls.getBuilder(), calls.getLoc(), calls.getI64Type(), op.getCondition());
  calls.call(CAAT_API_check, {condition, numberOf(calls, op.getMessageAttr())});
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::CheckLaterOp op) {
  Value condition = calls.fromMemRef(op.getCondition()).pointer;
  calls.call(CAAT_API_check_later, {condition, numberOf(calls, op.getMessageAttr())});
  return success();
}

LogicalResult lowerHostOp(RuntimeCalls &calls, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<rt::DimOp, rt::BufferOp, rt::ParameterOp, rt::WorkspaceOp, rt::CopyOp, memref::LoadOp, memref::StoreOp,
            rt::LinearOp, rt::MatmulOp, rt::AttentionOp, tp::RankOp, rt::AllReduceStartOp, rt::AllReduceWaitOp,
            tp::CollectiveOpInterface, rt::SyncPointOp, tp::RingShardOp, rt::PartRowsOp, rt::UnreadTokensOp,
            rt::RotateStartOp, rt::RotateWaitOp, rt::RotateOp, rt::LaunchOp, rt::CheckOp, rt::CheckLaterOp>(
          [&](auto known) { return lower(calls, known); })
      .Default([](Operation *other) { return other->emitOpError("cannot be lowered to a call of the runtime"); });
}

} // namespace caat::lower
