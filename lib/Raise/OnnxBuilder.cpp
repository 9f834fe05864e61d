// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "OnnxBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace caat {

Value OnnxBuilder::learn(Value result) {
  Operation *op = result.getDefiningOp();
  shapes.visit(op);
  for (Value value : op->getResults())
    if (isa<TensorType>(value.getType()))
      value.setType(shapes.refinedType(value));
  return result;
}

Value OnnxBuilder::ints(ArrayRef<int64_t> values) { return learn(onnx::createInts(*this, location, values)); }

Value OnnxBuilder::scalar(double value, Type elementType) {
  auto type = RankedTensorType::get({}, elementType);
  DenseElementsAttr elements;
  if (auto floatType = dyn_cast<FloatType>(elementType))
    elements = DenseElementsAttr::get(type, static_cast<Attribute>(FloatAttr::get(floatType, value)));
  else
    elements = DenseElementsAttr::get(
        type, static_cast<Attribute>(IntegerAttr::get(elementType, static_cast<int64_t>(value))));
  return learn(onnx::ConstantOp::create(*this, location, elements));
}

Value OnnxBuilder::transpose(Value x, ArrayRef<int64_t> perm) {
  return make<onnx::TransposeOp>(x, getDenseI64ArrayAttr(perm));
}

Value OnnxBuilder::reshape(Value x, ArrayRef<int64_t> shape) { return make<onnx::ReshapeOp>(x, ints(shape)); }

Value OnnxBuilder::unsqueeze(Value x, ArrayRef<int64_t> axes) { return make<onnx::UnsqueezeOp>(x, ints(axes)); }

Value OnnxBuilder::slice(Value x, int64_t axis, int64_t start, int64_t end) {
  return make<onnx::SliceOp>(x, ints({start}), ints({end}), ints({axis}), Value());
}

SmallVector<Value> OnnxBuilder::split(Value x, int64_t axis, ArrayRef<int64_t> sizes) {
  SmallVector<Type> types(sizes.size(), UnrankedTensorType::get(getElementTypeOrSelf(x)));
  auto op = onnx::SplitOp::create(*this, location, types, x, ints(sizes), axis, IntegerAttr());
  learn(op->getResult(0));
  return SmallVector<Value>(op.getOutputs());
}

Value OnnxBuilder::concat(ArrayRef<Value> parts, int64_t axis) {
  auto type = UnrankedTensorType::get(getElementTypeOrSelf(parts.front()));
  return learn(onnx::ConcatOp::create(*this, location, type, parts, axis).getConcatResult());
}

Value OnnxBuilder::sizeScalar(AffineExpr size) {
  auto type = RankedTensorType::get({}, getI64Type());
  if (auto number = constantDim(size))
    return scalar(*number, getI64Type());
  Value index = size ? shapes.materialize(*this, location, size) : Value();
  if (!index)
    return {};
  Value element = arith::IndexCastOp::create(*this, location, getI64Type(), index);
  return learn(tensor::FromElementsOp::create(*this, location, type, element));
}

Value OnnxBuilder::sizeVector(ArrayRef<AffineExpr> sizes) {
  SmallVector<int64_t> constants;
  for (AffineExpr size : sizes)
    if (auto number = constantDim(size))
      constants.push_back(*number);
  if (constants.size() == sizes.size())
    return ints(constants);
  SmallVector<Value> elements;
  for (AffineExpr size : sizes) {
    Value index = size ? shapes.materialize(*this, location, size) : Value();
    if (!index)
      return {};
    elements.push_back(arith::IndexCastOp::create(*this, location, getI64Type(), index));
  }
  auto type = RankedTensorType::get({static_cast<int64_t>(sizes.size())}, getI64Type());
  return learn(tensor::FromElementsOp::create(*this, location, type, elements));
}

onnx::AttentionOp OnnxBuilder::attention(const AttentionForm &form) {
  Type type = UnrankedTensorType::get(getElementTypeOrSelf(form.q));
  Type presentType = form.pastKey ? type : Type();
  auto op = onnx::AttentionOp::create(
      *this, location, type, presentType, presentType, Type(), form.q, form.k, form.v, form.mask, form.pastKey,
      form.pastValue, form.lengths, getI64IntegerAttr(form.causal), IntegerAttr(), IntegerAttr(),
      form.scale != 0 ? getF32FloatAttr(form.scale) : FloatAttr(), getF32FloatAttr(form.softcap), IntegerAttr(),
      getI64IntegerAttr(0), getI64IntegerAttr(form.left), getI64IntegerAttr(form.right));
  learn(op.getY());
  return op;
}

Value OnnxBuilder::splitHeads(Value x, int64_t heads, int64_t headSize) {
  return transpose(reshape(x, {0, 0, heads, headSize}), {0, 2, 1, 3});
}

Value OnnxBuilder::joinHeads(Value x, int64_t width) { return reshape(transpose(x, {0, 2, 1, 3}), {0, 0, width}); }

void rewriteInOrder(func::FuncOp function, llvm::function_ref<void(Operation *, OnnxBuilder &)> rewrite) {
  if (function.isExternal())
    return;
  SymbolicShapes shapes(function.getOperation());
  Block &body = function.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(body)) {
    OnnxBuilder builder(&op, shapes);
    rewrite(&op, builder);
  }
  eraseDeadOps(body);
}

bool rewriteInOrder(func::FuncOp function, llvm::function_ref<bool(Operation *)> isCandidate,
                    llvm::function_ref<void(Operation *, OnnxBuilder &)> rewrite) {
  if (function.isExternal() ||
      llvm::none_of(function.getBody().front(), [&](Operation &op) { return isCandidate(&op); }))
    return false;
  rewriteInOrder(function, rewrite);
  return true;
}

void eraseDeadOps(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (op.use_empty() && !op.hasTrait<OpTrait::IsTerminator>() && (isMemoryEffectFree(&op) || isa<onnx::CustomOp>(op)))
      op.erase();
}

void remarkPassed(Operation *op, StringRef name, const Twine &message) {
  remark::passed(op->getLoc(), remark::RemarkOpts::name(name).category("caat")) << message.str();
}

bool wantsRemarks(Operation *op) { return op->getContext()->getRemarkEngine() != nullptr; }

void remarkMissed(Operation *op, StringRef name, const Twine &reason) {
  remark::missed(op->getLoc(), remark::RemarkOpts::name(name).category("caat")) << remark::reason("{0}", reason.str());
}

} // namespace caat
