// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/SymbolicShapes.h"
#include "caat/Rotate/Passes.h"
#include "caat/Shard/ShardingAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

namespace caat {
#define GEN_PASS_DEF_TPFINDBATCH
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::shard;

/// The symbol that the first dimension of the first argument with one has; empty where there is none.
static StringAttr findSymbol(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    auto dims = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims");
    if (dims && !dims.empty() && !cast<StringAttr>(dims[0]).empty())
      return cast<StringAttr>(dims[0]);
  }
  return {};
}

namespace {

/// Gives every value of a function the shape that it has when each symbol is a number of its own: prime, and larger
/// than what models have as sizes of their own, so that no two dimensions are equal by chance. Sizes that are read
/// become these numbers. What only checks read goes: they hold for all samples where they hold for the parts.
class Probe {
public:
  Probe(func::FuncOp function, StringRef batch) {
    SymbolicShapes shapes(function);
    samples = evaluate(shapes.resolve(shapes.symbol(batch)));
    SmallVector<std::pair<Value, RankedTensorType>> types;
    auto add = [&](Value value) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      auto dims = type ? shapes.getDims(value) : std::nullopt;
      if (!dims || type.hasStaticShape() || static_cast<int64_t>(dims->size()) != type.getRank())
        return;
      SmallVector<int64_t> shape;
      for (auto [size, dim] : llvm::zip_equal(type.getShape(), *dims))
        shape.push_back(ShapedType::isDynamic(size) && dim ? evaluate(dim) : size);
      types.emplace_back(value, type.clone(shape));
    };
    llvm::for_each(function.getArguments(), add);
    for (Operation &op : function.getBody().front())
      llvm::for_each(op.getResults(), add);
    for (auto [value, type] : types)
      value.setType(type);
    dropChecks(function.getBody().front());
    replaceSizes(function);
  }

  /// Whether the number of samples is part of what `value` is computed from.
  bool isCounted(Value value) const { return counted.contains(value); }

private:
  static void dropChecks(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if (isa<onnx::CheckOp>(op) ||
          (op.use_empty() && isMemoryEffectFree(&op) && !op.hasTrait<OpTrait::IsTerminator>()))
        op.erase();
  }

  void replaceSizes(func::FuncOp function) {
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
      if (auto dim = dyn_cast<tensor::DimOp>(op)) {
        auto type = dyn_cast<RankedTensorType>(dim.getSource().getType());
        std::optional<int64_t> index = dim.getConstantIndex();
        if (!type || !index || *index >= type.getRank() || type.isDynamicDim(*index))
          continue;
        OpBuilder builder(&op);
        Value size = arith::ConstantIndexOp::create(builder, op.getLoc(), type.getDimSize(*index));
        if (type.getDimSize(*index) % samples == 0)
          counted.insert(size);
        dim.replaceAllUsesWith(size);
        dim.erase();
      } else if (op.getName().getDialectNamespace() == "arith" || isa<tensor::FromElementsOp>(op)) {
        if (llvm::any_of(op.getOperands(), [&](Value operand) { return counted.contains(operand); }))
          counted.insert(op.result_begin(), op.result_end());
      }
    }
  }

  int64_t evaluate(AffineExpr expr) {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return constant.getValue();
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
      int64_t &value = values[symbol.getPosition()];
      if (value == 0)
        value = last = nextPrime(last);
      return value;
    }
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    if (!binary)
      return ShapedType::kDynamic;
    int64_t a = evaluate(binary.getLHS()), b = evaluate(binary.getRHS());
    if (ShapedType::isDynamic(a) || ShapedType::isDynamic(b))
      return ShapedType::kDynamic;
    switch (expr.getKind()) {
    case AffineExprKind::Add:
      return a + b > 0 ? a + b : ShapedType::kDynamic;
    case AffineExprKind::Mul:
      return a * b;
    case AffineExprKind::FloorDiv:
      return b > 0 ? llvm::divideFloorSigned(a, b) : ShapedType::kDynamic;
    case AffineExprKind::CeilDiv:
      return b > 0 ? llvm::divideCeilSigned(a, b) : ShapedType::kDynamic;
    default:
      return b > 0 ? llvm::mod(a, b) : ShapedType::kDynamic;
    }
  }

  static int64_t nextPrime(int64_t number) {
    for (int64_t candidate = number + 2;; candidate += 2) {
      bool prime = true;
      for (int64_t divisor = 3; prime && divisor * divisor <= candidate; divisor += 2)
        prime = candidate % divisor != 0;
      if (prime)
        return candidate;
    }
  }

  DenseMap<unsigned, int64_t> values;
  DenseSet<Value> counted;
  int64_t last = 1000003, samples = 0;
};

/// An op that takes a shape as this operand.
bool takesShape(OpOperand &operand) {
  Operation *op = operand.getOwner();
  return isa<onnx::ReshapeOp, onnx::ExpandOp, onnx::TileOp>(op) ? operand.getOperandNumber() == 1
                                                                : isa<onnx::ConstantOfShapeOp>(op);
}

struct FindBatch : caat::impl::TPFindBatchBase<FindBatch> {
  /// "node 'name' (Op) " of an op that came from a file.
  static std::string describe(Operation *op) {
    std::string name = "(" + op->getName().stripDialect().str() + ") ";
    auto named = dyn_cast<NameLoc>(op->getLoc());
    return named ? "node '" + named.getName().str() + "' " + name : name;
  }

  InFlightDiagnostic refuse(StringRef batch) {
    return emitError(getOperation().lookupSymbol<func::FuncOp>("main").getLoc())
           << "the samples along '" << batch << "' cannot be divided over the ranks (--strategy=rtp): ";
  }

  LogicalResult prove(func::FuncOp function, const Probe &probe, StringRef batch) {
    auto isBatch = [&](unsigned argument, int64_t dim) {
      auto dims = function.getArgAttrOfType<ArrayAttr>(argument, "onnx.dims");
      return dims && dim < static_cast<int64_t>(dims.size()) && cast<StringAttr>(dims[dim]) == batch;
    };
    ShardingRules rules;
    ShardingAnalysis analysis(function, rules, isBatch);
    DimSpace &space = analysis.getSpace();
    // More than one where arguments never meet.
    llvm::SmallDenseSet<Atom> atoms;
    auto hasBatch = [&](const ValueLayout &layout) {
      return llvm::any_of(layout, [&](const DimLayout &dim) {
        return llvm::any_of(dim, [&](const Term &term) { return atoms.contains(term.atom); });
      });
    };
    for (BlockArgument argument : function.getArguments()) {
      unsigned number = argument.getArgNumber();
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      for (int64_t dim = 1; type && dim < type.getRank(); ++dim)
        if (isBatch(number, dim))
          return refuse(batch) << "dimension " << dim << " of argument " << number << " has that size too";
      if (!type || type.getRank() == 0 || !isBatch(number, 0))
        continue;
      DimLayout rows = analysis.getLayout(argument)[0];
      if (rows.size() != 1 || rows.front().width() != 1)
        return refuse(batch) << "argument " << number << " is cut in other rows than the samples";
      const DimSpace::Info &info = space.getInfo(rows.front().atom);
      if (!info.refused.empty())
        return refuse(batch) << (info.refusedBy ? describe(info.refusedBy) : "") << "needs them all: a dimension "
                             << info.refused;
      atoms.insert(rows.front().atom);
    }
    for (Operation *op : analysis.getOps()) {
      if (auto ret = dyn_cast<func::ReturnOp>(op)) {
        for (auto [number, value] : llvm::enumerate(ret.getOperands())) {
          ValueLayout layout = analysis.getLayout(value);
          if (layout.empty() || layout[0].size() != 1 || layout[0].front().width() != 1 || !hasBatch({layout[0]}))
            return refuse(batch) << "the first dimension of result " << number << " is not that of the samples";
        }
        continue;
      }
      for (OpOperand &operand : op->getOpOperands())
        if (probe.isCounted(operand.get()) && isa<onnx::ONNXDialect>(op->getDialect()) && !takesShape(operand))
          return refuse(batch) << describe(op) << "computes with their number";
      const OpFactors &factors = analysis.getFactors(op);
      bool takes = llvm::any_of(op->getOperands(), [&](Value value) {
        return !analysis.isWeight(value) && hasBatch(analysis.getLayout(value));
      });
      bool gives = llvm::any_of(op->getResults(), [&](Value value) { return hasBatch(analysis.getLayout(value)); });
      for (const Contraction &contraction : factors.contractions)
        if (hasBatch({space.resolve(contraction.layout)}))
          return refuse(batch) << describe(op) << "sums over them";
      if (takes && !factors.rule)
        return refuse(batch) << describe(op) << (factors.replicated.empty() ? "has no rule" : factors.replicated);
      if (takes && !gives && op->getNumResults() != 0)
        return refuse(batch) << describe(op) << "does not keep them apart";
      if (gives && isa<onnx::RangeOp>(op))
        return refuse(batch) << describe(op) << "numbers them";
    }
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main || main.isExternal()) {
      module.emitError("has no function @main");
      return signalPassFailure();
    }
    StringAttr batch = findSymbol(main);
    if (!batch) {
      main.emitError(
          "the first dimension of every input has a fixed size: export the model with a dynamic batch, which "
          "--strategy=rtp divides over the ranks");
      return signalPassFailure();
    }
    OwningOpRef<func::FuncOp> copy(main.clone());
    copy->setSymName("probe");
    Probe probe(*copy, batch.getValue());
    if (failed(prove(*copy, probe, batch.getValue())))
      return signalPassFailure();
    module->setAttr("caat.batch", batch);
  }
};
} // namespace
