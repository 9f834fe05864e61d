// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-expand-sync-points: sync points and reads of the stream -> onnx operations and all-reduces.
#include "ChannelOps.h"
#include "PolicyText.h"
#include "SplitProducts.h"
#include "StreamReads.h"
#include "caat/Sync/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPEXPANDSYNCPOINTS
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

namespace {

/// What a sync point became. `pending` is null where nothing can be pending: then readers read base.
struct Stream {
  Value base;
  Value pending;
  /// The site whose policy made this rank's pending, and the policy whose estimate readers use.
  StringAttr site;
  tp::PolicyAttr policy;
  /// What the site's module reads, for estimates; may be null.
  Value input;
};

/// What a reduction gives: the sum, and what rounding has left out, null where that is lost or nothing.
struct Reduced {
  Value sum;
  Value error;
};

class Expander {
public:
  /// Sums of f32 travel as `message`, or as they are where that is null.
  Expander(func::FuncOp function, bool splitProducts, FloatType message)
      : function(function), splitProducts(splitProducts), message(message) {}

  /// Rewrites the function and appends what each site sends to `report`.
  void run(SmallVectorImpl<Attribute> &report);

private:
  Stream expand(tp::SyncPointOp op);
  Stream send(tp::SyncPointOp op, const Stream &before, tp::RoundingAttr rounding);
  Value expandRead(tp::ReadStreamOp op);
  Value estimate(ChannelBuilder &channel, const Stream &stream);
  Type messageType(Type elementType) const;
  Value allReduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const Twine &name);
  Reduced reduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const ChannelSplit &split,
                 tp::RoundingAttr rounding, const Twine &name);
  void flush(tp::SyncPointOp op, OpBuilder &builder, Stream &stream, const ChannelSplit &split,
             tp::RoundingAttr rounding = {});
  void record(StringRef site, StringRef policy, int64_t elements, int64_t channels, Type elementType,
              tp::RoundingAttr rounding = {});

  func::FuncOp function;
  bool splitProducts;
  FloatType message;
  /// By the first result of the sync point.
  llvm::DenseMap<Value, Stream> streams;
  SmallVector<Attribute> entries;
  SmallVector<Operation *> divided; // what products that became two were used through
};

} // namespace

/// Marks that the result of `value`'s operation differs from rank to rank by the policy of `site`.
static Value markPrivate(Value value, StringAttr site) {
  value.getDefiningOp()->setAttr(tp::kPrivateAttrName, site);
  return value;
}

static void eraseUnused(Operation *op) {
  if (!op || !op->use_empty() || !isMemoryEffectFree(op))
    return;
  SmallVector<Value> operands(op->getOperands());
  op->erase();
  for (Value operand : operands)
    eraseUnused(operand.getDefiningOp());
}

static bool isZero(DenseElementsAttr value) { return value.isSplat() && value.getSplatValue<APFloat>().isZero(); }

static ChannelSplit getSplit(tp::SyncPointOp op) {
  DenseI64ArrayAttr order = op.getPolicy().getOrder();
  int64_t reduced = op.getPolicy().getReduced(op.getNumChannels());
  return {op.getNumChannels(), reduced, order ? order.asArrayRef() : ArrayRef<int64_t>()};
}

void Expander::record(StringRef site, StringRef policy, int64_t elements, int64_t channels, Type elementType,
                      tp::RoundingAttr rounding) {
  Builder builder(function.getContext());
  int64_t width = messageType(elementType).getIntOrFloatBitWidth() / 8;
  int64_t bytes = rounding ? getRoundedBytes(rounding, elements) : elements * width;
  entries.push_back(builder.getDictionaryAttr({
      builder.getNamedAttr("site", builder.getStringAttr(site)),
      builder.getNamedAttr("policy", builder.getStringAttr(policy)),
      builder.getNamedAttr("channels", builder.getI64IntegerAttr(channels)),
      builder.getNamedAttr("elements", builder.getI64IntegerAttr(elements)),
      builder.getNamedAttr("bytes_per_token", builder.getI64IntegerAttr(bytes)),
      builder.getNamedAttr("full_bytes_per_token", builder.getI64IntegerAttr(channels * width)),
  }));
}

Type Expander::messageType(Type elementType) const {
  return message && elementType.isF32() ? Type(message) : elementType;
}

Value Expander::allReduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const Twine &name) {
  ChannelBuilder channel(builder, op.getLoc());
  Type elementType = getElementTypeOrSelf(value.getType());
  Value sent = channel.castTo(value, messageType(elementType));
  auto reduce = tp::AllReduceOp::create(builder, op.getLoc(), TypeRange{sent.getType()}, sent, op.getMeshAttr(),
                                        op.getAxesAttr(), builder.getStringAttr(name));
  return channel.castTo(reduce.getResult(), elementType);
}

/// The sum of the split's shared channels of `value`, which has these alone.
Reduced Expander::reduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const ChannelSplit &split,
                         tp::RoundingAttr rounding, const Twine &name) {
  if (!rounding)
    return {allReduce(op, builder, value, name), {}};
  SmallVector<int64_t> exact;
  for (int64_t place = 0; place < split.shared; ++place)
    if (llvm::is_contained(rounding.getExact(), split.channelAt(place)))
      exact.push_back(place);
  auto reduce = tp::QuantizedAllReduceOp::create(
      builder, op.getLoc(), TypeRange{value.getType(), value.getType()}, value, Value(),
      builder.getI64IntegerAttr(rounding.getBits()), builder.getI64IntegerAttr(rounding.getBlock()),
      builder.getDenseI64ArrayAttr(exact), op.getMeshAttr(), op.getAxesAttr(), builder.getStringAttr(name));
  return {reduce.getResult(0), rounding.getFeedback() ? reduce.getResult(1) : Value()};
}

/// The sync point by its policy, with the stream before it. With t = pending + partial:
/// - full:     base + (all_reduce(t) + bias), nothing pending;
/// - deferred: the shared channels of base get all_reduce(t) + bias, the others bias; t stays pending in the others;
/// - private:  the shared channels as above, the others get scale * (partial + bias); what was pending there stays.
/// Where the sum is rounded, its error is pending in the shared channels.
Stream Expander::send(tp::SyncPointOp op, const Stream &before, tp::RoundingAttr rounding) {
  OpBuilder builder(op);
  ChannelBuilder channel(builder, op.getLoc());
  tp::PolicyAttr policy = op.getPolicy();
  StringAttr site = op.getSiteAttr();
  Value partial = op.getPartial(), bias = op.getBias();
  Stream after{before.base, {}, site, policy, op.getInput()};

  ChannelSplit split = getSplit(op);
  bool isAll = split.shared == split.channels;
  // The shared channels first, in a product of their own; the others, in their places, while they are summed.
  ProductSplitter splitter(channel, builder, split);
  bool splits = splitProducts && split.shared > 0 && !isAll && splitter.splits(partial);
  if (splits)
    divided.push_back(partial.getDefiningOp());
  auto computeRest = [&] { return channel.spreadRest(splitter.computeRest(partial), split); };
  if (isAll || policy.isDeferred()) {
    Value total = splits ? Value() : channel.add(before.pending, partial);
    if (split.shared == 0) {
      after.base = channel.add(before.base, bias);
      after.pending = total;
      return after;
    }
    if (isAll && !rounding)
      split.order = {}; // all travel as they are: their order means nothing
    Value sent = splits ? channel.add(channel.takeShared(before.pending, split), splitter.computeShared(partial))
                        : channel.takeShared(total, split);
    Reduced shared = reduce(op, builder, sent, split, rounding, site.getValue());
    if (splits)
      total = channel.add(before.pending, computeRest());
    after.base = channel.add(before.base, channel.add(channel.spread(shared.sum, {}, split), bias));
    if (shared.error)
      after.pending = channel.spread(shared.error, total, split);
    else if (!isAll)
      after.pending = channel.clearShared(total, split);
    return after;
  }
  // Private.
  if (split.shared == 0) {
    Value own = channel.scale(channel.add(partial, bias), policy.getScaleValue());
    after.base = before.base ? markPrivate(channel.add(before.base, own), site) : own;
    after.pending = before.pending;
    return after;
  }
  Value total = splits ? splitter.computeShared(partial) : channel.takeShared(partial, split);
  if (before.pending)
    total = channel.add(channel.takeShared(before.pending, split), total);
  Reduced shared = reduce(op, builder, total, split, rounding, site.getValue());
  if (splits)
    partial = computeRest();
  Value sum = channel.add(shared.sum, channel.takeShared(bias, split));
  Value own = channel.scale(channel.add(partial, bias), policy.getScaleValue());
  after.base = markPrivate(channel.add(before.base, channel.spread(sum, own, split)), site);
  if (shared.error)
    after.pending = channel.spread(shared.error, before.pending, split);
  else if (before.pending)
    after.pending = channel.clearShared(before.pending, split);
  return after;
}

/// Sums what is pending into base, behind a site: "final" behind the last one. In the split's shared channels nothing
/// is.
void Expander::flush(tp::SyncPointOp op, OpBuilder &builder, Stream &stream, const ChannelSplit &split,
                     tp::RoundingAttr rounding) {
  ChannelBuilder channel(builder, op.getLoc());
  bool isLast = llvm::none_of(op.getNewBase().getUsers(), llvm::IsaPred<tp::SyncPointOp>);
  std::string name = isLast ? "final" : (op.getSite() + ".flush").str();
  if (split.shared == 0) {
    ChannelSplit all{split.channels, split.channels, {}};
    stream.base = channel.add(stream.base, reduce(op, builder, stream.pending, all, rounding, name).sum);
  } else {
    Value sum = allReduce(op, builder, channel.takeRest(stream.pending, split), name);
    Value rest = channel.add(channel.takeRest(stream.base, split), sum);
    stream.base = channel.join(channel.takeShared(stream.base, split), rest, split);
  }
  record(name, "flush", split.getRest(), 0, getElementTypeOrSelf(stream.pending.getType()), rounding);
  stream.pending = {};
  remark::analysis(op.getLoc(), remark::RemarkOpts::name("flush").category("caat"))
      << llvm::formatv("behind site {0} the stream must be equal on all ranks: all-reduce {1} sums what is pending",
                       op.getSite(), name)
             .str();
}

Stream Expander::expand(tp::SyncPointOp op) {
  Stream before;
  if (op.getBase()) {
    auto known = streams.find(op.getBase());
    if (known != streams.end())
      before = known->second;
    else // the stream's start
      before = {op.getBase(), op.getPending(), {}, {}, {}};
    if (!op.getPending())
      before.pending = {};
  }
  Type elementType = getElementTypeOrSelf(op.getPartial().getType());
  int64_t channels = op.getNumChannels();
  tp::PolicyAttr policy = op.getPolicy();
  bool mustFlush = mustBeReplicated(op);
  OpBuilder builder(op);
  // Nothing is lost by a policy that feeds errors back: where nothing may stay pending, it cannot round.
  tp::RoundingAttr rounding = policy.getRounding();
  if (mustFlush && policy.hasFeedback()) {
    rounding = {};
    remark::analysis(op.getLoc(), remark::RemarkOpts::name("unrounded").category("caat"))
        << llvm::formatv(
               "behind site {0} the stream must be equal on all ranks: rounding with feedback would be summed "
               "again at once, so the site sends its elements as they are",
               op.getSite())
               .str();
  }

  // Deferring what has to be summed at once saves nothing: one all-reduce of everything, instead of the policy's and a
  // flush.
  if (mustFlush && policy.isDeferred() && policy.getShared() < channels) {
    ChannelBuilder channel(builder, op.getLoc());
    record(op.getSite(), describePolicy(policy, channels), 0, channels, elementType);
    Stream after{channel.add(before.base, op.getBias()), channel.add(before.pending, op.getPartial()), op.getSiteAttr(),
                 policy, Value()};
    flush(op, builder, after, {channels, 0, {}}, rounding);
    return after;
  }
  record(op.getSite(), describePolicy(policy, channels), policy.getReduced(channels), channels, elementType, rounding);
  Stream after = send(op, before, rounding);
  if (mustFlush && after.pending)
    flush(op, builder, after, getSplit(op));
  return after;
}

/// What readers see beside base, for what is pending.
Value Expander::estimate(ChannelBuilder &channel, const Stream &stream) {
  DenseElementsAttr a = stream.policy.getEstimateScale(), b = stream.policy.getEstimateOffset();
  if (!a)
    return stream.pending;
  Type elementType = getElementTypeOrSelf(stream.pending.getType());
  Value seen;
  if (!isZero(a))
    seen = channel.multiplyRow(stream.pending, channel.takeRow(a, elementType));
  if (!isZero(b))
    seen = channel.add(seen, channel.takeRow(b, elementType));
  tp::LowRankAttr lowRank = stream.policy.getLowRank();
  if (!lowRank)
    return seen;
  Value product;
  if (lowRank.readsPending())
    product = channel.multiply(stream.pending, lowRank.getV());
  if (lowRank.readsInput()) {
    int64_t first = lowRank.readsPending() ? a.getType().getShape()[1] : 0;
    product = channel.add(product, channel.multiply(stream.input, lowRank.getV(), first));
  }
  return channel.add(channel.multiply(product, lowRank.getU()), seen);
}

Value Expander::expandRead(tp::ReadStreamOp op) {
  auto known = streams.find(op.getBase());
  OpBuilder builder(op);
  ChannelBuilder channel(builder, op.getLoc());
  if (known == streams.end()) // written by hand: base and pending of no site
    return channel.add(op.getBase(), op.getPending());
  const Stream &stream = known->second;
  if (!stream.pending)
    return stream.base;
  Value seen = estimate(channel, stream);
  return seen ? markPrivate(channel.add(stream.base, seen), stream.site) : stream.base;
}

void Expander::run(SmallVectorImpl<Attribute> &report) {
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<tp::SyncPointOp, tp::ReadStreamOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    if (auto site = dyn_cast<tp::SyncPointOp>(op)) {
      Stream stream = expand(site);
      streams[site.getNewBase()] = stream;
    }
  // Reads last: which sites must flush is decided on the graph as it was.
  for (Operation *op : ops)
    if (auto read = dyn_cast<tp::ReadStreamOp>(op))
      read.getResult().replaceAllUsesWith(expandRead(read));
  // A site's results that are used beside reads and sites.
  for (Operation *op : llvm::reverse(ops)) {
    if (auto site = dyn_cast<tp::SyncPointOp>(op))
      site.getNewBase().replaceAllUsesWith(streams[site.getNewBase()].base);
    op->erase();
  }
  llvm::for_each(divided, eraseUnused);
  report.append(entries);
}

namespace {
struct ExpandSyncPoints : caat::impl::TPExpandSyncPointsBase<ExpandSyncPoints> {
  using Base::Base;
  void runOnOperation() override {
    FloatType message = llvm::StringSwitch<FloatType>(messageType)
                            .Case("bf16", BFloat16Type::get(&getContext()))
                            .Case("f16", Float16Type::get(&getContext()))
                            .Default({});
    if (!message && messageType != "f32") {
      emitError(getOperation().getLoc()) << "message-type: " << messageType << " is not f32, bf16 or f16";
      return signalPassFailure();
    }
    SmallVector<Attribute> report;
    for (auto function : getOperation().getOps<func::FuncOp>())
      Expander(function, splitProducts, message).run(report);
    if (!report.empty())
      getOperation()->setAttr(tp::kSyncAttrName, ArrayAttr::get(&getContext(), report));
  }
};
} // namespace
