// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTFORMCACHESPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// What appends to a cache: the grown value, the new positions, and its position among the function's results.
struct Append {
  Operation *op;
  Value present;
  Value fresh;
  unsigned result;
};

/// The op that appends to `past`, if there is one and all other uses of `past` only ask for its dimensions.
static std::optional<Append> findAppend(BlockArgument past, func::ReturnOp ret) {
  Append append{};
  for (OpOperand &use : past.getUses()) {
    Operation *user = use.getOwner();
    if (isa<tensor::DimOp>(user))
      continue;
    if (append.op)
      return std::nullopt;
    append.op = user;
    if (auto attention = dyn_cast<onnx::AttentionOp>(user)) {
      bool isKey = attention.getPastKey() == past;
      if (!isKey && attention.getPastValue() != past)
        return std::nullopt; // a mask
      append.present = isKey ? attention.getPresentKey() : attention.getPresentValue();
      append.fresh = isKey ? attention.getK() : attention.getV();
    } else if (auto concat = dyn_cast<onnx::ConcatOp>(user)) {
      if (concat.getInputs().size() != 2 || concat.getInputs()[0] != past ||
          onnx::normalizeAxis(concat.getAxis(), /*rank=*/4) != 2)
        return std::nullopt;
      append.present = concat.getResult();
      append.fresh = concat.getInputs()[1];
    } else {
      return std::nullopt;
    }
  }
  if (!append.op || !append.present)
    return std::nullopt;
  auto operand = llvm::find(ret.getOperands(), append.present);
  if (operand == ret.getOperands().end())
    return std::nullopt;
  append.result = operand.getIndex();
  return append;
}

static void formCache(func::FuncOp func, BlockArgument past, const Append &append, ArrayAttr dims) {
  OpBuilder builder(&func.getBody().front(), func.getBody().front().begin());
  Location loc = past.getLoc();
  unsigned index = past.getArgNumber();

  // Heads and head size are static where the new keys' are.
  auto fresh = cast<RankedTensorType>(append.fresh.getType());
  SmallVector<int64_t> shape(cast<RankedTensorType>(past.getType()).getShape());
  SmallVector<Attribute> names(dims.getValue());
  for (unsigned d : {1u, 3u})
    if (ShapedType::isDynamic(shape[d]) && !fresh.isDynamicDim(d)) {
      shape[d] = fresh.getDimSize(d);
      names[d] = builder.getStringAttr("");
    }
  Value length = rt::DimOp::create(builder, loc, cast<StringAttr>(dims[2]));
  SmallVector<OpFoldResult> sizes;
  for (unsigned d = 0; d < 4; ++d) {
    if (d == 2)
      sizes.push_back(length);
    else if (ShapedType::isDynamic(shape[d]))
      sizes.push_back(rt::DimOp::create(builder, loc, cast<StringAttr>(names[d])).getResult());
    else
      sizes.push_back(builder.getIndexAttr(shape[d]));
  }
  names[2] = builder.getStringAttr("max_length");
  shape[2] = ShapedType::kDynamic;

  auto cacheType = RankedTensorType::get(shape, fresh.getElementType());
  auto pastType = cast<RankedTensorType>(past.getType());
  past.setType(cacheType);
  SmallVector<OpFoldResult> zeros(4, builder.getIndexAttr(0)), ones(4, builder.getIndexAttr(1));
  auto slice = tensor::ExtractSliceOp::create(builder, loc, cacheType, past, zeros, sizes, ones);
  Value value = slice;
  if (pastType != cacheType)
    value = tensor::CastOp::create(builder, loc, pastType, slice);
  past.replaceUsesWithIf(value, [&](OpOperand &use) { return use.getOwner() != slice; });

  // The conversion of Attention looks for the slice itself.
  append.op->replaceUsesOfWith(value, slice);
  auto presentName = func.getResultAttrOfType<StringAttr>(append.result, "onnx.name");
  func.setArgAttr(index, "onnx.dims", builder.getArrayAttr(names));
  func.setArgAttr(index, kCacheArgAttr, presentName ? presentName : builder.getStringAttr(""));
  func.setArgAttr(index, "rt.past_length", dims[2]);
  func.setResultAttr(append.result, kCacheArgAttr, builder.getI64IntegerAttr(index));
}

namespace {
struct FormCachesPass : caat::impl::RTFormCachesPassBase<FormCachesPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isExternal() || !func.getBody().hasOneBlock())
      return;
    auto ret = cast<func::ReturnOp>(func.getBody().front().getTerminator());
    for (BlockArgument arg : func.getArguments()) {
      auto type = dyn_cast<RankedTensorType>(arg.getType());
      auto dims = func.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "onnx.dims");
      if (func.getArgAttr(arg.getArgNumber(), kCacheArgAttr))
        continue; // formed before
      if (!type || type.getRank() != 4 || !dims || dims.size() != 4 || !type.isDynamicDim(2) ||
          cast<StringAttr>(dims[2]).getValue().empty())
        continue;
      auto opts = remark::RemarkOpts::name("form-caches").category("caat");
      auto nameAttr = func.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
      std::string name = "'" + (nameAttr ? nameAttr.str() : "") + "'";
      std::optional<Append> append = findAppend(arg, ret);
      if (!append) {
        remark::missed(arg.getLoc(), opts) << name + " is no cache: not appended to by one op whose result is returned";
        continue;
      }
      formCache(func, arg, *append, dims);
      remark::passed(arg.getLoc(), opts) << name + " is a cache, written in place";
    }
    SmallVector<Type> inputs(func.getBody().getArgumentTypes());
    func.setFunctionType(FunctionType::get(&getContext(), inputs, func.getResultTypes()));
  }
};
} // namespace
