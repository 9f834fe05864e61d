// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-convert-index: see Passes.td.
#include "caat/Export/Passes.h"

namespace caat {
#define GEN_PASS_DEF_ONNXCONVERTINDEXPASS
#include "caat/Export/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// Every integer scalar becomes a tensor of one i64, every condition one of one i1.
class IndexConverter {
public:
  explicit IndexConverter(func::FuncOp function)
      : function(function), builder(function.getContext()), one(RankedTensorType::get({1}, builder.getI64Type())) {}

  LogicalResult run() {
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
      Dialect *dialect = op.getDialect();
      if (isa_and_nonnull<onnx::ONNXDialect, tp::TPDialect>(dialect) || op.hasTrait<OpTrait::IsTerminator>())
        continue;
      builder.setInsertionPoint(&op);
      if (failed(convert(&op)))
        return op.emitError() << "cannot be written to ONNX: " << op.getName().getStringRef() << " has no ONNX form";
      converted.push_back(&op);
    }
    for (Operation *op : llvm::reverse(converted))
      op->erase();
    return success();
  }

private:
  Value get(Value scalar) { return scalars.lookup(scalar); }

  LogicalResult define(Operation *op, Value value) {
    scalars[op->getResult(0)] = value;
    return success();
  }

  template <typename Op> Value binary(Location loc, Value a, Value b) { return Op::create(builder, loc, one, a, b); }

  /// ONNX divides towards zero and its Mod has the divisor's sign, so this is exact.
  Value floorDiv(Location loc, Value a, Value b) {
    Value rest = onnx::ModOp::create(builder, loc, one, a, b);
    return binary<onnx::DivOp>(loc, binary<onnx::SubOp>(loc, a, rest), b);
  }

  Value negative(Location loc, Value a) { return onnx::NegOp::create(builder, loc, one, a); }

  LogicalResult convert(Operation *op) {
    Location loc = op->getLoc();
    bool onScalars = llvm::all_of(op->getOperands(), [&](Value operand) { return scalars.contains(operand); });
    auto arithmetic = [&](auto make) -> LogicalResult {
      if (!onScalars)
        return failure();
      return define(op, make(get(op->getOperand(0)), get(op->getOperands().back())));
    };
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](arith::ConstantOp constant) { return convertConstant(constant); })
        .Case([&](tensor::DimOp dim) { return convertDim(dim); })
        .Case([&](tensor::FromElementsOp elements) { return convertElements(elements); })
        .Case([&](tensor::CastOp cast) -> LogicalResult {
          cast.getResult().replaceAllUsesWith(
              onnx::IdentityOp::create(builder, loc, cast.getType(), cast.getSource()).getResult());
          return success();
        })
        .Case<arith::IndexCastOp, arith::ExtSIOp>([&](auto) { return arithmetic([](Value a, Value) { return a; }); })
        .Case(
            [&](arith::AddIOp) { return arithmetic([&](Value a, Value b) { return binary<onnx::AddOp>(loc, a, b); }); })
        .Case(
            [&](arith::SubIOp) { return arithmetic([&](Value a, Value b) { return binary<onnx::SubOp>(loc, a, b); }); })
        .Case(
            [&](arith::MulIOp) { return arithmetic([&](Value a, Value b) { return binary<onnx::MulOp>(loc, a, b); }); })
        .Case([&](arith::DivSIOp) {
          return arithmetic([&](Value a, Value b) { return binary<onnx::DivOp>(loc, a, b); });
        })
        .Case([&](arith::FloorDivSIOp) { return arithmetic([&](Value a, Value b) { return floorDiv(loc, a, b); }); })
        .Case([&](arith::CeilDivSIOp) {
          return arithmetic([&](Value a, Value b) { return negative(loc, floorDiv(loc, negative(loc, a), b)); });
        })
        .Case([&](arith::RemSIOp) {
          return arithmetic(
              [&](Value a, Value b) { return onnx::ModOp::create(builder, loc, one, a, b, /*fmod=*/1).getResult(); });
        })
        .Case([&](arith::CmpIOp compare) {
          return arithmetic([&](Value a, Value b) { return convertCompare(compare, a, b); });
        })
        .Case([&](arith::SelectOp select) -> LogicalResult {
          if (!onScalars)
            return failure();
          return define(op, onnx::WhereOp::create(builder, loc, one, get(select.getCondition()),
                                                  get(select.getTrueValue()), get(select.getFalseValue())));
        })
        .Case([&](arith::MaxSIOp) {
          return arithmetic([&](Value a, Value b) { return onnx::MaxOp::create(builder, loc, one, ValueRange{a, b}); });
        })
        .Case([&](arith::MinSIOp) {
          return arithmetic([&](Value a, Value b) { return onnx::MinOp::create(builder, loc, one, ValueRange{a, b}); });
        })
        .Default(failure());
  }

  LogicalResult convertConstant(arith::ConstantOp constant) {
    if (auto number = dyn_cast<IntegerAttr>(constant.getValue()))
      return define(constant, onnx::createInts(builder, constant.getLoc(), {number.getValue().getSExtValue()}));
    auto elements = dyn_cast<ElementsAttr>(constant.getValue());
    if (!elements)
      return failure();
    constant.getResult().replaceAllUsesWith(onnx::ConstantOp::create(builder, constant.getLoc(), elements).getResult());
    return success();
  }

  /// Sizes are not negative, so that signs do not matter.
  Value convertCompare(arith::CmpIOp op, Value a, Value b) {
    Location loc = op.getLoc();
    auto flag = RankedTensorType::get({1}, builder.getI1Type());
    switch (op.getPredicate()) {
    case arith::CmpIPredicate::eq:
      return onnx::EqualOp::create(builder, loc, flag, a, b);
    case arith::CmpIPredicate::ne:
      return onnx::NotOp::create(builder, loc, flag, onnx::EqualOp::create(builder, loc, flag, a, b).getResult());
    case arith::CmpIPredicate::slt:
    case arith::CmpIPredicate::ult:
      return onnx::LessOp::create(builder, loc, flag, a, b);
    case arith::CmpIPredicate::sle:
    case arith::CmpIPredicate::ule:
      return onnx::LessOrEqualOp::create(builder, loc, flag, a, b);
    case arith::CmpIPredicate::sgt:
    case arith::CmpIPredicate::ugt:
      return onnx::GreaterOp::create(builder, loc, flag, a, b);
    case arith::CmpIPredicate::sge:
    case arith::CmpIPredicate::uge:
      return onnx::GreaterOrEqualOp::create(builder, loc, flag, a, b);
    }
    llvm_unreachable("every predicate returns");
  }

  LogicalResult convertDim(tensor::DimOp dim) {
    std::optional<int64_t> axis = dim.getConstantIndex();
    if (!axis)
      return failure();
    return define(dim, onnx::ShapeOp::create(builder, dim.getLoc(), one, dim.getSource(),
                                             builder.getI64IntegerAttr(*axis + 1), *axis));
  }

  LogicalResult convertElements(tensor::FromElementsOp op) {
    Location loc = op.getLoc();
    RankedTensorType type = op.getType();
    Type element = type.getElementType();
    if (!element.isSignlessInteger() || op.getElements().empty() ||
        !llvm::all_of(op.getElements(), [&](Value value) { return scalars.contains(value); }))
      return failure();
    SmallVector<Value> parts = llvm::map_to_vector(op.getElements(), [&](Value value) { return get(value); });
    int64_t count = parts.size();
    Value list = parts[0];
    if (count > 1)
      list = onnx::ConcatOp::create(builder, loc, cast<RankedTensorType>(list.getType()).clone({count}), parts, 0);
    if (getElementTypeOrSelf(list.getType()) != element)
      list = onnx::CastOp::create(builder, loc, list, element);
    if (type.getRank() != 1) {
      Value shape = onnx::createInts(builder, loc, type.getShape());
      list = onnx::ReshapeOp::create(builder, loc, type, list, shape);
    }
    op.getResult().replaceAllUsesWith(list);
    return success();
  }

  func::FuncOp function;
  OpBuilder builder;
  RankedTensorType one;
  llvm::DenseMap<Value, Value> scalars;
  SmallVector<Operation *> converted;
};

struct ConvertIndex : caat::impl::ONNXConvertIndexPassBase<ConvertIndex> {
  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    if (failed(IndexConverter(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
