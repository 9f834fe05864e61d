// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/AttentionCache.h"
#include "caat/Lower/Conversions.h"
#include "caat/Support/HalfTypes.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace caat::lower {

void setElementType(Value value, Type element) {
  value.setType(cast<RankedTensorType>(value.getType()).clone(element));
}

Value beforeWidening(Value value) {
  auto cast = value.getDefiningOp<onnx::CastOp>();
  return cast && cast.getTo().isF32() && isHalf(cast.getInput().getType()) ? cast.getInput() : Value();
}

void updateType(func::FuncOp function) {
  Block &block = function.getBody().front();
  function.setType(
      FunctionType::get(function.getContext(), block.getArgumentTypes(), block.getTerminator()->getOperandTypes()));
}

/// Follows the elements from one use on: false where something else than an attention reads them.
static bool follow(OpOperand &use, AttentionCache &cache) {
  Operation *user = use.getOwner();
  if (isa<tensor::DimOp, tp::RotateOp, func::ReturnOp>(user)) // tp.rotate only waits for them
    return true;
  if (auto attention = dyn_cast<onnx::AttentionOp>(user)) {
    auto is = [&](MutableOperandRange operand) { return !operand.empty() && &operand[0] == &use; };
    bool isKey = is(attention.getPastKeyMutable()), isValue = is(attention.getPastValueMutable());
    Value present = isKey ? attention.getPresentKey() : attention.getPresentValue();
    if ((!isKey && !isValue) || !present)
      return false;
    cache.appended.push_back(isKey ? &attention.getKMutable() : &attention.getVMutable());
    cache.values.push_back(present);
    return true;
  }
  if (!isa<tensor::CastOp, tensor::ExtractSliceOp, tp::BlockOp, tp::BlocksOp>(user))
    return false;
  if (!llvm::is_contained(cache.values, user->getResult(0)))
    cache.values.push_back(user->getResult(0));
  return true;
}

std::optional<AttentionCache> AttentionCache::find(func::FuncOp function, BlockArgument argument) {
  if (!function.getArgAttr(argument.getArgNumber(), kCacheArgAttr))
    return std::nullopt;
  AttentionCache cache{argument, {argument}, {}};
  for (size_t i = 0; i < cache.values.size(); ++i)
    for (OpOperand &use : cache.values[i].getUses())
      if (!follow(use, cache))
        return std::nullopt;
  auto isOfCache = [&](Value value) { return llvm::is_contained(cache.values, value); };
  for (Value value : cache.values)
    if (auto blocks = value.getDefiningOp<tp::BlocksOp>(); blocks && !llvm::all_of(blocks.getValues(), isOfCache))
      return std::nullopt;
  if (cache.appended.empty())
    return std::nullopt;
  return cache;
}

std::optional<AttentionCache> AttentionCache::find(func::FuncOp function, Value past) {
  auto slice = past.getDefiningOp<tensor::ExtractSliceOp>();
  auto argument = slice ? dyn_cast<BlockArgument>(slice.getSource()) : BlockArgument();
  return argument ? find(function, argument) : std::nullopt;
}

void AttentionCache::setElementType(func::FuncOp function, Type element) {
  Type before = getElementTypeOrSelf(argument);
  for (Value value : values)
    lower::setElementType(value, element);
  auto declare = [&](DictionaryAttr attrs, auto &&set) {
    if (!attrs || !attrs.get(onnx::kDeclaredTypeAttr))
      set(TypeAttr::get(before));
  };
  unsigned number = argument.getArgNumber();
  declare(function.getArgAttrDict(number),
          [&](Attribute type) { function.setArgAttr(number, onnx::kDeclaredTypeAttr, type); });
  for (OpOperand &operand : function.getBody().front().getTerminator()->getOpOperands())
    if (llvm::is_contained(values, operand.get()))
      declare(function.getResultAttrDict(operand.getOperandNumber()), [&](Attribute type) {
        function.setResultAttr(operand.getOperandNumber(), onnx::kDeclaredTypeAttr, type);
      });
}

} // namespace caat::lower
