// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "caat/Raise/DimExpr.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include <map>
#include <vector>

namespace caat {
#define GEN_PASS_DEF_RTPLANMEMORYPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

static constexpr int64_t kAlignment = 64;
/// What dims are taken for when slots are chosen; any value gives a correct plan.
static constexpr int64_t kTypicalDim = 128;

namespace {

/// One allocation: the ops of the entry block between which it is used, and its size.
struct Lifetime {
  Value buffer; // of a memref.alloc
  unsigned first = ~0u, last = 0;
  Value bytes;         // at the front of the host function
  int64_t typical = 0; // its size with typical dims
  bool grows = false;  // with the length of a cache
  unsigned number = 0; // in the order of the program
};

struct Slot {
  SetVector<Value> sizes;
  bool grows = false; // with the length of a cache
  unsigned busyUntil = 0;
  int64_t typical = 0;
  Value offset;
};

/// The value of index arithmetic when every dim is typical.
int64_t estimate(Value value, DenseMap<Value, int64_t> &known) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return *constant;
  Operation *op = value.getDefiningOp();
  if (!op || isa<rt::DimOp>(op) || op->getNumOperands() == 0)
    return kTypicalDim;
  if (auto it = known.find(value); it != known.end())
    return it->second;
  int64_t a = estimate(op->getOperand(0), known);
  int64_t b = op->getNumOperands() > 1 ? estimate(op->getOperand(1), known) : 0;
  int64_t result = a;
  if (isa<arith::AddIOp>(op))
    llvm::AddOverflow(a, b, result);
  else if (isa<arith::SubIOp>(op))
    llvm::SubOverflow(a, b, result);
  else if (isa<arith::MulIOp>(op))
    llvm::MulOverflow(a, b, result);
  else if (isa<arith::DivUIOp, arith::DivSIOp, arith::FloorDivSIOp, arith::CeilDivSIOp>(op))
    result = b ? a / b : a;
  else if (isa<arith::MaxSIOp, arith::MaxUIOp>(op))
    result = std::max(a, b);
  else if (isa<arith::MinSIOp, arith::MinUIOp>(op))
    result = std::min(a, b);
  known[value] = result;
  return result;
}

/// The dims that are another number at every step of a decoder: those that lengths of caches are, and so not what a
/// step adds (past and total, but not seq of past + seq).
llvm::StringSet<> growingDims(ModuleOp module) {
  llvm::StringSet<> result;
  auto interface = module->getAttrOfType<DictionaryAttr>("rt.interface");
  auto caches = interface ? interface.getAs<ArrayAttr>("caches") : ArrayAttr();
  if (!caches)
    return result;
  for (auto cache : caches.getAsRange<DictionaryAttr>())
    for (StringRef which : {"past_length", "present_length"}) {
      auto text = cache.getAs<StringAttr>(which);
      SmallVector<std::string> names;
      AffineExpr length = text ? parseDim(text.getValue(), module.getContext(),
                                          [&](StringRef name) {
                                            auto *known = llvm::find(names, name.str());
                                            size_t position = known - names.begin();
                                            if (known == names.end())
                                              names.push_back(name.str());
                                            return getAffineSymbolExpr(position, module.getContext());
                                          })
                               : AffineExpr();
      for (auto [i, name] : llvm::enumerate(names))
        if (length && compareDims(length, getAffineSymbolExpr(i, module.getContext())) == true)
          result.insert(name);
    }
  return result;
}

/// Whether index arithmetic has one of `dims` in it.
bool dependsOn(Value value, const llvm::StringSet<> &dims, DenseMap<Value, bool> &known) {
  auto [it, isNew] = known.try_emplace(value, false);
  if (!isNew)
    return it->second;
  Operation *op = value.getDefiningOp();
  bool result = op && llvm::any_of(op->getOperands(), [&](Value v) { return dependsOn(v, dims, known); });
  if (auto dim = dyn_cast_or_null<rt::DimOp>(op))
    result = dims.contains(dim.getName());
  return known[value] = result;
}

/// Clones the arithmetic that makes `value` from rt.dim to the end of `b`'s place.
FailureOr<Value> recompute(OpBuilder &b, Value value, IRMapping &mapping) {
  if (Value done = mapping.lookupOrNull(value))
    return done;
  Operation *op = value.getDefiningOp();
  if (!op || !isMemoryEffectFree(op) || op->getNumRegions() ||
      llvm::any_of(op->getOperandTypes(), [](Type type) { return !type.isIntOrIndex(); }))
    return emitError(value.getLoc(), kSizeFromData);
  for (Value operand : op->getOperands())
    if (failed(recompute(b, operand, mapping)))
      return failure();
  b.clone(*op, mapping);
  return mapping.lookup(value);
}

/// Whether a product of sizes in `block` is no number of 64 bits, or so large that the sum of some might be none: then
/// what is computed from it says nothing about the memory that kernels touch. Null where there is no product. The
/// model's own integers may wrap: kernels see the same numbers.
Value isAnyTooLarge(Block &block) {
  constexpr int64_t most = int64_t{1} << 48; // bytes of memory that any machine can have
  SmallVector<arith::MulIOp> products(block.getOps<arith::MulIOp>());
  Value any;
  for (arith::MulIOp product : products) {
    if (!product.getType().isIndex())
      continue;
    OpBuilder b(product);
    Location loc = product.getLoc();
    auto wide = arith::MulSIExtendedOp::create(b, loc, product.getLhs(), product.getRhs());
    auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(b, loc, value).getResult(); };
    Value low = wide.getLow(), sign = arith::ShRSIOp::create(b, loc, low, constant(63));
    Value wraps = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, wide.getHigh(), sign);
    Value large = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, low, constant(most));
    large = arith::OrIOp::create(b, loc, wraps, large);
    any = any ? arith::OrIOp::create(b, loc, any, large).getResult() : large;
    product.replaceAllUsesWith(low);
    product.erase();
  }
  return any;
}

/// The allocation or interface buffer that `memref` is a view of.
Value rootOf(Value memref) {
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  return memref;
}

class MemoryPlanner {
public:
  MemoryPlanner(ModuleOp module, func::FuncOp host)
      : module(module), host(host), entry(host.getBody().front()), b(&entry, entry.begin()), loc(host.getLoc()) {
    for (Operation &op : entry)
      position[&op] = position.size();
  }

  LogicalResult run() {
    findLives();
    listLive();
    if (failed(computeSizes()))
      return failure();
    chooseSlots();
    Value total = placeSlots();
    replaceAllocations();
    remark::passed(loc, remark::RemarkOpts::name("plan-memory").category("caat"))
        << std::to_string(lives.size()) + " buffers in " + std::to_string(slots.size()) + " slots";
    return defineWorkspaceBytes(total);
  }

private:
  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

  /// The range of entry-block ops over which the buffer, under any name, is used.
  void measure(Lifetime &life) const {
    SmallVector<Value> names{life.buffer};
    DenseSet<Value> seen(names.begin(), names.end());
    auto add = [&](Value value) {
      if (seen.insert(value).second)
        names.push_back(value);
    };
    while (!names.empty())
      for (OpOperand &use : names.pop_back_val().getUses()) {
        Operation *user = use.getOwner();
        unsigned at = position.lookup(entry.findAncestorOpInBlock(*user));
        life.first = std::min(life.first, at);
        life.last = std::max(life.last, at);
        // Views, and whatever a region hands on.
        if (isa<ViewLikeOpInterface>(user) || isa<arith::SelectOp>(user))
          llvm::for_each(user->getResults(), add);
        if (user->hasTrait<OpTrait::IsTerminator>() && user->getBlock() != &entry)
          llvm::for_each(user->getParentOp()->getResults(), add);
        if (user->getNumRegions()) {
          llvm::for_each(user->getResults(), add);
          for (Region &region : user->getRegions())
            if (!region.empty())
              for (BlockArgument arg : region.getArguments())
                if (isa<MemRefType>(arg.getType()))
                  add(arg);
        }
      }
  }

  /// Allocations and how long each is needed; that they end is not said any more.
  void findLives() {
    SmallVector<memref::DeallocOp> deallocs;
    host.walk([&](memref::DeallocOp op) { deallocs.push_back(op); });
    for (memref::DeallocOp op : deallocs)
      op.erase();
    host.walk([&](memref::AllocOp alloc) {
      Lifetime life;
      life.buffer = alloc;
      measure(life);
      if (life.first == ~0u)
        life.first = life.last = position.lookup(entry.findAncestorOpInBlock(*alloc));
      life.number = lives.size();
      lives.push_back(life);
    });
  }

  /// Tells each sync point which buffers live on beyond it: what must be kept to take a run up again there.
  void listLive() {
    auto sites = entry.getOps<rt::SyncPointOp>();
    if (sites.empty())
      return;
    SmallVector<Lifetime> all(lives);
    // Caches and outputs, all views of one position together: a later layer may read what an earlier one wrote.
    llvm::MapVector<int64_t, Lifetime> shared;
    for (auto buffer : host.getBody().getOps<rt::BufferOp>()) {
      Lifetime &life = shared[buffer.getPosition()];
      life.buffer = buffer;
      measure(life);
    }
    for (auto &[number, life] : shared)
      all.push_back(life);
    for (rt::SyncPointOp site : sites) {
      llvm::SmallDenseSet<Value> own;
      for (Value destination : site.getDestinations())
        own.insert(rootOf(destination));
      unsigned at = position.lookup(site);
      for (const Lifetime &life : all)
        if (life.first < at && at < life.last && !own.contains(life.buffer))
          site.getLiveMutable().append(life.buffer);
    }
  }

  /// All sizes, at the front of the host function.
  LogicalResult computeSizes() {
    IRMapping front;
    DenseMap<Value, int64_t> known;
    DenseMap<Value, bool> growing;
    llvm::StringSet<> lengths = growingDims(module);
    std::map<std::pair<std::vector<void *>, int64_t>, Value> computed; // equal sizes are one value
    for (Lifetime &life : lives) {
      auto alloc = life.buffer.getDefiningOp<memref::AllocOp>();
      MemRefType type = alloc.getType();
      int64_t factor = std::max<int64_t>(1, (type.getElementTypeBitWidth() + 7) / 8);
      for (int64_t size : type.getShape())
        factor *= ShapedType::isDynamic(size) ? 1 : size;
      std::vector<void *> sizes;
      for (Value size : alloc.getDynamicSizes()) {
        FailureOr<Value> moved = recompute(b, size, front);
        if (failed(moved))
          return failure();
        sizes.push_back(moved->getAsOpaquePointer());
      }
      Value &bytes = computed[{sizes, factor}];
      if (!bytes) {
        bytes = constant(factor);
        for (void *size : sizes)
          bytes = arith::MulIOp::create(b, loc, Value::getFromOpaquePointer(size), bytes);
        bytes = arith::AddIOp::create(b, loc, bytes, constant(kAlignment - 1));
        bytes = arith::MulIOp::create(b, loc, arith::DivUIOp::create(b, loc, bytes, constant(kAlignment)),
                                      constant(kAlignment));
      }
      life.bytes = bytes;
      life.typical = estimate(bytes, known);
      life.grows = dependsOn(bytes, lengths, growing);
    }
    return success();
  }

  /// In the order of first use: the free slot that fits best.
  void chooseSlots() {
    llvm::sort(lives, [](const Lifetime &x, const Lifetime &y) {
      return std::tie(x.first, x.number) < std::tie(y.first, y.number);
    });
    for (Lifetime &life : lives) {
      Slot *best = nullptr;
      for (Slot &slot : slots)
        if (slot.busyUntil < life.first && slot.grows == life.grows &&
            (!best || std::abs(slot.typical - life.typical) < std::abs(best->typical - life.typical)))
          best = &slot;
      if (!best)
        best = &slots.emplace_back();
      best->busyUntil = life.last;
      best->grows = life.grows;
      best->typical = std::max(best->typical, life.typical);
      best->sizes.insert(life.bytes);
      slotOf.push_back(best - slots.data());
    }
  }

  /// One behind the other; gives the size of all. What grows with a cache comes last: at the next step all others lie
  /// where they were, and a device can run the same graph of products again.
  Value placeSlots() {
    Value total = constant(0);
    for (bool grows : {false, true})
      for (Slot &slot : slots) {
        if (slot.grows != grows)
          continue;
        slot.offset = total;
        Value size = slot.sizes.front();
        for (Value other : llvm::drop_begin(slot.sizes))
          size = arith::MaxUIOp::create(b, loc, size, other);
        total = arith::AddIOp::create(b, loc, total, size);
      }
    return total;
  }

  void replaceAllocations() {
    Value arena = rt::WorkspaceOp::create(b, loc, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
    for (auto [life, slot] : llvm::zip_equal(lives, slotOf)) {
      auto alloc = life.buffer.getDefiningOp<memref::AllocOp>();
      b.setInsertionPoint(alloc);
      Value view = memref::ViewOp::create(b, alloc.getLoc(), alloc.getType(), arena, slots[slot].offset,
                                          alloc.getDynamicSizes());
      alloc.replaceAllUsesWith(view);
      alloc.erase();
    }
  }

  /// The total once more, as a function of its own: below 0 where sizes are too large for it.
  LogicalResult defineWorkspaceBytes(Value total) {
    OpBuilder top(module.getBodyRegion());
    auto type = top.getFunctionType({LLVM::LLVMPointerType::get(top.getContext())}, {top.getI64Type()});
    auto function = func::FuncOp::create(top, loc, "caat_workspace_bytes", type);
    OpBuilder inside = OpBuilder::atBlockBegin(function.addEntryBlock());
    IRMapping copy;
    FailureOr<Value> bytes = recompute(inside, total, copy);
    if (failed(bytes))
      return failure();
    Value result = arith::IndexCastOp::create(inside, loc, inside.getI64Type(), *bytes);
    if (Value tooLarge = isAnyTooLarge(*inside.getBlock())) {
      Value none = arith::ConstantIntOp::create(inside, loc, -1, 64);
      result = arith::SelectOp::create(inside, loc, tooLarge, none, result);
    }
    func::ReturnOp::create(inside, loc, result);
    return success();
  }

  ModuleOp module;
  func::FuncOp host;
  Block &entry;
  OpBuilder b;
  Location loc;
  DenseMap<Operation *, unsigned> position;
  SmallVector<Lifetime> lives;
  SmallVector<Slot> slots;
  SmallVector<unsigned> slotOf; // of each life
};

struct PlanMemoryPass : caat::impl::RTPlanMemoryPassBase<PlanMemoryPass> {
  void runOnOperation() override {
    auto host = getOperation().lookupSymbol<func::FuncOp>("caat_forward");
    if (host && failed(MemoryPlanner(getOperation(), host).run()))
      signalPassFailure();
  }
};
} // namespace
