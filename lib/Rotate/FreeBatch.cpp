// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Rotate/Passes.h"
#include "mlir/IR/Matchers.h"

namespace caat {
#define GEN_PASS_DEF_TPFREEBATCH
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

struct FreeBatch : caat::impl::TPFreeBatchBase<FreeBatch> {
  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main || main.isExternal() || main.getNumArguments() == 0 || !main.getBody().hasOneBlock())
      return;
    int64_t batch = findBatch(main);
    if (batch < 1)
      return;
    BlockArgument samples; // whose first size is the batch
    StringAttr name = freeName(main);
    for (BlockArgument argument : main.getArguments()) {
      auto dims = main.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims");
      if (!hasBatch(argument.getType(), batch) || !dims || dims.empty())
        continue;
      argument.setType(freed(argument.getType()));
      main.setArgAttr(argument.getArgNumber(), "onnx.dims", named(dims, name));
      samples = samples ? samples : argument;
    }
    if (!samples)
      return;
    Value size; // made where the first shape needs it
    for (Operation &op : main.getBody().front()) {
      if (op.hasTrait<OpTrait::ConstantLike>() || isa<onnx::GetInitializerOp>(op))
        continue;
      for (Value result : op.getResults())
        if (hasBatch(result.getType(), batch))
          result.setType(freed(result.getType()));
      freeShape(op, batch, samples, size);
    }
    Operation *ret = main.getBody().front().getTerminator();
    for (unsigned i = 0; i < main.getNumResults(); ++i)
      if (auto dims = main.getResultAttrOfType<ArrayAttr>(i, "onnx.dims");
          dims && !dims.empty() && hasBatch(main.getResultTypes()[i], batch))
        main.setResultAttr(i, "onnx.dims", named(dims, name));
    main.setFunctionType(FunctionType::get(&getContext(), main.getBody().getArgumentTypes(), ret->getOperandTypes()));
    getOperation()->setAttr("caat.fixed_batch", Builder(&getContext()).getI64IntegerAttr(batch));
  }

private:
  /// The first size of the first argument that has dimensions; 0 where an argument's has a name, or none is known.
  static int64_t findBatch(func::FuncOp main) {
    int64_t batch = 0;
    for (BlockArgument argument : main.getArguments()) {
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!type)
        return 0;
      if (type.getRank() == 0)
        continue;
      if (type.isDynamicDim(0))
        return 0;
      batch = batch ? batch : type.getDimSize(0);
    }
    return batch;
  }

  static bool hasBatch(Type type, int64_t batch) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getRank() > 0 && tensor.getDimSize(0) == batch;
  }

  static Type freed(Type type) {
    auto tensor = cast<RankedTensorType>(type);
    SmallVector<int64_t> shape(tensor.getShape());
    shape[0] = ShapedType::kDynamic;
    return tensor.clone(shape);
  }

  static ArrayAttr named(ArrayAttr dims, StringAttr name) {
    SmallVector<Attribute> names(dims.getValue());
    names[0] = name;
    return ArrayAttr::get(dims.getContext(), names);
  }

  /// A name that no dimension has.
  static StringAttr freeName(func::FuncOp main) {
    std::string name = "batch", all;
    for (BlockArgument argument : main.getArguments())
      if (auto dims = main.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims"))
        for (auto text : dims.getAsRange<StringAttr>())
          all += text.str() + " ";
    while (StringRef(all).contains(name))
      name += "_";
    return StringAttr::get(main.getContext(), name);
  }

  /// A constant shape that begins with the batch begins with the size of `samples` instead.
  void freeShape(Operation &op, int64_t batch, BlockArgument samples, Value &size) {
    if (!isa<onnx::ReshapeOp, onnx::ExpandOp, onnx::ConstantOfShapeOp>(op))
      return;
    OpOperand &shape = op.getOpOperand(op.getNumOperands() - 1);
    DenseIntElementsAttr constant;
    if (!matchPattern(shape.get(), m_Constant(&constant)) || constant.getNumElements() == 0 ||
        (*constant.begin()).getSExtValue() != batch)
      return;
    OpBuilder b(&op);
    Location loc = op.getLoc();
    auto one = RankedTensorType::get({1}, b.getI64Type());
    if (!size) {
      OpBuilder top = OpBuilder::atBlockBegin(op.getBlock());
      size = onnx::ShapeOp::create(top, loc, one, samples, top.getI64IntegerAttr(1), top.getI64IntegerAttr(0));
    }
    SmallVector<Value> parts{size};
    auto values = llvm::to_vector(constant.getValues<int64_t>());
    if (values.size() > 1) {
      auto rest = RankedTensorType::get({static_cast<int64_t>(values.size()) - 1}, b.getI64Type());
      parts.push_back(onnx::ConstantOp::create(b, loc, DenseElementsAttr::get(rest, ArrayRef(values).drop_front())));
    }
    shape.set(onnx::ConcatOp::create(b, loc, shape.get().getType(), parts, b.getI64IntegerAttr(0)));
  }
};
} // namespace
