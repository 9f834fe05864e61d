// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/ShapeFacts.h"
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"

using namespace mlir;

namespace caat {

static std::optional<SmallVector<AffineExpr>> known(const SymbolicShapes &shapes, Value value) {
  auto dims = shapes.getDims(value);
  if (!dims || llvm::is_contained(*dims, AffineExpr()))
    return std::nullopt;
  return SmallVector<AffineExpr>(dims->begin(), dims->end());
}

ShapeFacts::ShapeFacts(func::FuncOp function) {
  SymbolicShapes shapes(function);
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<onnx::ReshapeOp, onnx::SliceOp, onnx::ExpandOp, onnx::RangeOp, onnx::ConstantOfShapeOp, onnx::TileOp,
            onnx::PadOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    if (auto dims = known(shapes, op->getOperand(0)))
      sources[op] = *dims;
    auto dims = known(shapes, op->getResult(0));
    if (!dims)
      continue;
    results[op] = *dims;
    OpBuilder builder(op);
    if (!llvm::all_of(*dims, [&](AffineExpr dim) { return shapes.canMaterialize(builder, dim); }))
      continue;
    SmallVector<OpFoldResult> sizes;
    for (AffineExpr dim : *dims) {
      if (auto constant = dyn_cast<AffineConstantExpr>(dim))
        sizes.push_back(builder.getIndexAttr(constant.getValue()));
      else
        sizes.push_back(shapes.materialize(builder, op->getLoc(), dim));
    }
    resultSizes[op] = sizes;
  }
}

} // namespace caat
