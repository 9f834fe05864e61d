// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SizeCheck.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

void caat::addSizeCheck(OpBuilder &builder, Location loc, arith::CmpIPredicate predicate, Value a, Value b,
                        StringRef message) {
  Value holds = arith::CmpIOp::create(builder, loc, predicate, a, b);
  Value condition = tensor::FromElementsOp::create(builder, loc, RankedTensorType::get({}, builder.getI1Type()), holds);
  onnx::CheckOp::create(builder, loc, condition, builder.getStringAttr(message));
}
