// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "dialects/rt/RT.h"
#include "lib/Lower/RowParts.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace caat {
#define GEN_PASS_DEF_RTSKIPUNREADPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// The product of the last tokens of each batch row, where others are not read; else that of all.
static void skipUnread(rt::LinearOp linear) {
  OpBuilder b(linear);
  Location loc = linear.getLoc();
  Value batch = b.createOrFold<memref::DimOp>(loc, linear.getInit(), 0);
  Value tokens = b.createOrFold<memref::DimOp>(loc, linear.getInit(), 1);
  Value zero = arith::ConstantIndexOp::create(b, loc, 0), one = arith::ConstantIndexOp::create(b, loc, 1);
  Value unread = rt::UnreadTokensOp::create(b, loc, b.getIndexType(), tokens);
  Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, unread, zero);
  auto branch = scf::IfOp::create(b, loc, some, /*withElseRegion=*/true);
  linear->moveBefore(branch.elseBlock()->getTerminator());

  b.setInsertionPointToStart(branch.thenBlock());
  auto rows = scf::ForOp::create(b, loc, zero, batch, one);
  b.setInsertionPointToStart(rows.getBody());
  Value first = arith::MulIOp::create(b, loc, rows.getInductionVar(), tokens);
  Value begin = arith::AddIOp::create(b, loc, first, unread), end = arith::AddIOp::create(b, loc, first, tokens);
  Value x = takeRows(b, loc, linear.getX(), begin, end), y = takeRows(b, loc, linear.getInit(), begin, end);
  auto last = cast<rt::LinearOp>(b.clone(*linear));
  last.getXMutable().assign(x);
  last.getInitMutable().assign(y);
  last.setOnlyResults(false);
  linear.setOnlyResults(false);
}

namespace {

struct SkipUnreadPass : caat::impl::RTSkipUnreadPassBase<SkipUnreadPass> {
  void runOnOperation() override {
    func::FuncOp host = getOperation();
    if (host.isExternal())
      return;
    SmallVector<rt::LinearOp> marked;
    for (auto linear : host.getBody().front().getOps<rt::LinearOp>())
      if (linear.getOnlyResults() && isa<MemRefType>(linear.getInit().getType()) && hasDenseRows(linear))
        marked.push_back(linear);
    llvm::for_each(marked, skipUnread);
  }
};

} // namespace
