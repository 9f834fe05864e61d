// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace caat::rt;

#include "dialects/rt/RTDialect.cpp.inc"
#include "dialects/rt/RTEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/rt/RTAttributes.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/rt/RTTypes.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/rt/RTOps.cpp.inc"

void RTDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/rt/RTAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/rt/RTTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/rt/RTOps.cpp.inc"
      >();
}

int64_t RowsAttr::getMappingId() const { return 0; }
bool RowsAttr::isLinearMapping() const { return true; }
int64_t RowsAttr::getRelativeIndex() const { return 0; }

/// Results of a destination-style op: the destination's type where it is a tensor, none where it is a memref.
static void addResults(OperationState &state, Value init) {
  if (isa<RankedTensorType>(init.getType()))
    state.addTypes(init.getType());
}

void WeightOp::build(OpBuilder &builder, OperationState &state, StringRef name, Type type, bool linear, bool transposed,
                     StringAttr group) {
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.type = TypeAttr::get(type);
  properties.linear = linear ? builder.getUnitAttr() : UnitAttr();
  properties.transposed = transposed ? builder.getUnitAttr() : UnitAttr();
  properties.group = group;
  state.addRegion();
}

void LinearOp::build(OpBuilder &builder, OperationState &state, StringRef weight, Value x, Value init, Value shard,
                     bool accumulate) {
  state.addOperands({x, init});
  if (shard)
    state.addOperands(shard);
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.operandSegmentSizes = {1, 1, shard ? 1 : 0, 0};
  if (accumulate)
    properties.accumulate = builder.getUnitAttr();
  properties.weight = FlatSymbolRefAttr::get(builder.getContext(), weight);
  properties.alpha = builder.getF32FloatAttr(1.0f);
  addResults(state, init);
}

void MatmulOp::build(OpBuilder &builder, OperationState &state, Value a, Value b, Value init, bool transposeA,
                     bool transposeB, float alpha, float beta) {
  state.addOperands({a, b, init});
  Properties &properties = state.getOrAddProperties<Properties>();
  if (transposeA)
    properties.transpose_a = builder.getUnitAttr();
  if (transposeB)
    properties.transpose_b = builder.getUnitAttr();
  properties.alpha = builder.getF32FloatAttr(alpha);
  properties.beta = builder.getF32FloatAttr(beta);
  addResults(state, init);
}

Value WeightOp::getYielded() { return cast<YieldOp>(getBody().front().back()).getValue(); }

using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

/// On memrefs: reads the inputs (and the destination, where its old value counts), writes the destination.
static void addEffects(Effects &effects, MutableArrayRef<OpOperand> inputs, OpOperand &init, bool readsInit) {
  if (!isa<BaseMemRefType>(init.get().getType()))
    return;
  for (OpOperand &input : inputs)
    effects.emplace_back(MemoryEffects::Read::get(), &input);
  if (readsInit)
    effects.emplace_back(MemoryEffects::Read::get(), &init);
  effects.emplace_back(MemoryEffects::Write::get(), &init);
}

void LinearOp::getEffects(Effects &effects) {
  addEffects(effects, getOperation()->getOpOperands().take_front(1), getInitMutable(), getAccumulate());
  for (OpOperand &bias : getBiasMutable())
    if (isa<BaseMemRefType>(bias.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &bias);
}

void MatmulOp::getEffects(Effects &effects) {
  addEffects(effects, getOperation()->getOpOperands().take_front(2), getInitMutable(), !getBeta().isZero());
}

void AttentionOp::getEffects(Effects &effects) {
  if (!isa<BaseMemRefType>(getInit().getType()))
    return;
  for (OpOperand &operand : getOperation()->getOpOperands())
    if (isa<BaseMemRefType>(operand.get().getType()) && &operand != &getInitMutable())
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
  effects.emplace_back(MemoryEffects::Write::get(), &getInitMutable());
}

/// Ordered among collectives; the buffer is read and written until the wait.
static void addSumEffects(Effects &effects, OpOperand &buffer) {
  effects.emplace_back(MemoryEffects::Write::get(), caat::tp::NetworkResource::get());
  effects.emplace_back(MemoryEffects::Read::get(), &buffer);
  effects.emplace_back(MemoryEffects::Write::get(), &buffer);
}

void AllReduceStartOp::getEffects(Effects &effects) { addSumEffects(effects, getInputMutable()); }
void AllReduceWaitOp::getEffects(Effects &effects) { addSumEffects(effects, getBufferMutable()); }

Operation *AllReduceStartOp::getEnd() { return getToken().hasOneUse() ? *getToken().user_begin() : nullptr; }
AllReduceStartOp AllReduceWaitOp::getStart() { return getToken().getDefiningOp<AllReduceStartOp>(); }

void SyncPointOp::getEffects(Effects &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), caat::tp::NetworkResource::get());
  for (OpOperand &operand : getOperation()->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    effects.emplace_back(MemoryEffects::Read::get(), &operand);
    if (isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
  }
}

namespace {
/// memref.dim of a buffer is the size that the buffer was given.
struct FoldDimOfBuffer : OpRewritePattern<memref::DimOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(memref::DimOp dim, PatternRewriter &rewriter) const override {
    auto buffer = dim.getSource().getDefiningOp<BufferOp>();
    std::optional<int64_t> index = dim.getConstantIndex();
    if (!buffer || !index)
      return failure();
    auto type = cast<MemRefType>(buffer.getType());
    if (*index < 0 || *index >= type.getRank() || !type.isDynamicDim(*index))
      return failure();
    rewriter.replaceOp(dim, buffer.getSizes()[type.getDynamicDimIndex(*index)]);
    return success();
  }
};
} // namespace

/// What always holds need not be checked.
template <typename OpTy> static LogicalResult eraseWhatHolds(OpTy check, PatternRewriter &rewriter) {
  if (!matchPattern(check.getCondition(), m_One()))
    return failure();
  rewriter.eraseOp(check);
  return success();
}

LogicalResult CheckOp::canonicalize(CheckOp op, PatternRewriter &rewriter) { return eraseWhatHolds(op, rewriter); }

LogicalResult CheckLaterOp::canonicalize(CheckLaterOp op, PatternRewriter &rewriter) {
  return eraseWhatHolds(op, rewriter);
}

void BufferOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FoldDimOfBuffer>(context);
}
