// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators of ONNX's own domain that have no typed op because they are formulas over others.
#ifndef CAAT_LIB_RAISE_FORMULAS_H
#define CAAT_LIB_RAISE_FORMULAS_H

#include "Contrib.h"

namespace caat {

/// What turns `opType` into standard ops; null where it is no such operator.
ContribConverter findFormula(llvm::StringRef opType);

using FormulaTable = llvm::StringMap<ContribConverter>;
void addNormalizationFormulas(FormulaTable &table);
void addQuantizationFormulas(FormulaTable &table);
void addLossFormulas(FormulaTable &table);
void addResampleFormulas(FormulaTable &table);

/// Element-wise arithmetic with a scalar of the operand's element type.
struct Arithmetic {
  OnnxBuilder &b;

  mlir::Value scalar(double value, mlir::Value like) { return b.scalar(value, mlir::getElementTypeOrSelf(like)); }
  mlir::Value add(mlir::Value x, mlir::Value y) { return b.make<onnx::AddOp>(x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return b.make<onnx::SubOp>(x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return b.make<onnx::MulOp>(x, y); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return b.make<onnx::DivOp>(x, y); }
  mlir::Value max(mlir::Value x, mlir::Value y) {
    return b.makeOf<onnx::MaxOp>(mlir::getElementTypeOrSelf(x), mlir::ValueRange{x, y});
  }
  mlir::Value min(mlir::Value x, mlir::Value y) {
    return b.makeOf<onnx::MinOp>(mlir::getElementTypeOrSelf(x), mlir::ValueRange{x, y});
  }
  mlir::Value equal(mlir::Value x, mlir::Value y) { return b.makeOf<onnx::EqualOp>(b.getI1Type(), x, y); }
  mlir::Value where(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return b.makeOf<onnx::WhereOp>(mlir::getElementTypeOrSelf(x), condition, x, y);
  }
  mlir::Value cast(mlir::Value x, mlir::Type element) {
    if (mlir::getElementTypeOrSelf(x) == element)
      return x;
    return b.makeOf<onnx::CastOp>(element, x, mlir::TypeAttr::get(element));
  }
  mlir::Value concat(mlir::ValueRange parts, int64_t axis) {
    return b.makeOf<onnx::ConcatOp>(mlir::getElementTypeOrSelf(parts.front()), parts, b.getI64IntegerAttr(axis));
  }
  /// A reduction over `axes`, or over all dimensions where there are none.
  template <typename Op> mlir::Value reduce(mlir::Value x, llvm::ArrayRef<int64_t> axes, bool keepDims) {
    return b.make<Op>(x, axes.empty() ? mlir::Value() : b.ints(axes), b.getI64IntegerAttr(keepDims),
                      b.getI64IntegerAttr(0));
  }
};

} // namespace caat

#endif // CAAT_LIB_RAISE_FORMULAS_H
