// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-decompose-gemm: see Passes.td.
#include "Match.h"
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace caat {
#define GEN_PASS_DEF_ONNXDECOMPOSEGEMMPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

static Value decompose(onnx::GemmOp gemm, OnnxBuilder &b) {
  Type type = getElementTypeOrSelf(gemm.getY());
  auto scaled = [&](Value value, const APFloat &by) {
    float factor = by.convertToFloat();
    return factor == 1 ? value : b.make<onnx::MulOp>(value, b.scalar(factor, type));
  };
  Value left = gemm.getTransA() ? b.transpose(gemm.getA(), {1, 0}) : gemm.getA();
  Value right = gemm.getTransB() ? b.transpose(gemm.getB(), {1, 0}) : gemm.getB();
  Value result = scaled(b.make<onnx::MatMulOp>(left, right), gemm.getAlpha());
  if (gemm.getC() && !gemm.getBeta().isZero())
    result = b.make<onnx::AddOp>(result, scaled(gemm.getC(), gemm.getBeta()));
  return result;
}

namespace {

/// Moves `[B, S, K] → [B * S, K]` down past the ops that treat rows alike, until the inverse reshape cancels it.
class RowSinker {
public:
  /// Whether `op` may be where rows are merged, by what its types say.
  static bool mayMergeRows(Operation *op) {
    auto reshape = dyn_cast<onnx::ReshapeOp>(op);
    if (!reshape)
      return false;
    auto from = dyn_cast<RankedTensorType>(reshape.getData().getType());
    auto to = dyn_cast<RankedTensorType>(reshape.getReshaped().getType());
    return (!from || from.getRank() >= 3) && (!to || to.getRank() == 2);
  }

  void visit(Operation *op, OnnxBuilder &b) {
    if (auto reshape = dyn_cast<onnx::ReshapeOp>(op)) {
      visitReshape(reshape, b.getShapes());
      return;
    }
    Value wide = rebuild(op, b);
    if (!wide)
      return;
    // Whoever still wants rows gets them by a reshape of the new value, so that nothing is computed twice.
    auto channels = b.getShapes().getStaticDim(wide, -1);
    Value rows = b.reshape(wide, {-1, *channels});
    op->getResult(0).replaceAllUsesWith(rows);
    wideOf[rows] = wide;
  }

private:
  void visitReshape(onnx::ReshapeOp reshape, SymbolicShapes &shapes) {
    Value data = reshape.getData();
    if (Value wide = wideOf.lookup(data); wide && shapes.sameShape(wide, reshape.getReshaped())) {
      reshape.getReshaped().replaceAllUsesWith(wide);
      return;
    }
    auto from = shapes.getDims(data), to = shapes.getDims(reshape.getReshaped());
    if (!from || !to || from->size() < 3 || to->size() != 2 || from->back() != to->back() || !constantDim(to->back()))
      return;
    wideOf[reshape.getReshaped()] = data;
  }

  /// The op on unmerged rows; null where it is none that can be.
  Value rebuild(Operation *op, OnnxBuilder &b) {
    SymbolicShapes &shapes = b.getShapes();
    if (op->getNumResults() != 1 || op->getNumOperands() == 0)
      return {};
    auto last = shapes.getStaticDim(op->getResult(0), -1);
    if (shapes.getRank(op->getResult(0)) != 2 || !last)
      return {};
    if (auto matmul = dyn_cast<onnx::MatMulOp>(op)) {
      Value wide = wideOf.lookup(matmul.getA());
      return wide && shapes.getRank(matmul.getB()) == 2 ? b.make<onnx::MatMulOp>(wide, matmul.getB()) : Value();
    }
    if (auto norm = dyn_cast<onnx::LayerNormalizationOp>(op)) {
      Value wide = wideOf.lookup(norm.getX());
      bool lastAxis = norm.getAxis() == -1 || norm.getAxis() == 1;
      if (!wide || !lastAxis)
        return {};
      return b.learn(onnx::LayerNormalizationOp::create(b, b.getLocation(), wide, norm.getScale(), norm.getB(), -1,
                                                        norm.getEpsilonAttr())
                         .getY());
    }
    if (auto norm = dyn_cast<onnx::RMSNormalizationOp>(op)) {
      Value wide = wideOf.lookup(norm.getX());
      bool lastAxis = norm.getAxis() == -1 || norm.getAxis() == 1;
      return wide && lastAxis ? b.make<onnx::RMSNormalizationOp>(wide, norm.getScale(), b.getI64IntegerAttr(-1),
                                                                 norm.getEpsilonAttr(), norm.getStashTypeAttr())
                              : Value();
    }
    if (!op->hasTrait<onnx::BroadcastElementwise>())
      return {};
    // All operands are merged rows of one shape, or the same for all rows.
    SmallVector<Value> operands;
    Value first;
    for (Value operand : op->getOperands()) {
      if (Value wide = wideOf.lookup(operand)) {
        auto x = shapes.getDims(wide), y = first ? shapes.getDims(first) : x;
        if (!x || !y || ArrayRef(*x).drop_back() != ArrayRef(*y).drop_back())
          return {};
        first = first ? first : wide;
        operands.push_back(wide);
      } else if (auto rank = shapes.getRank(operand); rank && *rank <= 1) {
        operands.push_back(operand);
      } else {
        return {};
      }
    }
    if (!first)
      return {};
    Operation *wide = b.clone(*op);
    wide->setOperands(operands);
    wide->getResult(0).setType(UnrankedTensorType::get(getElementTypeOrSelf(op->getResult(0))));
    return b.learn(wide->getResult(0));
  }

  llvm::DenseMap<Value, Value> wideOf; // merged rows → the value before it was merged
};

class DecomposeGemm : public caat::impl::ONNXDecomposeGemmPassBase<DecomposeGemm> {
  void runOnOperation() override {
    bool changed = rewriteInOrder(getOperation(), llvm::IsaPred<onnx::GemmOp>, [](Operation *op, OnnxBuilder &b) {
      if (auto gemm = dyn_cast<onnx::GemmOp>(op)) {
        gemm.getY().replaceAllUsesWith(decompose(gemm, b));
        remarkPassed(op, "decompose-gemm", gemm.getTransB() ? "MatMul with a transposed weight" : "MatMul");
      }
    });
    RowSinker sinker;
    changed |= rewriteInOrder(getOperation(), RowSinker::mayMergeRows,
                              [&](Operation *op, OnnxBuilder &b) { sinker.visit(op, b); });
    if (!changed)
      markAllAnalysesPreserved();
  }
};

} // namespace
