// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/RowParts.h"

using namespace mlir;
using namespace caat;

bool lower::hasDenseRows(rt::LinearOp product) {
  auto x = cast<MemRefType>(product.getX().getType()), y = cast<MemRefType>(product.getInit().getType());
  return x.getLayout().isIdentity() && y.getLayout().isIdentity() && x.getRank() >= 2 &&
         !ShapedType::isDynamic(x.getShape().back()) && !ShapedType::isDynamic(y.getShape().back());
}

Value lower::takeRows(OpBuilder &b, Location loc, Value buffer, Value begin, Value end) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<ReassociationIndices> groups(2);
  for (int64_t d = 0; d < type.getRank(); ++d)
    groups[d + 1 == type.getRank()].push_back(d);
  if (type.getRank() > 2)
    buffer = memref::CollapseShapeOp::create(b, loc, buffer, groups);
  Value count = b.createOrFold<arith::SubIOp>(loc, end, begin);
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1), columns = b.getIndexAttr(type.getShape().back());
  return memref::SubViewOp::create(b, loc, buffer, ArrayRef<OpFoldResult>{begin, zero},
                                   ArrayRef<OpFoldResult>{count, columns}, ArrayRef<OpFoldResult>{one, one});
}
