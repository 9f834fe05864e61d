// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/Host/RuntimeCalls.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace caat::lower {

ArgumentList::ArgumentList(OpBuilder &b, Location loc, Type element) {
  capacity = LLVM::ConstantOp::create(b, loc, b.getI64Type(), b.getI64IntegerAttr(1));
  list = LLVM::AllocaOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), element, capacity, 8);
}

void ArgumentList::add(OpBuilder &b, Location loc, Value value) {
  if (static_cast<size_t>(size) == places.size()) {
    OpBuilder start(b.getContext());
    start.setInsertionPointAfterValue(places.empty() ? list : places.back());
    places.push_back(LLVM::GEPOp::create(start, list.getLoc(), list.getType(), value.getType(), list,
                                         ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(size)}));
    capacity.setValueAttr(b.getI64IntegerAttr(places.size()));
  }
  LLVM::StoreOp::create(b, loc, value, places[size++]);
}

RuntimeCalls::RuntimeCalls(Program &program, OpBuilder &builder)
    : program(program), b(builder), converter(builder.getContext()), loc(program.host.getLoc()),
      pointer(LLVM::LLVMPointerType::get(builder.getContext())), i64(builder.getI64Type()) {
  for (auto [i, weight] : llvm::enumerate(program.weights))
    weightNumbers[weight.getSymName()] = i;
  for (auto [i, kernel] : llvm::enumerate(program.kernels))
    kernelNumbers[kernel.getSymName()] = i;
  Block &entry = program.host.getBody().front();
  SmallVector<Type> arguments(kHostArguments, pointer);
  for (Type type : arguments)
    entry.addArgument(type, loc);
  program.host.setFunctionType(b.getFunctionType(arguments, {}));
  b.setInsertionPointToStart(&entry);
  buffers.emplace(b, loc, pointer);
  numbers.emplace(b, loc, i64);
}

void RuntimeCalls::setInsertionPoint(Operation *op) {
  b.setInsertionPoint(op);
  loc = op->getLoc();
}

Value RuntimeCalls::constant(int64_t value) {
  return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
}

Value RuntimeCalls::f32(const APFloat &value) {
  return LLVM::ConstantOp::create(b, loc, b.getF32Type(), b.getF32FloatAttr(value.convertToFloat()));
}

Value RuntimeCalls::null() { return LLVM::ZeroOp::create(b, loc, pointer); }

Value RuntimeCalls::toIndex(Value value) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), value); }

Value RuntimeCalls::toI64(Value value) {
  return value.getType() == i64 ? value : arith::IndexCastOp::create(b, loc, i64, value).getResult();
}

Value RuntimeCalls::product(ArrayRef<Value> factors) {
  Value result = constant(1);
  for (Value factor : factors)
    result = LLVM::MulOp::create(b, loc, result, factor);
  return result;
}

Value RuntimeCalls::dtypeOf(Value memref) { return constant(*dtypeCode(getElementTypeOrSelf(memref))); }

Value RuntimeCalls::load(Type type, Value array, int64_t index) {
  Value address =
      LLVM::GEPOp::create(b, loc, pointer, type, array, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(index)});
  return LLVM::LoadOp::create(b, loc, type, address);
}

Value RuntimeCalls::loadDim(Value dims, StringAttr name) {
  auto names = program.dims().getValue();
  return toIndex(load(i64, dims, llvm::find(names, name) - names.begin()));
}

Value RuntimeCalls::advance(Value address, Type type, Value offset) {
  return LLVM::GEPOp::create(b, loc, pointer, type, address, ValueRange(offset));
}

Value RuntimeCalls::toMemRef(Value address, MemRefType type, ValueRange dynamic) {
  auto descriptor = MemRefDescriptor::poison(b, loc, converter.convertType(type));
  descriptor.setAllocatedPtr(b, loc, address);
  descriptor.setAlignedPtr(b, loc, address);
  descriptor.setConstantOffset(b, loc, 0);
  SmallVector<Value> sizes;
  for (int64_t size : type.getShape()) {
    sizes.push_back(ShapedType::isDynamic(size) ? toI64(dynamic.front()) : constant(size));
    if (ShapedType::isDynamic(size))
      dynamic = dynamic.drop_front();
  }
  Value stride = constant(1);
  for (int64_t d = type.getRank(); d-- > 0;) {
    descriptor.setSize(b, loc, d, sizes[d]);
    descriptor.setStride(b, loc, d, stride);
    if (d > 0)
      stride = LLVM::MulOp::create(b, loc, stride, sizes[d]);
  }
  return UnrealizedConversionCastOp::create(b, loc, TypeRange(type), ValueRange(Value(descriptor))).getResult(0);
}

Pieces RuntimeCalls::fromMemRef(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Value cast = UnrealizedConversionCastOp::create(b, loc, TypeRange(convertType(type)), memref).getResult(0);
  MemRefDescriptor descriptor(cast);
  Pieces pieces;
  pieces.pointer =
      advance(descriptor.alignedPtr(b, loc), convertType(type.getElementType()), descriptor.offset(b, loc));
  for (int64_t d = 0; d < type.getRank(); ++d) {
    pieces.sizes.push_back(descriptor.size(b, loc, d));
    pieces.strides.push_back(descriptor.stride(b, loc, d));
  }
  return pieces;
}

Value RuntimeCalls::entryPoint(caat_api_index entry) {
  Value &address = entryPoints[entry];
  if (!address) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&program.host.getBody().front());
    address = load(pointer, getArgument(HostArgument::Api), entry);
  }
  return address;
}

Value RuntimeCalls::call(caat_api_index entry, ArrayRef<Value> arguments, Type result) {
  SmallVector<Value> operands{entryPoint(entry), getArgument(HostArgument::Context)};
  llvm::append_range(operands, arguments);
  SmallVector<Type> types(llvm::drop_begin(ValueRange(operands).getTypes()));
  auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()), types);
  auto op = LLVM::CallOp::create(b, loc, type, operands);
  return result ? op.getResult() : Value();
}

void RuntimeCalls::clearLists() {
  buffers->clear();
  numbers->clear();
}

} // namespace caat::lower
