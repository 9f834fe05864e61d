// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-form-sync-points: residual + (all_reduce(partial) + bias) -> tp.sync_point.
#include "WeightExpressions.h"
#include "caat/Sync/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

namespace caat {
#define GEN_PASS_DEF_TPFORMSYNCPOINTS
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

namespace {

/// How an all-reduce joins the stream.
struct Join {
  tp::AllReduceOp reduce;
  /// Linear ops between the reduction and the sum (reshapes, constant factors of the whole or of each channel), which
  /// move in front of the reduction.
  SmallVector<Operation *> chain;
  /// Added after the reduction; null for none.
  Value bias;
  /// The stream before the site; null where a norm reads the reduction's result.
  Value residual;
  /// What the site replaces.
  Value sum;
};

enum class Kind { Attention, Mlp, Block };

class Former {
public:
  explicit Former(func::FuncOp function) : function(function) {}
  void run();

private:
  std::optional<Join> match(tp::AllReduceOp reduce, std::string &reason);
  bool isChannelWeight(Value value, int64_t channels);
  bool isFactor(Value value, int64_t channels);
  void form(const Join &join);
  Kind classify(Value partial);
  std::string nextName(Kind kind);
  void markNotDeferrable();

  func::FuncOp function;
  WeightExpressions weights;
  SmallVector<tp::SyncPointOp> sites;
  int64_t layer = -1;
  std::optional<Kind> last;
};

} // namespace

static bool isNorm(Operation *op) { return isa<onnx::RMSNormalizationOp, onnx::LayerNormalizationOp>(op); }

static bool isAttention(Operation *op) {
  if (auto custom = dyn_cast<onnx::CustomOp>(op))
    return custom.getOpType().contains("Attention");
  return isa<onnx::AttentionOp, onnx::SoftmaxOp>(op);
}

/// True where `value` is a product with a weight, perhaps reshaped, scaled or added to another: an embedding's lookup,
/// which is reduced too, is not.
static bool isProduct(Value value) {
  SmallVector<Value> worklist = {value};
  llvm::SmallPtrSet<Operation *, 16> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    if (isa<onnx::MatMulOp, onnx::GemmOp, onnx::ConvOp, onnx::EinsumOp>(op))
      return true;
    if (isa<onnx::ReshapeOp, onnx::TransposeOp, onnx::CastOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::ReduceSumOp,
            onnx::ReduceMeanOp>(op))
      worklist.push_back(op->getOperand(0));
    if (isa<onnx::AddOp, onnx::MulOp, onnx::DivOp>(op))
      llvm::append_range(worklist, op->getOperands());
  }
  return false;
}

static int64_t getChannels(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 ? type.getShape().back() : ShapedType::kDynamic;
}

/// True where `op` gives the stream or what a module reads of it: a norm or a residual sum of all channels. Modules
/// that are not split join the stream without a site.
static bool isStream(Operation *op, int64_t channels) {
  if (isa<tp::ReadStreamOp, tp::SyncPointOp>(op))
    return true;
  if (op->getNumResults() == 0 || getChannels(op->getResult(0)) != channels)
    return false;
  auto isWhole = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.getRank() > 1 && type.getShape().back() == channels;
  };
  return isNorm(op) || (isa<onnx::AddOp>(op) && llvm::all_of(op->getOperands(), isWhole));
}

/// True where `value`, of `channels` channels, depends on an attention that reads the same stream.
static bool dependsOnAttention(Value value, int64_t channels) {
  SmallVector<Value> worklist = {value};
  llvm::SmallPtrSet<Operation *, 32> seen;
  while (!worklist.empty()) {
    Value next = worklist.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!op || !seen.insert(op).second || (next != value && isStream(op, channels)))
      continue;
    if (isAttention(op))
      return true;
    llvm::append_range(worklist, op->getOperands());
  }
  return false;
}

/// The norm of the stream `residual` that `partial` is computed from; the first where there are several (attention and
/// MLP in parallel), null where there is none.
static Value findInput(Value residual, Value partial) {
  Operation *norm = nullptr;
  SmallVector<Value> worklist = {partial};
  llvm::SmallPtrSet<Operation *, 32> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second || op == residual.getDefiningOp() || isa<tp::ReadStreamOp, tp::SyncPointOp>(op))
      continue;
    if (isNorm(op) && op->getOperand(0) == residual) {
      if (op->getResult(0).getType() == partial.getType() && (!norm || op->isBeforeInBlock(norm)))
        norm = op;
      continue;
    }
    llvm::append_range(worklist, op->getOperands());
  }
  return norm ? norm->getResult(0) : Value();
}

/// A bias, or the factors of a layer scale.
bool Former::isChannelWeight(Value value, int64_t channels) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.getShape().back() == channels &&
         llvm::all_of(type.getShape().drop_back(), [](int64_t extent) { return extent == 1; }) &&
         weights.contains(value);
}

bool Former::isFactor(Value value, int64_t channels) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  bool isScalar = type && type.hasStaticShape() && type.getNumElements() == 1 && weights.contains(value);
  return isScalar || isChannelWeight(value, channels);
}

std::optional<Join> Former::match(tp::AllReduceOp reduce, std::string &reason) {
  Join join{reduce, {}, {}, {}, {}};
  auto fail = [&](const Twine &why) {
    reason = why.str();
    return std::nullopt;
  };
  Value value = reduce.getResult();
  int64_t channels = getChannels(value);
  if (ShapedType::isDynamic(channels) || !isProduct(reduce.getInput()))
    return fail("what it sums is no product of known width");
  while (true) {
    if (llvm::all_of(value.getUsers(), isNorm) && !value.use_empty()) {
      join.sum = value; // the norm, not the stream, reads the sum
      return join;
    }
    if (!value.hasOneUse())
      return fail("its result is read in several places before it joins the stream");
    Operation *user = *value.user_begin();
    Value result = user->getNumResults() == 1 ? user->getResult(0) : Value();
    StringRef userName = user->getName().getStringRef();
    if (!result || getChannels(result) != channels)
      return fail(userName + " reads its result, not the stream");
    if (isa<onnx::ReshapeOp, onnx::SqueezeOp, onnx::UnsqueezeOp>(user) && user->getOperand(0) == value) {
      join.chain.push_back(user);
    } else if (isa<onnx::MulOp, onnx::DivOp, onnx::AddOp>(user)) {
      bool isFirst = user->getOperand(0) == value;
      Value other = user->getOperand(isFirst ? 1 : 0);
      if (result.getType() != value.getType())
        return fail(userName + " broadcasts its result");
      if (!isa<onnx::AddOp>(user)) {
        if (!isFactor(other, channels) || (isa<onnx::DivOp>(user) && !isFirst))
          return fail(userName + " by more than a constant stands behind it");
        join.chain.push_back(user);
      } else if (!join.bias && isChannelWeight(other, channels)) {
        join.bias = other;
        join.chain.push_back(user); // its place among the factors matters
      } else if (other.getType() == value.getType() && other != value) {
        join.residual = other;
        join.sum = result;
        break;
      } else {
        return fail("it is added to a value of another shape");
      }
    } else {
      return fail(userName + " stands between it and the stream");
    }
    value = result;
  }
  // (residual + all_reduce) + bias
  if (!join.bias && join.sum.hasOneUse())
    if (auto add = dyn_cast<onnx::AddOp>(*join.sum.user_begin()); add && add.getType() == join.sum.getType()) {
      Value other = add.getA() == join.sum ? add.getB() : add.getA();
      if (isChannelWeight(other, channels)) {
        join.bias = other;
        join.sum = add.getResult();
      }
    }
  return join;
}

/// The type of `bias` times or divided by `factor`: all extents but the channels are 1.
static Type scaledBiasType(Value bias, Value factor) {
  auto type = cast<RankedTensorType>(bias.getType());
  SmallVector<int64_t> shape(std::max(type.getRank(), cast<RankedTensorType>(factor.getType()).getRank()), 1);
  shape.back() = type.getShape().back();
  return type.clone(shape);
}

Kind Former::classify(Value partial) {
  int64_t channels = getChannels(partial);
  if (auto add = partial.getDefiningOp<onnx::AddOp>()) {
    bool a = dependsOnAttention(add.getA(), channels), b = dependsOnAttention(add.getB(), channels);
    if (a != b)
      return Kind::Block;
  }
  return dependsOnAttention(partial, channels) ? Kind::Attention : Kind::Mlp;
}

std::string Former::nextName(Kind kind) {
  bool opensLayer = kind != Kind::Mlp || last != Kind::Attention;
  if (opensLayer)
    ++layer;
  last = kind;
  StringRef suffix = kind == Kind::Attention ? "attn" : kind == Kind::Mlp ? "mlp" : "block";
  return llvm::formatv("layers.{0}.{1}", layer, suffix).str();
}

void Former::form(const Join &join) {
  tp::AllReduceOp reduce = join.reduce;
  OpBuilder builder(join.sum.getDefiningOp());
  builder.setInsertionPointAfter(join.sum.getDefiningOp());
  Location loc = join.sum.getLoc();

  // all_reduce(P) * c + b = all_reduce(P * c) + b, channel by channel, and the same for reshapes; a factor behind the
  // bias applies to it too.
  Value partial = reduce.getInput(), bias;
  int64_t channels = getChannels(partial);
  for (Operation *op : join.chain) {
    if (isa<onnx::AddOp>(op)) {
      bias = join.bias;
      continue;
    }
    auto cloneOn = [&](Value value, Type type) {
      Operation *clone = builder.clone(*op);
      for (OpOperand &operand : clone->getOpOperands()) {
        bool isData =
            isa<onnx::MulOp, onnx::DivOp>(op) ? !isFactor(operand.get(), channels) : operand.getOperandNumber() == 0;
        if (isData)
          operand.set(value);
      }
      clone->getResult(0).setType(type);
      return clone->getResult(0);
    };
    partial = cloneOn(partial, op->getResult(0).getType());
    if (!bias || !isa<onnx::MulOp, onnx::DivOp>(op))
      continue;
    auto factor = llvm::find_if(op->getOperands(), [&](Value operand) { return isFactor(operand, channels); });
    bias = cloneOn(bias, scaledBiasType(bias, *factor));
  }
  if (!bias)
    bias = join.bias;

  std::string name = nextName(classify(reduce.getInput()));
  Value base = join.residual, pending;
  if (base)
    if (auto read = base.getDefiningOp<tp::ReadStreamOp>()) {
      pending = read.getPending();
      base = read.getBase();
    }
  Type type = join.sum.getType();
  Value input = join.residual ? findInput(join.residual, partial) : Value();
  StringAttr reason;
  if (!base)
    reason = builder.getStringAttr("its partial sum is normalised before it joins the stream");
  auto site = tp::SyncPointOp::create(builder, loc, type, type, base, pending, partial, input, bias,
                                      reduce.getMeshAttr(), reduce.getAxesAttr(), builder.getStringAttr(name),
                                      tp::PolicyAttr::getFull(builder.getContext()), reason, /*switchable=*/UnitAttr(),
                                      /*flushes=*/UnitAttr(), /*not_private=*/StringAttr());
  auto read = tp::ReadStreamOp::create(builder, loc, type, site.getNewBase(), site.getNewPending());
  Value(join.sum).replaceAllUsesWith(read.getResult());
  sites.push_back(site);

  // What the site replaces, from the sum back to the reduction.
  SmallVector<Operation *> dead = {join.sum.getDefiningOp()};
  while (!dead.empty()) {
    Operation *op = dead.pop_back_val();
    if (!op->use_empty() || !isa<onnx::AddOp, onnx::MulOp, onnx::DivOp, onnx::ReshapeOp, onnx::SqueezeOp,
                                 onnx::UnsqueezeOp, tp::AllReduceOp, tp::ReadStreamOp>(op))
      continue;
    bool isReduce = op == reduce.getOperation();
    SmallVector<Value> operands(op->getOperands());
    weights.forget(op);
    op->erase();
    if (isReduce)
      continue;
    for (Value operand : operands)
      if (Operation *producer = operand.getDefiningOp())
        if (!llvm::is_contained(dead, producer))
          dead.push_back(producer);
  }
}

/// True where `base` is `read` plus what modules add that every rank computes whole.
static bool isAddedTo(Value base, Value read, unsigned depth = 8) {
  if (base == read)
    return true;
  auto add = base.getDefiningOp<onnx::AddOp>();
  return add && depth > 0 && (isAddedTo(add.getA(), read, depth - 1) || isAddedTo(add.getB(), read, depth - 1));
}

/// A sum that reaches the base of a later site through anything but the chain of sites is changed before it is the
/// stream again: what is pending there could not be summed later.
void Former::markNotDeferrable() {
  for (tp::SyncPointOp site : sites) {
    if (site.getNotDeferrable())
      continue;
    SmallVector<Operation *> worklist;
    for (Operation *user : site.getNewBase().getUsers())
      if (isa<tp::ReadStreamOp>(user))
        worklist.push_back(user);
    llvm::SmallPtrSet<Operation *, 32> seen;
    while (!worklist.empty()) {
      Operation *op = worklist.pop_back_val();
      if (!seen.insert(op).second)
        continue;
      for (OpOperand &use : op->getUses()) {
        auto next = dyn_cast<tp::SyncPointOp>(use.getOwner());
        if (!next) {
          worklist.push_back(use.getOwner());
        } else if (use.get() == next.getBase()) {
          bool whole = llvm::any_of(site.getNewBase().getUsers(), [&](Operation *user) {
            return isa<tp::ReadStreamOp>(user) && isAddedTo(use.get(), user->getResult(0));
          });
          site.setNotDeferrable(whole ? "a module that is not split reads its sum and adds to the stream"
                                      : "its sum is normalised before it becomes the stream");
          worklist.clear();
          break;
        }
      }
    }
  }
}

void Former::run() {
  SmallVector<tp::AllReduceOp> reduces;
  function.walk([&](tp::AllReduceOp op) {
    // The vocabulary's collectives are named by partitioning and never join the stream.
    if (op.hasTensorForm() && op.getSite() != "embed" && op.getSite() != "logits")
      reduces.push_back(op);
  });
  llvm::DenseMap<Operation *, std::string> reasons;
  for (tp::AllReduceOp reduce : reduces) {
    std::string reason;
    if (std::optional<Join> join = match(reduce, reason))
      form(*join);
    else
      reasons[reduce] = reason;
  }
  markNotDeferrable();
  for (tp::SyncPointOp site : sites)
    remark::analysis(site.getLoc(), remark::RemarkOpts::name("sync-point").category("caat"))
        << llvm::formatv("site {0}{1}", site.getSite(),
                         site.getNotDeferrable() ? ", full or private only: " + site.getNotDeferrable()->str() : "")
               .str();
  // Partitioning's own names give way to those of sites.
  llvm::StringSet<> names;
  for (tp::SyncPointOp site : sites)
    names.insert(site.getSite());
  int64_t unnamed = 0;
  function.walk([&](tp::CollectiveOpInterface op) {
    if (!op.getSiteAttr() || !names.insert(op.getSiteAttr().getValue()).second)
      op.setSiteAttr(StringAttr::get(op->getContext(), llvm::formatv("reduce.{0}", unnamed++).str()));
    if (auto reason = reasons.find(op); reason != reasons.end())
      remark::missed(op.getLoc(), remark::RemarkOpts::name("no-sync-point").category("caat"))
          << llvm::formatv("{0} {1} does not join the residual stream and stays as it is: {2}", op->getName(),
                           op.getSiteName(), reason->second)
                 .str();
  });
}

namespace {
struct FormSyncPoints : caat::impl::TPFormSyncPointsBase<FormSyncPoints> {
  void runOnOperation() override { Former(getOperation()).run(); }
};
} // namespace
