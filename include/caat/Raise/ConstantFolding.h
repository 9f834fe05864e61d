// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RAISE_CONSTANTFOLDING_H
#define CAAT_RAISE_CONSTANTFOLDING_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace caat {

/// The value of an onnx op whose operands are all onnx.Constant, as ONNX defines it (floats are computed in double and
/// rounded to the result's type). Null where the op is not supported, the result's type is not static, or it has more
/// elements than `maxElements`.
mlir::DenseElementsAttr foldConstantOp(mlir::Operation *op, int64_t maxElements);

} // namespace caat

#endif // CAAT_RAISE_CONSTANTFOLDING_H
