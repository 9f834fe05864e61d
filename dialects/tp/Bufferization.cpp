// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Collectives from tensors to buffers.
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace caat::tp;

namespace {
using mlir::bufferization::AnalysisState; // not the data-flow framework's

/// all_reduce and broadcast: the result is the operand's buffer.
template <typename OpTy> struct InPlaceModel : BufferizableOpInterface::ExternalModel<InPlaceModel<OpTy>, OpTy> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  AliasingValueList getAliasingValues(Operation *op, OpOperand &, const AnalysisState &) const {
    if (op->getNumResults() == 0)
      return {};
    return {{op->getResult(0), BufferRelation::Equivalent}};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    FailureOr<Value> buffer = getBuffer(rewriter, cast<OpTy>(op).getInput(), options, state);
    if (failed(buffer))
      return failure();
    OpTy::create(rewriter, op->getLoc(), TypeRange{}, ValueRange{*buffer}, op->getAttrs());
    replaceOpWithBufferizedValues(rewriter, op, {*buffer});
    return success();
  }
};

/// tp.quantized_all_reduce: the sum is the operand's buffer; the error has one of its own where somebody reads it.
struct QuantizedModel : BufferizableOpInterface::ExternalModel<QuantizedModel, QuantizedAllReduceOp> {
  bool bufferizesToAllocation(Operation *, Value value) const { return cast<OpResult>(value).getResultNumber() == 1; }
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  AliasingValueList getAliasingValues(Operation *op, OpOperand &, const AnalysisState &) const {
    if (op->getNumResults() == 0)
      return {};
    return {{op->getResult(0), BufferRelation::Equivalent}};
  }
  FailureOr<BufferLikeType> getBufferType(Operation *op, Value value, const BufferizationOptions &options,
                                          const BufferizationState &state, SmallVector<Value> &invocationStack) const {
    if (cast<OpResult>(value).getResultNumber() == 0)
      return bufferization::getBufferType(cast<QuantizedAllReduceOp>(op).getInput(), options, state, invocationStack);
    return cast<BufferLikeType>(getMemRefTypeWithStaticIdentityLayout(cast<TensorType>(value.getType())));
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto reduce = cast<QuantizedAllReduceOp>(op);
    FailureOr<Value> buffer = getBuffer(rewriter, reduce.getInput(), options, state);
    if (failed(buffer))
      return failure();
    SmallVector<Value> operands = {*buffer};
    bool readsError = !op->getResult(1).use_empty();
    if (readsError) {
      auto type = cast<MemRefType>(getMemRefTypeWithStaticIdentityLayout(cast<TensorType>(op->getResult(1).getType())));
      SmallVector<Value> extents;
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (type.isDynamicDim(dim))
          extents.push_back(memref::DimOp::create(rewriter, op->getLoc(), *buffer, dim));
      FailureOr<Value> error = options.createAlloc(rewriter, op->getLoc(), type, extents);
      if (failed(error))
        return failure();
      operands.push_back(*error);
    }
    QuantizedAllReduceOp::create(rewriter, op->getLoc(), TypeRange{}, operands, op->getAttrs());
    // Nobody reads the second value where there is no buffer for it.
    replaceOpWithBufferizedValues(rewriter, op, {*buffer, operands.back()});
    return success();
  }
};

/// The extent of the result's dimension `dim`, from the buffer of the operand.
Value getExtent(CollectiveOpInterface op, OpBuilder &builder, Value input, int64_t dim) {
  Location loc = op.getLoc();
  Value extent = memref::DimOp::create(builder, loc, input, dim);
  auto gather = dyn_cast<AllGatherOp>(op.getOperation());
  auto scatter = dyn_cast<ReduceScatterOp>(op.getOperation());
  bool scales = (gather && int64_t(gather.getDim()) == dim) || (scatter && int64_t(scatter.getDim()) == dim);
  if (!scales)
    return extent;
  Value ranks = arith::ConstantIndexOp::create(builder, loc, op.getGroupSize());
  if (gather)
    return arith::MulIOp::create(builder, loc, extent, ranks);
  return arith::DivUIOp::create(builder, loc, extent, ranks);
}

/// The others write a buffer of their own.
template <typename OpTy> struct OutModel : BufferizableOpInterface::ExternalModel<OutModel<OpTy>, OpTy> {
  bool bufferizesToAllocation(Operation *, Value) const { return true; }
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const AnalysisState &) const { return {}; }
  FailureOr<BufferLikeType> getBufferType(Operation *, Value value, const BufferizationOptions &,
                                          const BufferizationState &, SmallVector<Value> &) const {
    return cast<BufferLikeType>(getMemRefTypeWithStaticIdentityLayout(cast<TensorType>(value.getType())));
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto collective = cast<OpTy>(op);
    FailureOr<Value> input = getBuffer(rewriter, collective.getInput(), options, state);
    if (failed(input))
      return failure();
    auto type = cast<MemRefType>(getMemRefTypeWithStaticIdentityLayout(cast<TensorType>(op->getResult(0).getType())));
    SmallVector<Value> extents;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim))
        extents.push_back(getExtent(cast<CollectiveOpInterface>(op), rewriter, *input, dim));
    FailureOr<Value> out = options.createAlloc(rewriter, op->getLoc(), type, extents);
    if (failed(out))
      return failure();
    OpTy::create(rewriter, op->getLoc(), TypeRange{}, ValueRange{*input, *out}, op->getAttrs());
    replaceOpWithBufferizedValues(rewriter, op, {*out});
    return success();
  }
};

/// tp.rotate: only the order counts.
struct RotateModel : BufferizableOpInterface::ExternalModel<RotateModel, RotateOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const AnalysisState &) const { return true; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const AnalysisState &) const { return false; }
  AliasingValueList getAliasingValues(Operation *, OpOperand &, const AnalysisState &) const { return {}; }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &,
                          BufferizationState &) const {
    auto rotate = cast<RotateOp>(op);
    rotate.getAfterMutable().clear();
    return success();
  }
};

} // namespace

void caat::tp::registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, TPDialect *) {
    AllReduceOp::attachInterface<InPlaceModel<AllReduceOp>>(*context);
    QuantizedAllReduceOp::attachInterface<QuantizedModel>(*context);
    BroadcastOp::attachInterface<InPlaceModel<BroadcastOp>>(*context);
    PermuteOp::attachInterface<OutModel<PermuteOp>>(*context);
    AllGatherOp::attachInterface<OutModel<AllGatherOp>>(*context);
    ReduceScatterOp::attachInterface<OutModel<ReduceScatterOp>>(*context);
    AllToAllOp::attachInterface<OutModel<AllToAllOp>>(*context);
    RotateOp::attachInterface<RotateModel>(*context);
  });
}
