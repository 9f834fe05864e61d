// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// onnx-to-linalg: lowers the executed onnx ops of a function in order, then tidies up: constants, transposes that
// cancel, and sizes that refer to computed tensors where arguments give them.
#include "caat/Lower/Conversions.h"
#include "caat/Raise/WeightExpressions.h"
#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/ShapeFacts.h"
#include "lib/Lower/StructuredRewrites.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Rewrite/PatternApplicator.h"

using namespace mlir;

namespace caat {

#define GEN_PASS_DEF_ONNXTOLINALGPASS
#include "caat/Lower/ConversionPasses.h.inc"

/// Whether `value` is constant, and in `weight` whether an initializer is part of it.
static bool isConstant(Value value, bool &weight, llvm::SmallDenseMap<Value, bool> &seen) {
  if (auto it = seen.find(value); it != seen.end())
    return it->second;
  Operation *op = value.getDefiningOp();
  bool result = false;
  if (op && isa<onnx::GetInitializerOp>(op)) {
    weight = true;
    result = true;
  } else if (op && isa<onnx::ConstantOp>(op)) {
    result = true;
  } else if (op && isEvaluatedAtCompileTime(op)) {
    result = llvm::all_of(op->getOperands(), [&](Value operand) { return isConstant(operand, weight, seen); });
    // A shard of a constant differs from rank to rank: only a weight can. What is packed has no other form.
    weight |= result && (op->getName().getStringRef() == "tp.shard" || isa<onnx::UnpackOp>(op));
  }
  return seen[value] = result;
}

bool isWeightExpression(Value value) {
  bool weight = false;
  llvm::SmallDenseMap<Value, bool> seen;
  return isConstant(value, weight, seen) && weight;
}

Value withoutHeld(Value value) {
  auto held = value.getDefiningOp<tp::HeldOp>();
  return held ? held.getInput() : value;
}

/// onnx.check -> rt.check_later, or rt.check of the scalar.
static LogicalResult lowerCheck(onnx::CheckOp op, PatternRewriter &rewriter) {
  if (op.getLate()) {
    rewriter.replaceOpWithNewOp<rt::CheckLaterOp>(op, op.getCondition(), op.getMessage());
    return success();
  }
  Value holds = tensor::ExtractOp::create(rewriter, op.getLoc(), op.getCondition(), ValueRange());
  rewriter.replaceOpWithNewOp<rt::CheckOp>(op, holds, op.getMessage());
  return success();
}

void populateOnnxToLinalgPatterns(RewritePatternSet &patterns, const ShapeFacts *facts, const ProgramForms &forms) {
  patterns.add(lowerCheck);
  populateOnnxElementwiseToLinalgPatterns(patterns);
  populateOnnxReductionToLinalgPatterns(patterns);
  populateOnnxNormalizationToLinalgPatterns(patterns);
  populateOnnxReshapeToLinalgPatterns(patterns, facts);
  populateOnnxDataMovementToLinalgPatterns(patterns, facts);
  populateOnnxShapesToLinalgPatterns(patterns, facts);
  populateOnnxGatherToLinalgPatterns(patterns);
  populateOnnxMatMulToLinalgPatterns(patterns);
  populateOnnxConvolutionToLinalgPatterns(patterns);
  populateOnnxQuantizeToLinalgPatterns(patterns);
  populateOnnxRotaryToLinalgPatterns(patterns, forms.forGPU);
  populateOnnxAttentionToLinalgPatterns(patterns, forms);
  populateOnnxLinearAttentionToLinalgPatterns(patterns);
}

/// Whether `op` has to run: an onnx op that is no constant, weight, weight expression or product by one.
static bool isExecuted(Operation *op) {
  if (isa<onnx::CheckOp>(op))
    return true;
  if (isa<onnx::NoValueOp>(op))
    return false;
  if (!isa_and_present<onnx::ONNXDialect>(op->getDialect()) || op->getNumResults() == 0)
    return false;
  if (isa<onnx::ConstantOp, onnx::GetInitializerOp>(op) || isWeightProduct(op))
    return false;
  return !isWeightExpression(op->getResult(0));
}

static InFlightDiagnostic reportUnlowered(Operation *op, StringRef reason) {
  std::string name = op->getName().stripDialect().str();
  if (auto custom = dyn_cast<onnx::CustomOp>(op))
    name = (custom.getDomain().empty() ? "" : custom.getDomain().str() + ".") + custom.getOpType().str();
  std::string node;
  if (auto named = dyn_cast<NameLoc>(op->getLoc()))
    node = "node '" + named.getName().str() + "' ";
  InFlightDiagnostic diagnostic = op->emitError() << node << "(" << name;
  if (auto custom = dyn_cast<onnx::CustomOp>(op))
    diagnostic << ", version " << custom.getVersion();
  else if (auto module = op->getParentOfType<ModuleOp>())
    if (auto opset = module->getAttrOfType<IntegerAttr>("onnx.opset"))
      diagnostic << ", opset " << opset.getInt();
  diagnostic << ") must be executed but has no lowering";
  if (auto missed = op->getAttrOfType<StringAttr>("onnx.missed"))
    diagnostic << ": " << missed.getValue();
  else if (!reason.empty())
    diagnostic << ": " << reason;
  return diagnostic;
}

static bool hasUnknownRank(Operation *op) {
  auto isUnranked = [](Type type) { return isa<UnrankedTensorType>(type); };
  return llvm::any_of(op->getOperandTypes(), isUnranked) || llvm::any_of(op->getResultTypes(), isUnranked);
}

/// Results without elements need no computation; a slice of none may lie outside of what it is taken from.
static void replaceEmptyResults(Operation *op, RewriterBase &rewriter) {
  for (Value result : op->getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (type && type.hasStaticShape() && type.getNumElements() == 0)
      rewriter.replaceAllUsesWith(
          result, tensor::EmptyOp::create(rewriter, op->getLoc(), type.getShape(), type.getElementType()));
  }
}

namespace {

/// Keeps what a pattern said when it did not match.
struct ReasonListener : RewriterBase::Listener {
  void notifyMatchFailure(Location loc, function_ref<void(Diagnostic &)> callback) override {
    Diagnostic diagnostic(loc, DiagnosticSeverity::Remark);
    callback(diagnostic);
    reason = diagnostic.str();
  }
  std::string reason;
};

struct OnnxToLinalgPass : impl::OnnxToLinalgPassBase<OnnxToLinalgPass> {
  using OnnxToLinalgPassBase::OnnxToLinalgPassBase;

  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isExternal())
      return;
    if (failed(lower::lowerSyncPoints(func)) || failed(lowerOps(func)) || failed(lowerConstants(func)))
      return signalPassFailure();
    if (generateProducts)
      expandProducts(func);
    if (failed(tidy(func)))
      signalPassFailure();
  }

  static void expandProducts(func::FuncOp func) {
    SmallVector<rt::MatmulOp> products;
    func.walk([&](rt::MatmulOp op) { products.push_back(op); });
    for (rt::MatmulOp op : products) {
      OpBuilder builder(op);
      op->replaceAllUsesWith(
          ValueRange{lower::generatedProduct({builder, op.getLoc()}, op.getA(), op.getB(), op.getInit(),
                                             op.getTransposeB(), op.getAlpha().convertToFloat())});
      op.erase();
    }
  }

  /// The 16-bit type of the program's matrices; none where there is none.
  static Type matrixType(ModuleOp module) {
    Type result;
    if (module)
      for (auto weight : module.getOps<rt::WeightOp>())
        if (Type element = weight.getTensorType().getElementType();
            weight.getLinear() && (element.isBF16() || (element.isF16() && !result)))
          result = element;
    return result;
  }

  LogicalResult lowerOps(func::FuncOp func) {
    ShapeFacts facts(func);
    RewritePatternSet patterns(&getContext());
    populateOnnxToLinalgPatterns(patterns, &facts, {forGPU, matrixType(func->getParentOfType<ModuleOp>())});
    FrozenRewritePatternSet frozen(std::move(patterns));
    PatternApplicator applicator(frozen);
    applicator.applyDefaultCostModel();
    SmallVector<Operation *> ops;
    func.walk([&](Operation *op) {
      if (isExecuted(op) && !op->getParentOfType<rt::WeightOp>())
        ops.push_back(op);
    });
    ReasonListener listener;
    PatternRewriter rewriter(&getContext());
    rewriter.setListener(&listener);
    bool ok = true;
    for (Operation *op : ops) {
      listener.reason.clear();
      if (op->use_empty() && isMemoryEffectFree(op)) {
        rewriter.eraseOp(op);
        continue;
      }
      if (hasUnknownRank(op)) { // the first such op is at fault; the others stand behind it
        if (ok)
          reportUnlowered(op, isa<onnx::CustomOp>(op) ? "" : "the rank of an operand or result is not known");
        ok = false;
        continue;
      }
      rewriter.setInsertionPoint(op);
      replaceEmptyResults(op, rewriter);
      if (op->use_empty() && isMemoryEffectFree(op)) {
        rewriter.eraseOp(op);
        continue;
      }
      if (failed(applicator.matchAndRewrite(op, rewriter))) {
        reportUnlowered(op, listener.reason);
        ok = false;
      }
    }
    return success(ok);
  }

  /// Constants that lowered ops use become arith.constant; the others belong to weight expressions.
  static LogicalResult lowerConstants(func::FuncOp func) {
    SmallVector<onnx::ConstantOp> constants;
    func.walk([&](onnx::ConstantOp op) { constants.push_back(op); });
    for (onnx::ConstantOp op : constants) {
      auto runs = [](OpOperand &use) {
        return !isa<onnx::ONNXDialect>(use.getOwner()->getDialect()) && !isa<rt::YieldOp>(use.getOwner()) &&
               use.getOwner()->getName().getStringRef() != "tp.shard";
      };
      if (llvm::any_of(op->getUses(), runs)) {
        OpBuilder builder(op);
        auto value = dyn_cast<TypedAttr>(op.getValue());
        if (!value || !arith::ConstantOp::isBuildableWith(value, value.getType()))
          return op.emitError("constant of type ") << op.getOutput().getType() << " cannot be used at run time";
        Value constant = arith::ConstantOp::create(builder, op.getLoc(), value);
        op.getOutput().replaceUsesWithIf(constant, runs);
      }
      if (op->use_empty())
        op.erase();
    }
    return success();
  }

  static LogicalResult tidy(func::FuncOp func) {
    MLIRContext *context = func.getContext();
    // Sizes of what was not lowered yet when they were taken.
    SmallVector<tensor::DimOp> dims;
    func.walk([&](tensor::DimOp op) { dims.push_back(op); });
    for (tensor::DimOp op : dims) {
      auto index = op.getConstantIndex();
      if (!index || !isa<RankedTensorType>(op.getSource().getType()))
        continue;
      OpBuilder builder(op);
      lower::ScalarBuilder s{builder, op.getLoc()};
      Value size = s.value(lower::dimOf(s, op.getSource(), *index));
      if (size != op.getResult()) {
        op.getResult().replaceAllUsesWith(size);
        op.erase();
      }
    }
    RewritePatternSet patterns(context);
    linalg::TransposeOp::getCanonicalizationPatterns(patterns, context);
    tensor::DimOp::getCanonicalizationPatterns(patterns, context);
    tensor::CastOp::getCanonicalizationPatterns(patterns, context);
    tensor::ExpandShapeOp::getCanonicalizationPatterns(patterns, context);
    tensor::CollapseShapeOp::getCanonicalizationPatterns(patterns, context);
    if (failed(lower::applyToStructured(func, std::move(patterns))))
      return failure();
    // What is left of them: loops like all others.
    IRRewriter rewriter(context);
    SmallVector<linalg::TransposeOp> transposes;
    func.walk([&](linalg::TransposeOp op) { transposes.push_back(op); });
    for (linalg::TransposeOp op : transposes) {
      rewriter.setInsertionPoint(op);
      if (failed(linalg::generalizeNamedOp(rewriter, op)))
        return failure();
    }
    return success();
  }
};

} // namespace

} // namespace caat
