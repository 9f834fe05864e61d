// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Builds onnx ops whose result types follow from their operands, and keeps the shape analysis informed of them.
#ifndef CAAT_LIB_RAISE_ONNXBUILDER_H
#define CAAT_LIB_RAISE_ONNXBUILDER_H

#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/Remarks.h"

namespace caat {

/// What an onnx.Attention of 4-D operands is made of.
struct AttentionForm {
  mlir::Value q, k, v;
  mlir::Value mask, pastKey, pastValue; // each may be null; the last two come together
  bool causal = false;
  float scale = 0; // 0: 1 / sqrt(head size)
  float softcap = 0;
  int64_t left = -1, right = -1; // windows; -1: no bound
  mlir::Value lengths = {};      // valid keys of each row
};

class OnnxBuilder : public mlir::OpBuilder {
public:
  /// Builds before `op`, at its location.
  OnnxBuilder(mlir::Operation *op, SymbolicShapes &shapes)
      : mlir::OpBuilder(op), location(op->getLoc()), shapes(shapes) {}

  mlir::Location getLocation() const { return location; }
  SymbolicShapes &getShapes() { return shapes; }

  /// An op with one result, of the first operand's element type; the shape is inferred.
  template <typename Op, typename... Args> mlir::Value make(mlir::Value first, Args &&...args) {
    return makeOf<Op>(mlir::getElementTypeOrSelf(first), first, std::forward<Args>(args)...);
  }
  template <typename Op, typename... Args> mlir::Value makeOf(mlir::Type elementType, Args &&...args) {
    auto op = Op::create(*this, location, mlir::UnrankedTensorType::get(elementType), std::forward<Args>(args)...);
    return learn(op->getResult(0));
  }
  /// Visits the op behind `result` and gives all its results their inferred types.
  mlir::Value learn(mlir::Value result);

  mlir::Value ints(llvm::ArrayRef<int64_t> values); // i64 [n]
  mlir::Value scalar(double value, mlir::Type elementType);
  mlir::Value transpose(mlir::Value x, llvm::ArrayRef<int64_t> perm);
  mlir::Value reshape(mlir::Value x, llvm::ArrayRef<int64_t> shape);
  mlir::Value unsqueeze(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  mlir::Value slice(mlir::Value x, int64_t axis, int64_t start, int64_t end);
  /// Parts of the given sizes along `axis`.
  llvm::SmallVector<mlir::Value> split(mlir::Value x, int64_t axis, llvm::ArrayRef<int64_t> sizes);
  mlir::Value concat(llvm::ArrayRef<mlir::Value> parts, int64_t axis);
  /// An i64 tensor of sizes: a scalar of shape [] or a vector. Null if a size is not computable from arguments.
  mlir::Value sizeScalar(mlir::AffineExpr size);
  mlir::Value sizeVector(llvm::ArrayRef<mlir::AffineExpr> sizes);

  /// With present results where there is a past.
  onnx::AttentionOp attention(const AttentionForm &form);
  /// [B, S, H * D] → [B, H, S, D], and back.
  mlir::Value splitHeads(mlir::Value x, int64_t heads, int64_t headSize);
  mlir::Value joinHeads(mlir::Value x, int64_t width);

private:
  mlir::Location location;
  SymbolicShapes &shapes;
};

/// Calls `rewrite(op, builder)` for each op of the function's body in order, with the builder in front of the op, then
/// erases dead ops. `rewrite` replaces uses and never erases, since the analysis refers to values.
void rewriteInOrder(mlir::func::FuncOp function, llvm::function_ref<void(mlir::Operation *, OnnxBuilder &)> rewrite);
/// The same where some op `isCandidate`; false where none is and nothing was done.
bool rewriteInOrder(mlir::func::FuncOp function, llvm::function_ref<bool(mlir::Operation *)> isCandidate,
                    llvm::function_ref<void(mlir::Operation *, OnnxBuilder &)> rewrite);
/// Whether the body holds one of these ops.
template <typename... Ops> bool hasAny(mlir::func::FuncOp function) {
  return !function.isExternal() && llvm::any_of(function.getBody().front(), llvm::IsaPred<Ops...>);
}

/// Erases ops without effects whose results are not used, last first. Analyses of the block's values become invalid.
void eraseDeadOps(mlir::Block &block);

/// A decision that was taken, or one that was not and why.
void remarkPassed(mlir::Operation *op, llvm::StringRef name, const llvm::Twine &message);
void remarkMissed(mlir::Operation *op, llvm::StringRef name, const llvm::Twine &reason);
/// Whether anybody listens, for remarks that take work to find.
bool wantsRemarks(mlir::Operation *op);

} // namespace caat

#endif // CAAT_LIB_RAISE_ONNXBUILDER_H
