// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-expand-sync-points: sync points and reads of the stream -> onnx operations and all-reduces.
#include "ChannelOps.h"
#include "PolicyText.h"
#include "StreamReads.h"
#include "caat/Sync/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
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
};

class Expander {
public:
  explicit Expander(func::FuncOp function) : function(function) {}

  /// Rewrites the function and appends what each site sends to `report`.
  void run(SmallVectorImpl<Attribute> &report);

private:
  Stream expand(tp::SyncPointOp op);
  Stream send(tp::SyncPointOp op, const Stream &before);
  Value expandRead(tp::ReadStreamOp op);
  Value allReduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const Twine &name);
  void flush(tp::SyncPointOp op, OpBuilder &builder, Stream &stream, const ChannelSplit &split);
  void record(StringRef site, StringRef policy, int64_t elements, int64_t channels, Type elementType);

  func::FuncOp function;
  /// By the first result of the sync point.
  llvm::DenseMap<Value, Stream> streams;
  SmallVector<Attribute> entries;
};

} // namespace

/// Marks that the result of `value`'s operation differs from rank to rank by the policy of `site`.
static Value markPrivate(Value value, StringAttr site) {
  value.getDefiningOp()->setAttr(tp::kPrivateAttrName, site);
  return value;
}

static ChannelSplit getSplit(tp::SyncPointOp op) {
  DenseI64ArrayAttr order = op.getPolicy().getOrder();
  return {op.getNumChannels(), op.getPolicy().getShared(), order ? order.asArrayRef() : ArrayRef<int64_t>()};
}

void Expander::record(StringRef site, StringRef policy, int64_t elements, int64_t channels, Type elementType) {
  Builder builder(function.getContext());
  int64_t width = elementType.getIntOrFloatBitWidth() / 8;
  entries.push_back(builder.getDictionaryAttr({
      builder.getNamedAttr("site", builder.getStringAttr(site)),
      builder.getNamedAttr("policy", builder.getStringAttr(policy)),
      builder.getNamedAttr("channels", builder.getI64IntegerAttr(channels)),
      builder.getNamedAttr("elements", builder.getI64IntegerAttr(elements)),
      builder.getNamedAttr("bytes_per_token", builder.getI64IntegerAttr(elements * width)),
      builder.getNamedAttr("full_bytes_per_token", builder.getI64IntegerAttr(channels * width)),
  }));
}

Value Expander::allReduce(tp::SyncPointOp op, OpBuilder &builder, Value value, const Twine &name) {
  return tp::AllReduceOp::create(builder, op.getLoc(), TypeRange{value.getType()}, value, op.getMeshAttr(),
                                 op.getAxesAttr(), builder.getStringAttr(name))
      .getResult();
}

/// The sync point by its policy, with the stream before it. With t = pending + partial:
/// - full:     base + (all_reduce(t) + bias), nothing pending;
/// - deferred: the shared channels of base get all_reduce(t) + bias, the others bias; t stays pending in the others;
/// - private:  the shared channels as above, the others get scale * (partial + bias); what was pending there stays.
Stream Expander::send(tp::SyncPointOp op, const Stream &before) {
  OpBuilder builder(op);
  ChannelBuilder channel(builder, op.getLoc());
  tp::PolicyAttr policy = op.getPolicy();
  StringAttr site = op.getSiteAttr();
  Value partial = op.getPartial(), bias = op.getBias();
  Stream after{before.base, {}, site, policy};

  ChannelSplit split = getSplit(op);
  if (policy.isExact(split.channels)) {
    Value sum = allReduce(op, builder, channel.add(before.pending, partial), site.getValue());
    after.base = channel.add(before.base, channel.add(sum, bias));
    return after;
  }
  if (policy.isDeferred()) {
    Value total = channel.add(before.pending, partial);
    after.pending = total;
    if (split.shared == 0) {
      after.base = channel.add(before.base, bias);
      return after;
    }
    Value sum = allReduce(op, builder, channel.takeShared(total, split), site.getValue());
    after.base = channel.add(before.base, channel.add(channel.spread(sum, {}, split), bias));
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
  Value total = channel.takeShared(partial, split);
  if (before.pending)
    total = channel.add(channel.takeShared(before.pending, split), total);
  Value sum = channel.add(allReduce(op, builder, total, site.getValue()), channel.takeShared(bias, split));
  Value own = channel.scale(channel.add(partial, bias), policy.getScaleValue());
  after.base = markPrivate(channel.add(before.base, channel.spread(sum, own, split)), site);
  if (before.pending)
    after.pending = channel.clearShared(before.pending, split);
  return after;
}

/// Sums what is pending into base, behind a site: "final" behind the last one. In the split's shared channels nothing
/// is.
void Expander::flush(tp::SyncPointOp op, OpBuilder &builder, Stream &stream, const ChannelSplit &split) {
  ChannelBuilder channel(builder, op.getLoc());
  bool isLast = llvm::none_of(op.getNewBase().getUsers(), llvm::IsaPred<tp::SyncPointOp>);
  std::string name = isLast ? "final" : (op.getSite() + ".flush").str();
  if (split.shared == 0) {
    stream.base = channel.add(stream.base, allReduce(op, builder, stream.pending, name));
  } else {
    Value sum = allReduce(op, builder, channel.takeRest(stream.pending, split), name);
    Value rest = channel.add(channel.takeRest(stream.base, split), sum);
    stream.base = channel.join(channel.takeShared(stream.base, split), rest, split);
  }
  record(name, "flush", split.getRest(), 0, getElementTypeOrSelf(stream.pending.getType()));
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
      before = {op.getBase(), op.getPending(), {}, {}};
    if (!op.getPending())
      before.pending = {};
  }
  Type elementType = getElementTypeOrSelf(op.getPartial().getType());
  int64_t channels = op.getNumChannels();
  tp::PolicyAttr policy = op.getPolicy();
  bool mustFlush = mustBeReplicated(op);
  OpBuilder builder(op);

  // Deferring what has to be summed at once saves nothing: one all-reduce of everything, instead of the policy's and a
  // flush.
  if (mustFlush && policy.isDeferred() && !policy.isExact(channels)) {
    ChannelBuilder channel(builder, op.getLoc());
    record(op.getSite(), describePolicy(policy, channels), 0, channels, elementType);
    Stream after{channel.add(before.base, op.getBias()), channel.add(before.pending, op.getPartial()), op.getSiteAttr(),
                 policy};
    flush(op, builder, after, {channels, 0, {}});
    return after;
  }
  record(op.getSite(), describePolicy(policy, channels), policy.isExact(channels) ? channels : policy.getShared(),
         channels, elementType);
  Stream after = send(op, before);
  if (mustFlush && after.pending)
    flush(op, builder, after, getSplit(op));
  return after;
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
  Value pending = stream.pending;
  if (DenseElementsAttr a = stream.policy.getEstimateScale()) {
    Type elementType = getElementTypeOrSelf(pending.getType());
    pending = onnx::MulOp::create(builder, op.getLoc(), pending.getType(), pending, channel.takeRow(a, elementType));
    pending = channel.add(pending, channel.takeRow(stream.policy.getEstimateOffset(), elementType));
  }
  return markPrivate(channel.add(stream.base, pending), stream.site);
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
  report.append(entries);
}

namespace {
struct ExpandSyncPoints : caat::impl::TPExpandSyncPointsBase<ExpandSyncPoints> {
  void runOnOperation() override {
    SmallVector<Attribute> report;
    for (auto function : getOperation().getOps<func::FuncOp>())
      Expander(function).run(report);
    if (!report.empty())
      getOperation()->setAttr(tp::kSyncAttrName, ArrayAttr::get(&getContext(), report));
  }
};
} // namespace
