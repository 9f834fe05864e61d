// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What ranks do together: collectives, sync points whose policy is read at run time, and weights that travel.
#include "lib/Lower/Host/HostOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat::lower {

LogicalResult lower(RuntimeCalls &calls, tp::RankOp op) {
  op.getResult().replaceAllUsesWith(calls.toIndex(calls.call(CAAT_API_rank, {}, calls.getI64Type())));
  return success();
}

static LogicalResult callSum(RuntimeCalls &calls, caat_api_index entry, Operation *op, Value buffer) {
  Pieces pieces = calls.fromMemRef(buffer);
  calls.call(entry, {calls.constant(calls.getProgram().numberOf(op)), pieces.pointer, calls.product(pieces.sizes)});
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::AllReduceStartOp op) {
  return callSum(calls, op.getLeft() ? CAAT_API_all_reduce_leave : CAAT_API_all_reduce_start, op, op.getInput());
}

LogicalResult lower(RuntimeCalls &calls, rt::AllReduceWaitOp op) {
  return callSum(calls, CAAT_API_all_reduce_wait, op, op.getBuffer());
}

/// The local part is [outer, inner], with the split dimension the first of inner.
static void callSplit(RuntimeCalls &calls, caat_api_index entry, Value number, const Pieces &in, const Pieces &out,
                      ArrayRef<Value> local, int64_t dim) {
  calls.call(entry, {number, in.pointer, out.pointer, calls.product(local.take_front(dim)),
                     calls.product(local.drop_front(dim))});
}

LogicalResult lower(RuntimeCalls &calls, tp::CollectiveOpInterface op) {
  if (isa<tp::AllReduceOp>(op))
    return callSum(calls, CAAT_API_all_reduce, op, op.getInput());
  Value number = calls.constant(calls.getProgram().numberOf(op));
  Pieces in = calls.fromMemRef(op.getInput()), out;
  if (!op.worksInPlace())
    out = calls.fromMemRef(op.getDestination());
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tp::QuantizedAllReduceOp reduce) {
        Value rows = calls.product(ArrayRef(in.sizes).drop_back());
        calls.call(CAAT_API_quantized_all_reduce, {number, in.pointer, calls.pointerOrNull(reduce.getError()), rows});
        return success();
      })
      .Case([&](tp::BroadcastOp broadcast) {
        calls.call(CAAT_API_broadcast,
                   {number, in.pointer, calls.product(in.sizes), calls.constant(broadcast.getRoot())});
        return success();
      })
      .Case([&](tp::PermuteOp permute) {
        calls.call(CAAT_API_permute,
                   {number, in.pointer, out.pointer, calls.product(in.sizes), calls.constant(permute.getShift())});
        return success();
      })
      .Case([&](tp::AllToAllOp exchange) {
        Value part = LLVM::UDivOp::create(calls.getBuilder(), calls.getLoc(), calls.product(in.sizes),
                                          calls.constant(op.getGroupSize()));
        calls.call(CAAT_API_all_to_all, {number, in.pointer, out.pointer, part});
        return success();
      })
      .Case([&](tp::AllGatherOp gather) {
        return callSplit(calls, CAAT_API_all_gather, number, in, out, in.sizes, gather.getDim()), success();
      })
      .Case([&](tp::ReduceScatterOp scatter) {
        return callSplit(calls, CAAT_API_reduce_scatter, number, in, out, out.sizes, scatter.getDim()), success();
      })
      .Default([](Operation *other) { return other->emitOpError("has no entry point in the runtime"); });
}

LogicalResult lower(RuntimeCalls &calls, rt::SyncPointOp op) {
  calls.clearLists();
  for (Value destination : op.getDestinations())
    calls.addBuffer(calls.fromMemRef(destination).pointer);
  for (Value optional : {op.getPartial(), op.getBias(), op.getInput()})
    calls.addBuffer(calls.pointerOrNull(optional));
  calls.addNumber(calls.product(ArrayRef(calls.fromMemRef(op.getPartial()).sizes).drop_back()));
  calls.addNumber(op.getInput() ? calls.fromMemRef(op.getInput()).sizes.back() : calls.constant(0));
  for (Value live : op.getLive()) {
    Pieces pieces = calls.fromMemRef(live);
    calls.addBuffer(pieces.pointer);
    pieces.sizes.push_back(calls.constant((cast<MemRefType>(live.getType()).getElementTypeBitWidth() + 7) / 8));
    calls.addNumber(calls.product(pieces.sizes));
  }
  const auto &sites = calls.getProgram().sites;
  calls.call(CAAT_API_sync_point,
             {calls.constant(llvm::find(sites, op) - sites.begin()), calls.getBuffers().getAddress(),
              calls.getNumbers().getAddress(), calls.constant(op.getLive().size())});
  return success();
}

LogicalResult lower(RuntimeCalls &calls, tp::RingShardOp op) {
  Value shard = calls.call(CAAT_API_ring_shard, {calls.constant(op.getStep())}, calls.getI64Type());
  op.getResult().replaceAllUsesWith(calls.toIndex(shard));
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::PartRowsOp op) {
  Value rows = calls.call(CAAT_API_part_rows, {calls.constant(op.getLeast())}, calls.getI64Type());
  op.getResult().replaceAllUsesWith(calls.toIndex(rows));
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::UnreadTokensOp op) {
  Value tokens = calls.call(CAAT_API_unread_tokens, {calls.toI64(op.getTokens())}, calls.getI64Type());
  op.getResult().replaceAllUsesWith(calls.toIndex(tokens));
  return success();
}

static LogicalResult callRotation(RuntimeCalls &calls, caat_api_index entry, StringAttr group) {
  const auto &rotations = calls.getProgram().rotations;
  calls.call(entry, {calls.constant(rotations.find(group) - rotations.begin())});
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::RotateStartOp op) {
  return callRotation(calls, CAAT_API_rotate_start, op.getGroupAttr());
}
LogicalResult lower(RuntimeCalls &calls, rt::RotateWaitOp op) {
  return callRotation(calls, CAAT_API_rotate_wait, op.getGroupAttr());
}
LogicalResult lower(RuntimeCalls &calls, rt::RotateOp op) {
  return callRotation(calls, CAAT_API_rotate, op.getGroupAttr());
}

} // namespace caat::lower
