// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/rt/RT.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace caat::rt;

namespace {

/// Products and attention: the result is the destination; its old value is read only where it counts.
template <typename OpTy> struct ProductModel : DstBufferizableOpInterfaceExternalModel<ProductModel<OpTy>, OpTy> {
  static bool readsInit(OpTy op) {
    if constexpr (std::is_same_v<OpTy, LinearOp>)
      return op.getAccumulate();
    else if constexpr (std::is_same_v<OpTy, AttentionOp>)
      return false;
    else
      return !op.getBeta().isZero();
  }

  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const bufferization::AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand) || readsInit(cast<OpTy>(op));
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    SmallVector<Value> buffers;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) {
        buffers.push_back(operand);
        continue;
      }
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      buffers.push_back(*buffer);
    }
    OperationState memrefs(op->getLoc(), op->getName(), buffers, TypeRange(), op->getAttrs());
    memrefs.useProperties(cast<OpTy>(op).getProperties());
    rewriter.create(memrefs);
    unsigned init = cast<DestinationStyleOpInterface>(op).getDpsInitOperand(0)->getOperandNumber();
    replaceOpWithBufferizedValues(rewriter, op, buffers[init]);
    return success();
  }
};

/// rt.sync_point: the results are the destinations; base and pending are read where they hold something.
struct SyncPointModel : DstBufferizableOpInterfaceExternalModel<SyncPointModel, SyncPointOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const bufferization::AnalysisState &) const {
    auto site = cast<SyncPointOp>(op);
    if (!site.isDpsInit(&operand))
      return true;
    switch (operand.getOperandNumber() - site.getDpsInitOperand(0)->getOperandNumber()) {
    case SyncPointOp::Base:
      return !site.getStartsBase();
    case SyncPointOp::Pending:
      return !site.getStartsPending();
    default:
      return false;
    }
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto site = cast<SyncPointOp>(op);
    SmallVector<Value> buffers;
    for (Value operand : op->getOperands()) {
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      buffers.push_back(*buffer);
    }
    OperationState memrefs(op->getLoc(), op->getName(), buffers, TypeRange(), op->getAttrs());
    memrefs.useProperties(site.getProperties());
    rewriter.create(memrefs);
    unsigned first = site.getDpsInitOperand(0)->getOperandNumber();
    replaceOpWithBufferizedValues(rewriter, op, ArrayRef(buffers).slice(first, 3));
    return success();
  }
};

/// rt.parameter: a buffer that nobody may write.
struct ParameterModel : BufferizableOpInterface::ExternalModel<ParameterModel, ParameterOp> {
  bool isWritable(Operation *, Value, const bufferization::AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const bufferization::AnalysisState &) const {
    return {};
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &,
                          BufferizationState &) const {
    auto parameter = cast<ParameterOp>(op);
    auto type = cast<RankedTensorType>(parameter.getType());
    Value buffer = ParameterOp::create(rewriter, op->getLoc(), MemRefType::get(type.getShape(), type.getElementType()),
                                       parameter.getWeightAttr(), parameter.getShard());
    replaceOpWithBufferizedValues(rewriter, op, buffer);
    return success();
  }
};

/// rt.check_later: reads.
struct CheckLaterModel : BufferizableOpInterface::ExternalModel<CheckLaterModel, CheckLaterOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const bufferization::AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const bufferization::AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const bufferization::AnalysisState &) const {
    return {};
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto check = cast<CheckLaterOp>(op);
    FailureOr<Value> buffer = getBuffer(rewriter, check.getCondition(), options, state);
    if (failed(buffer))
      return failure();
    replaceOpWithNewBufferizedOp<CheckLaterOp>(rewriter, op, *buffer, check.getMessageAttr());
    return success();
  }
};

} // namespace

void caat::rt::registerBufferizationModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, RTDialect *) {
    LinearOp::attachInterface<ProductModel<LinearOp>>(*context);
    MatmulOp::attachInterface<ProductModel<MatmulOp>>(*context);
    AttentionOp::attachInterface<ProductModel<AttentionOp>>(*context);
    SyncPointOp::attachInterface<SyncPointModel>(*context);
    ParameterOp::attachInterface<ParameterModel>(*context);
    CheckLaterOp::attachInterface<CheckLaterModel>(*context);
  });
}
