// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A sum over the ranks needs the network, what follows it the processor: both go on at once where what follows does not
// need the sum. The order of the program is left as it is: a sum begins where it stood, and is waited for where its
// buffer is touched next. Where that is at once, the product that makes the buffer is computed in parts, and the sum of
// one goes on beside the product of the next.
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "dialects/tp/TP.h"
#include "lib/Lower/RowParts.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTOVERLAPCOLLECTIVESPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// What takes time on the processor.
static bool isWork(Operation *op) {
  return isa<rt::LaunchOp, rt::LinearOp, rt::MatmulOp, rt::AttentionOp, rt::CopyOp>(op) || op->getNumRegions() > 0;
}

/// Rows of a part are a multiple of this, so that parts begin at aligned addresses and products at whole tiles.
static constexpr int64_t kRowTile = 16;

/// The product's parts in rows.
struct RowParts {
  OpBuilder &b;
  Location loc;
  Value rows, step;

  RowParts(OpBuilder &b, Location loc, Value buffer, int64_t parts, Value least) : b(b), loc(loc) {
    auto type = cast<MemRefType>(buffer.getType());
    rows = constant(1);
    for (int64_t d = 0; d + 1 < type.getRank(); ++d)
      rows = b.createOrFold<arith::MulIOp>(loc, rows, b.createOrFold<memref::DimOp>(loc, buffer, d));
    // ceil(rows / parts), up to whole tiles.
    int64_t unit = parts * kRowTile;
    Value tiles = b.createOrFold<arith::DivUIOp>(loc, b.createOrFold<arith::AddIOp>(loc, rows, constant(unit - 1)),
                                                 constant(unit));
    step = b.createOrFold<arith::MaxUIOp>(loc, b.createOrFold<arith::MulIOp>(loc, tiles, constant(kRowTile)), least);
  }

  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value boundary(int64_t part) {
    Value at = b.createOrFold<arith::MulIOp>(loc, step, constant(part));
    return b.createOrFold<arith::MinUIOp>(loc, at, rows);
  }
};

namespace {

class Overlapper {
public:
  Overlapper(func::FuncOp host, int64_t parts, int64_t leastRows)
      : block(host.getBody().front()), parts(parts), leastRows(leastRows) {}

  void run() {
    for (auto sum : llvm::make_early_inc_range(block.getOps<tp::AllReduceOp>()))
      overlap(sum);
    // Sums end in the order in which they began.
    for (size_t i = waits.size(); i-- > 1;)
      if (waits[i]->isBeforeInBlock(waits[i - 1]))
        waits[i - 1]->moveBefore(waits[i]);
  }

private:
  static void remarkOn(tp::AllReduceOp sum, bool passed, const Twine &text) {
    remark::RemarkOpts options = remark::RemarkOpts::name("overlap-collectives").category("caat");
    std::string message = (sum.getSiteName() + ": " + text).str();
    passed ? void(remark::passed(sum.getLoc(), options) << message)
           : void(remark::missed(sum.getLoc(), options) << message);
  }

  /// The ops of the block that touch the memory of `allocation`, under any name: the last before `at`, and the first
  /// behind it.
  std::pair<Operation *, Operation *> neighbours(memref::AllocOp allocation, Operation *at) {
    Operation *before = nullptr, *behind = block.getTerminator();
    SmallVector<Value> names{allocation};
    DenseSet<Value> seen(names.begin(), names.end());
    auto add = [&](Value value) {
      if (isa<MemRefType>(value.getType()) && seen.insert(value).second)
        names.push_back(value);
    };
    while (!names.empty())
      for (Operation *user : names.pop_back_val().getUsers()) {
        if (isMemoryEffectFree(user) || user->getNumRegions())
          llvm::for_each(user->getResults(), add);
        Operation *op = block.findAncestorOpInBlock(*user);
        if (isMemoryEffectFree(user) || op == at)
          continue;
        if (op->isBeforeInBlock(at) && (!before || before->isBeforeInBlock(op)))
          before = op;
        if (at->isBeforeInBlock(op) && op->isBeforeInBlock(behind))
          behind = op;
      }
    return {before, behind};
  }

  void start(OpBuilder &b, tp::AllReduceOp sum, Value buffer, int64_t part, int64_t of, Operation *reader) {
    Location loc = sum.getLoc();
    auto start = rt::AllReduceStartOp::create(b, loc, rt::TokenType::get(b.getContext()), buffer, sum.getMeshAttr(),
                                              sum.getAxesAttr(), sum.getSiteAttr(), b.getI64IntegerAttr(part),
                                              b.getI64IntegerAttr(of), UnitAttr());
    waits.push_back(rt::AllReduceWaitOp::create(b, loc, start.getToken(), buffer));
    waits.back()->moveBefore(reader);
  }

  void overlap(tp::AllReduceOp sum) {
    Value buffer = sum.getInput();
    memref::AllocOp allocation = allocationOf(buffer);
    if (!allocation)
      return remarkOn(sum, false, "its buffer is the program's interface");
    auto [maker, reader] = neighbours(allocation, sum);
    int64_t work = 0;
    for (Operation *op = sum->getNextNode(); op != reader; op = op->getNextNode())
      work += isWork(op);
    OpBuilder b(sum);
    if (work > 0) {
      remarkOn(sum, true, "the sum goes on beside " + Twine(work) + (work == 1 ? " step" : " steps"));
      start(b, sum, buffer, 0, 1, reader);
      sum.erase();
      return;
    }
    auto product = dyn_cast_or_null<rt::LinearOp>(maker);
    if (StringRef reason = whyWhole(sum, product); !reason.empty())
      return remarkOn(sum, false, "what follows needs the sum, and " + reason);
    remarkOn(sum, true, "the sum of some rows goes on beside the product of the next, in " + Twine(parts) + " parts");
    b.setInsertionPoint(product);
    RowParts rows(b, product.getLoc(), buffer, parts, getPartRows());
    Value begin = rows.constant(0);
    for (int64_t part = 0; part < parts; ++part) {
      Value end = part + 1 == parts ? rows.rows : rows.boundary(part + 1);
      Value x = takeRows(b, product.getLoc(), product.getX(), begin, end);
      Value y = takeRows(b, product.getLoc(), buffer, begin, end);
      auto some = cast<rt::LinearOp>(b.clone(*product));
      some.getXMutable().assign(x);
      some.getInitMutable().assign(y);
      start(b, sum, y, part, parts, reader);
      begin = end;
    }
    product.erase();
    sum.erase();
  }

  /// The same for all products.
  Value getPartRows() {
    if (!partRows) {
      OpBuilder b = OpBuilder::atBlockBegin(&block);
      partRows = rt::PartRowsOp::create(b, block.getParentOp()->getLoc(), b.getIndexType(), leastRows);
    }
    return partRows;
  }

  /// Why the product before a sum is not computed in parts; empty where it can be.
  StringRef whyWhole(tp::AllReduceOp sum, rt::LinearOp product) {
    if (parts < 2)
      return "products are not divided";
    if (!product || product.getInit() != sum.getInput() || product->getBlock() != &block || product.getShard())
      return "no product makes its buffer";
    for (Operation *op = product->getNextNode(); op != sum; op = op->getNextNode())
      if (isWork(op) || isa<tp::CollectiveOpInterface>(op))
        return "there is other work behind its product";
    if (!hasDenseRows(product))
      return "its product's rows do not lie side by side";
    ArrayRef<int64_t> leading = cast<MemRefType>(product.getInit().getType()).getShape().drop_back();
    int64_t known = 1;
    for (int64_t size : leading)
      known *= ShapedType::isDynamic(size) ? 1 : size;
    if (llvm::none_of(leading, ShapedType::isDynamic) && known <= leastRows)
      return "its product has few rows";
    return "";
  }

  Block &block;
  int64_t parts, leastRows;
  Value partRows;
  SmallVector<rt::AllReduceWaitOp> waits; // in the order of the starts
};

struct OverlapCollectivesPass : caat::impl::RTOverlapCollectivesPassBase<OverlapCollectivesPass> {
  using Base::Base;

  void runOnOperation() override {
    if (getOperation().getSymName() == "caat_forward" && getOperation().getBody().hasOneBlock())
      Overlapper(getOperation(), parts, leastRows).run();
  }
};
} // namespace
