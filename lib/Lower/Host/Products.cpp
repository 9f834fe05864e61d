// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products with weights, of two values, and attention.
#include "lib/Lower/Host/HostOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace caat::lower {

LogicalResult lower(RuntimeCalls &calls, rt::LinearOp op) {
  Pieces x = calls.fromMemRef(op.getX()), y = calls.fromMemRef(op.getInit());
  Value weight = calls.weight(op.getWeight()), rows = calls.product(ArrayRef(x.sizes).drop_back());
  Value accumulate = calls.constant(op.getAccumulate());
  bool isPlain = !op.getBias() && !op.getActivation() && !op.getGate();
  if (isPlain && getElementTypeOrSelf(op.getX()).isF32() && getElementTypeOrSelf(op.getInit()).isF32()) {
    calls.call(CAAT_API_linear, {weight, x.pointer, rows, y.pointer, accumulate});
    return success();
  }
  SmallVector<Value> arguments{weight, x.pointer, calls.dtypeOf(op.getX()),
                               rows,   y.pointer, calls.dtypeOf(op.getInit())};
  if (!op.getGate())
    arguments.push_back(accumulate);
  if (isPlain) {
    calls.call(CAAT_API_linear_as, arguments);
    return success();
  }
  int64_t activation = op.getActivation() ? static_cast<int64_t>(*op.getActivation()) : CAAT_UNCHANGED;
  arguments.append({calls.pointerOrNull(op.getBias()),
                    op.getBias() ? calls.dtypeOf(op.getBias()) : calls.constant(CAAT_F32), calls.constant(activation),
                    calls.f32(op.getAlpha())});
  if (op.getGate())
    arguments.push_back(calls.constant(static_cast<int64_t>(*op.getGate())));
  calls.call(op.getGate() ? CAAT_API_linear_gated : CAAT_API_linear_then, arguments);
  return success();
}

namespace {
/// An operand of a product, or its result: a stack of matrices.
struct Matrices {
  Pieces pieces;
  ArrayRef<int64_t> shape;
  bool isTransposed;

  int64_t getRank() const { return shape.size(); }
  Value stride(int64_t fromBack) const { return pieces.strides[getRank() - fromBack]; }
  Value rowStride() const { return stride(isTransposed ? 1 : 2); }
  Value columnStride() const { return stride(isTransposed ? 2 : 1); }
};
} // namespace

/// Batch dimensions before the last become loops.
LogicalResult lower(RuntimeCalls &calls, rt::MatmulOp op) {
  auto type = cast<MemRefType>(op.getInit().getType());
  Type factor = getElementTypeOrSelf(op.getA());
  if (!dtypeCode(factor))
    return op.emitOpError("no product of ") << factor;
  auto matrices = [&](Value memref, bool isTransposed) {
    return Matrices{calls.fromMemRef(memref), cast<MemRefType>(memref.getType()).getShape(), isTransposed};
  };
  Matrices a = matrices(op.getA(), op.getTransposeA()), b = matrices(op.getB(), op.getTransposeB());
  Matrices c = matrices(op.getInit(), false);
  int64_t rank = type.getRank(), batchRank = rank - 2;
  auto repeats = [&](const Matrices &of, int64_t d) { return of.shape[d] == 1 && type.getDimSize(d) != 1; };

  OpBuilder &builder = calls.getBuilder();
  OpBuilder::InsertionGuard guard(builder);
  Location loc = calls.getLoc();
  for (int64_t d = 0; d + 1 < batchRank; ++d) {
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
    auto loop = scf::ForOp::create(builder, loc, zero, calls.toIndex(c.pieces.sizes[d]), one);
    builder.setInsertionPoint(loop.getBody()->getTerminator());
    Value at = calls.toI64(loop.getInductionVar());
    for (auto [of, element] : {std::pair(&a, factor), {&b, factor}, {&c, type.getElementType()}})
      if (!repeats(*of, d))
        of->pieces.pointer = calls.advance(of->pieces.pointer, calls.convertType(element),
                                           LLVM::MulOp::create(builder, loc, at, of->pieces.strides[d]));
  }
  auto batchStride = [&](const Matrices &of) {
    return batchRank == 0 || repeats(of, batchRank - 1) ? calls.constant(0) : of.stride(3);
  };
  Value batch = batchRank ? c.pieces.sizes[batchRank - 1] : calls.constant(1);
  Value k = a.pieces.sizes[op.getTransposeA() ? rank - 2 : rank - 1];
  calls.call(CAAT_API_matmul, {calls.dtypeOf(op.getA()), batch, c.pieces.sizes[rank - 2], c.pieces.sizes[rank - 1], k,
                               a.pieces.pointer, batchStride(a), a.rowStride(), a.columnStride(), b.pieces.pointer,
                               batchStride(b), b.rowStride(), b.columnStride(), c.pieces.pointer, batchStride(c),
                               c.rowStride(), calls.f32(op.getAlpha()), calls.f32(op.getBeta())});
  return success();
}

/// Strides of the mask's four dimensions: 0 where it has one of size 1, or none.
static SmallVector<Value> maskStrides(RuntimeCalls &calls, Value mask) {
  constexpr size_t kDims = 4;
  SmallVector<Value> strides(kDims);
  ArrayRef<int64_t> shape = mask ? cast<MemRefType>(mask.getType()).getShape() : ArrayRef<int64_t>();
  SmallVector<Value> own = mask ? calls.fromMemRef(mask).strides : SmallVector<Value>();
  size_t missing = kDims - shape.size();
  for (size_t d = 0; d < kDims; ++d)
    strides[d] = d < missing || shape[d - missing] == 1 ? calls.constant(0) : own[d - missing];
  return strides;
}

/// In the order of Entrypoints.def.
LogicalResult lower(RuntimeCalls &calls, rt::AttentionOp op) {
  Pieces query = calls.fromMemRef(op.getQuery()), keys = calls.fromMemRef(op.getKeys());
  Pieces values = calls.fromMemRef(op.getValues()), out = calls.fromMemRef(op.getInit());
  calls.clearLists();
  for (Value address : {query.pointer, keys.pointer, values.pointer, calls.pointerOrNull(op.getMask()),
                        calls.pointerOrNull(op.getLengths()), out.pointer})
    calls.addBuffer(address);

  auto add = [&](ArrayRef<Value> numbers) {
    for (Value number : numbers)
      calls.addNumber(number);
  };
  add({calls.constant(*dtypeCode(op.getVia())), calls.dtypeOf(op.getQuery()), calls.dtypeOf(op.getKeys()),
       op.getLengths() ? calls.dtypeOf(op.getLengths()) : calls.constant(0), calls.dtypeOf(op.getInit())});
  add({query.sizes[0], query.sizes[1], calls.toI64(op.getTotal()), calls.toI64(op.getPast()), query.sizes[2],
       keys.sizes[1], query.sizes[3], values.sizes[3]});
  for (int64_t number : {static_cast<int64_t>(op.getLeft()), static_cast<int64_t>(op.getRight()),
                         int64_t{op.getCausal()}, int64_t{op.getAppendsByRow()}})
    calls.addNumber(calls.constant(number));
  for (const Pieces *pieces : {&query, &keys, &values})
    add(ArrayRef(pieces->strides).take_front(3));
  add(maskStrides(calls, op.getMask()));
  add(ArrayRef(out.strides).take_front(3));
  calls.call(CAAT_API_attention, {calls.getBuffers().getAddress(), calls.getNumbers().getAddress(),
                                  calls.f32(op.getScale()), calls.f32(op.getSoftcap())});
  return success();
}

} // namespace caat::lower
