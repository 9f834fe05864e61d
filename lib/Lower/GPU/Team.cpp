// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/Team.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace caat::lower {

void Team::barrier(OpBuilder &b, Location loc) const {
  if (size > 1 && !meet())
    return;
  if (isBlock())
    gpu::BarrierOp::create(b, loc);
  else if (size > 1)
    NVVM::SyncWarpOp::create(b, loc, arith::ConstantIntOp::create(b, loc, -1, 32));
}

bool isCombiner(Operation *op) {
  if (isa<arith::AddFOp, arith::MulFOp>(op))
    return bitEnumContainsAny(cast<arith::ArithFastMathInterface>(op).getFastMathFlagsAttr().getValue(),
                              arith::FastMathFlags::reassoc);
  return isa<arith::MaxNumFOp, arith::MinNumFOp, arith::MaximumFOp, arith::MinimumFOp, arith::AddIOp, arith::MulIOp,
             arith::MaxSIOp, arith::MinSIOp, arith::MaxUIOp, arith::MinUIOp, arith::AndIOp, arith::OrIOp,
             arith::XOrIOp>(op) &&
         arith::getNeutralElement(op).has_value();
}

Value combine(OpBuilder &b, Location loc, Operation *op, Value x, Value y) {
  Operation *copy = op->cloneWithoutRegions();
  copy->setOperands({x, y});
  b.insert(copy);
  return copy->getResult(0);
}

Value neutral(OpBuilder &b, Location loc, Operation *op) {
  TypedAttr value = *arith::getNeutralElement(op);
  // Upstream's is NaN, which ops that may assume there is none must not see.
  if (isa<arith::MaxNumFOp, arith::MinNumFOp>(op)) {
    auto type = cast<FloatType>(op->getResult(0).getType());
    value = b.getFloatAttr(type, APFloat::getInf(type.getFloatSemantics(), /*Negative=*/isa<arith::MaxNumFOp>(op)));
  }
  return arith::ConstantOp::create(b, loc, value);
}

/// `value` of the thread whose lane differs by `offset` in the warp.
static Value exchange(OpBuilder &b, Location loc, Value value, int32_t offset) {
  Type type = value.getType();
  auto shuffle = [&](Value v) -> Value {
    return gpu::ShuffleOp::create(b, loc, v, offset, kWarp, gpu::ShuffleMode::XOR).getShuffleResult();
  };
  if (type.isF32() || type.isInteger(32))
    return shuffle(value);
  if (type.isIndex()) {
    Value bits = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
    return arith::IndexCastOp::create(b, loc, type, exchange(b, loc, bits, offset));
  }
  unsigned width = type.getIntOrFloatBitWidth();
  Value bits = value;
  if (isa<FloatType>(type))
    bits = arith::BitcastOp::create(b, loc, b.getIntegerType(width), value);
  if (width < 32) {
    bits = shuffle(arith::ExtUIOp::create(b, loc, b.getI32Type(), bits));
    bits = arith::TruncIOp::create(b, loc, b.getIntegerType(width), bits);
  } else {
    Value places = arith::ConstantIntOp::create(b, loc, 32, width);
    Value low = arith::TruncIOp::create(b, loc, b.getI32Type(), bits);
    Value high = arith::TruncIOp::create(b, loc, b.getI32Type(), arith::ShRUIOp::create(b, loc, bits, places));
    low = arith::ExtUIOp::create(b, loc, bits.getType(), shuffle(low));
    high = arith::ExtUIOp::create(b, loc, bits.getType(), shuffle(high));
    bits = arith::OrIOp::create(b, loc, low, arith::ShLIOp::create(b, loc, high, places));
  }
  return isa<FloatType>(type) ? arith::BitcastOp::create(b, loc, type, bits).getResult() : bits;
}

SmallVector<Value> Team::reduce(OpBuilder &b, Location loc, ValueRange values, ArrayRef<Operation *> combiners) {
  SmallVector<Value> results(values);
  if (size == 1 || !meet())
    return results;
  auto overLanes = [&](int64_t lanes) {
    for (auto [value, combiner] : llvm::zip_equal(results, combiners))
      for (int64_t offset = lanes / 2; offset > 0; offset /= 2)
        value = combine(b, loc, combiner, value, exchange(b, loc, value, offset));
  };
  overLanes(kWarp);
  if (!isBlock())
    return results;

  // Each warp's first thread leaves the warp's value, and every warp combines them all.
  Value warpSize = arith::ConstantIndexOp::create(b, loc, kWarp);
  Value warp = arith::DivUIOp::create(b, loc, lane, warpSize), inWarp = arith::RemUIOp::create(b, loc, lane, warpSize);
  Value isFirst =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, inWarp, arith::ConstantIndexOp::create(b, loc, 0));
  int64_t warps = size / kWarp;
  for (auto [value, combiner] : llvm::zip_equal(results, combiners)) {
    Type type = value.getType();
    Type stored = type.isIndex() || type.getIntOrFloatBitWidth() % 8 == 0 ? type : b.getI8Type();
    Value offset = arith::ConstantIndexOp::create(b, loc, (reductions++ % 2) * kWarp * 8);
    Value slots = memref::ViewOp::create(
        b, loc, MemRefType::get({kWarp}, stored, AffineMap(), cast<MemRefType>(scratch.getType()).getMemorySpace()),
        scratch, offset, ValueRange());
    auto put = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
    {
      OpBuilder inside = OpBuilder::atBlockBegin(put.thenBlock());
      Value v = stored == type ? value : arith::ExtUIOp::create(inside, loc, stored, value).getResult();
      memref::StoreOp::create(inside, loc, v, slots, warp);
    }
    barrier(b, loc);
    Value mine = arith::RemUIOp::create(b, loc, lane, arith::ConstantIndexOp::create(b, loc, warps));
    value = memref::LoadOp::create(b, loc, slots, mine);
    if (stored != type)
      value = arith::TruncIOp::create(b, loc, type, value);
  }
  overLanes(warps);
  return results;
}

} // namespace caat::lower
