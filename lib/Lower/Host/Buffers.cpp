// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes, buffers, and elements of buffers on the device.
#include "lib/Lower/Host/HostOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace caat::lower {

LogicalResult lower(RuntimeCalls &calls, rt::DimOp op) {
  op.replaceAllUsesWith(calls.loadDim(calls.getArgument(HostArgument::Dims), op.getNameAttr()));
  return success();
}

/// What the host is given at a position of its buffers.
static Value bufferAt(RuntimeCalls &calls, int64_t position) {
  return calls.load(calls.getPointerType(), calls.getArgument(HostArgument::Buffers), position);
}

LogicalResult lower(RuntimeCalls &calls, rt::BufferOp op) {
  auto type = cast<MemRefType>(op.getType());
  Value address = bufferAt(calls, op.getPosition());
  if (op.getBlock()) {
    SmallVector<Value> factors{calls.toI64(op.getBlock())};
    for (int64_t size : type.getShape())
      if (!ShapedType::isDynamic(size))
        factors.push_back(calls.constant(size));
    for (Value size : op.getSizes())
      factors.push_back(calls.toI64(size));
    address = calls.advance(address, calls.convertType(type.getElementType()), calls.product(factors));
  }
  op.replaceAllUsesWith(calls.toMemRef(address, type, op.getSizes()));
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::ParameterOp op) {
  Value address = bufferAt(calls, calls.getPosition(op.getWeight()));
  op.replaceAllUsesWith(calls.toMemRef(address, cast<MemRefType>(op.getType()), {}));
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::WorkspaceOp op) {
  Value size = calls.constant(std::numeric_limits<int64_t>::max());
  op.replaceAllUsesWith(
      calls.toMemRef(calls.getArgument(HostArgument::Workspace), cast<MemRefType>(op.getType()), size));
  return success();
}

LogicalResult lower(RuntimeCalls &calls, rt::CopyOp op) {
  Pieces from = calls.fromMemRef(op.getSource()), to = calls.fromMemRef(op.getTarget());
  int64_t bytes = std::max<int64_t>(1, cast<MemRefType>(op.getTarget().getType()).getElementTypeBitWidth() / 8);
  to.sizes.push_back(calls.constant(bytes));
  calls.call(CAAT_API_copy, {to.pointer, from.pointer, calls.product(to.sizes)});
  return success();
}

namespace {
struct Element {
  Value address, dtype;
};
} // namespace

static FailureOr<Element> elementOf(RuntimeCalls &calls, Operation *op, Value memref, ValueRange indices) {
  OpBuilder &b = calls.getBuilder();
  Type type = cast<MemRefType>(memref.getType()).getElementType();
  if (!dtypeCode(type))
    return op->emitOpError("of an element of type ") << type << " on the device", failure();
  Pieces pieces = calls.fromMemRef(memref);
  Value offset = calls.constant(0);
  for (auto [index, stride] : llvm::zip_equal(indices, pieces.strides)) {
    Value step = LLVM::MulOp::create(b, calls.getLoc(), calls.toI64(index), stride);
    offset = LLVM::AddOp::create(b, calls.getLoc(), offset, step);
  }
  // Bits are stored as bytes.
  Type stored = type.isInteger(1) ? b.getI8Type() : calls.convertType(type);
  return Element{calls.advance(pieces.pointer, stored, offset), calls.dtypeOf(memref)};
}

LogicalResult lower(RuntimeCalls &calls, memref::LoadOp op) {
  FailureOr<Element> element = elementOf(calls, op, op.getMemRef(), op.getIndices());
  if (failed(element))
    return failure();
  OpBuilder &b = calls.getBuilder();
  Value bits = calls.call(CAAT_API_load_element, {element->address, element->dtype}, calls.getI64Type());
  Type type = op.getType();
  if (type.isIndex()) {
    op.replaceAllUsesWith(calls.toIndex(bits));
    return success();
  }
  Type narrow = b.getIntegerType(type.getIntOrFloatBitWidth());
  if (narrow != bits.getType())
    bits = arith::TruncIOp::create(b, calls.getLoc(), narrow, bits);
  if (isa<FloatType>(type))
    bits = arith::BitcastOp::create(b, calls.getLoc(), type, bits);
  else if (type != narrow)
    bits = UnrealizedConversionCastOp::create(b, calls.getLoc(), type, bits).getResult(0);
  op.replaceAllUsesWith(bits);
  return success();
}

LogicalResult lower(RuntimeCalls &calls, memref::StoreOp op) {
  FailureOr<Element> element = elementOf(calls, op, op.getMemRef(), op.getIndices());
  if (failed(element))
    return failure();
  OpBuilder &b = calls.getBuilder();
  Value bits = op.getValueToStore();
  Type type = bits.getType();
  if (type.isIndex()) {
    bits = calls.toI64(bits);
  } else {
    Type narrow = b.getIntegerType(type.getIntOrFloatBitWidth());
    if (isa<FloatType>(type))
      bits = arith::BitcastOp::create(b, calls.getLoc(), narrow, bits);
    else if (type != narrow)
      bits = UnrealizedConversionCastOp::create(b, calls.getLoc(), narrow, bits).getResult(0);
    if (narrow != calls.getI64Type())
      bits = arith::ExtUIOp::create(b, calls.getLoc(), calls.getI64Type(), bits);
  }
  calls.call(CAAT_API_store_element, {element->address, element->dtype, bits});
  return success();
}

} // namespace caat::lower
