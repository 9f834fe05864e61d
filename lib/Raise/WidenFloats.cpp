// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-widen-floats: see Passes.td.
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
#include "caat/Support/HalfTypes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace caat {
#define GEN_PASS_DEF_ONNXWIDENFLOATSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// Ops that only move elements: of stored values they give stored values.
static bool moves(Operation *op) {
  return isa<onnx::GatherOp, onnx::GatherElementsOp, onnx::GatherNDOp, onnx::ReshapeOp, onnx::FlattenOp,
             onnx::TransposeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::SliceOp, onnx::SplitOp, onnx::ConcatOp,
             onnx::ExpandOp, onnx::IdentityOp, onnx::TileOp>(op);
}

static ElementsAttr widened(ElementsAttr value) {
  auto dense = dyn_cast<DenseFPElementsAttr>(value);
  if (!dense)
    return {};
  return dense.mapValues(Float32Type::get(value.getContext()), [](const APFloat &element) {
    APFloat wide = element;
    bool inexact;
    wide.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &inexact);
    return wide.bitcastToAPInt();
  });
}

namespace {

class Widener {
public:
  explicit Widener(func::FuncOp function) : function(function), wide(Float32Type::get(function.getContext())) {}

  void run() {
    Builder b(function.getContext());
    for (BlockArgument argument : function.getArguments())
      if (Type declared = widen(argument))
        function.setArgAttr(argument.getArgNumber(), onnx::kDeclaredTypeAttr, TypeAttr::get(declared));
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front()))
      if (!op.hasTrait<OpTrait::IsTerminator>())
        visit(&op);
    Operation *terminator = function.getBody().front().getTerminator();
    for (OpOperand &operand : terminator->getOpOperands()) {
      Type declared = narrowTypes.lookup(operand.get());
      if (stored.contains(operand.get())) {
        declared = getElementTypeOrSelf(operand.get());
        operand.set(wideForm(operand.get(), terminator));
      }
      if (declared)
        function.setResultAttr(operand.getOperandNumber(), onnx::kDeclaredTypeAttr, TypeAttr::get(declared));
    }
    function.setType(
        FunctionType::get(function.getContext(), function.getBody().getArgumentTypes(), terminator->getOperandTypes()));
  }

  int64_t count() const { return narrowTypes.size(); }

private:
  /// Makes `value` f32 where it is narrower, and gives the type that it had.
  Type widen(Value value) {
    auto type = dyn_cast<TensorType>(value.getType());
    if (!type || !isHalf(type))
      return {};
    value.setType(type.clone(wide));
    narrowTypes[value] = type.getElementType();
    return type.getElementType();
  }

  /// The f32 form of a stored value.
  Value wideForm(Value value, Operation *user) {
    Value &cast = casts[value];
    if (!cast) {
      OpBuilder b(user);
      b.setInsertionPointAfterValue(value);
      auto op = onnx::CastOp::create(b, value.getLoc(), value, wide);
      op->setAttr(onnx::kStorageCastAttr, b.getUnitAttr());
      cast = op.getOutput();
    }
    return cast;
  }

  void visit(Operation *op) {
    if (!isa<onnx::ONNXDialect>(op->getDialect()))
      return;
    if (isa<onnx::GetInitializerOp>(op)) {
      if (isHalf(op->getResult(0).getType()))
        stored.insert(op->getResult(0));
      return;
    }
    if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
      if (ElementsAttr value = isHalf(constant.getOutput().getType()) ? widened(constant.getValue()) : ElementsAttr()) {
        constant.setValueAttr(value);
        widen(constant.getOutput());
      }
      return;
    }
    if (isa<onnx::CustomOp>(op))
      return keepNarrow(op);
    auto isStored = [&](Value operand) { return !isHalf(operand.getType()) || stored.contains(operand); };
    bool hasNarrow = llvm::any_of(op->getOperandTypes(), isHalf);
    if (hasNarrow && moves(op) &&
        llvm::all_of(op->getOperands(), [&](Value v) { return isStored(v) && !narrowTypes.contains(v); })) {
      for (Value result : op->getResults())
        if (isHalf(result.getType()))
          stored.insert(result);
      return;
    }
    if (!isa<onnx::ShapeOp, onnx::SizeOp>(op))
      for (OpOperand &operand : op->getOpOperands())
        if (stored.contains(operand.get()))
          operand.set(wideForm(operand.get(), op));
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](onnx::CastOp cast) {
          if (isHalf(cast.getTo()))
            cast.setTo(wide);
        })
        .Case([&](onnx::ConstantOfShapeOp fill) {
          if (auto value = fill.getValueAttr(); value && isHalf(value.getElementType()))
            if (ElementsAttr number = widened(value))
              fill.setValueAttr(number);
        })
        .Case([&](onnx::DequantizeLinearOp dequantize) {
          if (isHalf(dequantize.getY().getType()))
            dequantize.setOutputDtype(0);
        });
    for (Value result : op->getResults())
      (void)widen(result);
  }

  /// An op that is not known takes what its node says.
  void keepNarrow(Operation *op) {
    OpBuilder b(op);
    for (OpOperand &operand : op->getOpOperands())
      if (Type declared = narrowTypes.lookup(operand.get()))
        operand.set(onnx::CastOp::create(b, op->getLoc(), operand.get(), declared).getOutput());
    for (Value result : op->getResults())
      if (isHalf(result.getType()))
        stored.insert(result);
  }

  func::FuncOp function;
  Type wide;
  llvm::DenseSet<Value> stored;            // still narrow: weights, and what was only moved of them
  llvm::DenseMap<Value, Type> narrowTypes; // of values that are f32 now
  llvm::DenseMap<Value, Value> casts;      // of stored values
};

class WidenFloats : public caat::impl::ONNXWidenFloatsPassBase<WidenFloats> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    auto hasNarrow = [](Operation &op) { return llvm::any_of(op.getResultTypes(), isHalf); };
    if (function.isExternal() ||
        (llvm::none_of(function.getArgumentTypes(), isHalf) && llvm::none_of(function.getBody().front(), hasNarrow))) {
      markAllAnalysesPreserved();
      return;
    }
    Widener widener(function);
    widener.run();
    if (widener.count() > 0)
      remark::analysis(function.getLoc(), remark::RemarkOpts::name("widen-floats").category("caat"))
          << (std::to_string(widener.count()) + " values of 16 bits are computed as f32");
  }
};

} // namespace
