// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Conversions.h"
#include "lib/Lower/OnnxLowering.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace caat {

#define GEN_PASS_DEF_REINTERPRETEXPANSIONSPASS
#include "caat/Lower/ConversionPasses.h.inc"

static bool hasDynamicGroup(memref::ExpandShapeOp op) {
  return llvm::any_of(op.getReassociationIndices(), [&](const ReassociationIndices &group) {
    return llvm::count_if(group, [&](int64_t dim) { return op.getResultType().isDynamicDim(dim); }) > 1;
  });
}

/// Strides and offset of `source`; the dynamic ones read from it.
static std::pair<lower::Dims, OpFoldResult> layoutOf(OpBuilder &b, Location loc, Value source) {
  auto type = cast<MemRefType>(source.getType());
  auto [strides, offset] = type.getStridesAndOffset();
  memref::ExtractStridedMetadataOp metadata;
  auto mixed = [&](int64_t value, auto read) -> OpFoldResult {
    if (!ShapedType::isDynamic(value))
      return b.getIndexAttr(value);
    if (!metadata)
      metadata = memref::ExtractStridedMetadataOp::create(b, loc, source);
    return read();
  };
  lower::Dims result;
  for (auto [i, stride] : llvm::enumerate(strides))
    result.push_back(mixed(stride, [&]() -> OpFoldResult { return metadata.getStrides()[i]; }));
  return {result, mixed(offset, [&]() -> OpFoldResult { return metadata.getOffset(); })};
}

static void reinterpret(memref::ExpandShapeOp op) {
  OpBuilder b(op);
  lower::ScalarBuilder s{b, op.getLoc()};
  auto type = cast<MemRefType>(op.getSrc().getType());
  SmallVector<OpFoldResult> sizes = op.getMixedOutputShape(), strides(sizes.size());
  auto groups = op.getReassociationIndices();
  lower::Dims sourceStrides;
  OpFoldResult offset = b.getIndexAttr(0);
  if (type.getLayout().isIdentity()) { // dense: from the last dimension on
    OpFoldResult stride = b.getIndexAttr(1);
    for (int64_t i = sizes.size() - 1; i >= 0; --i) {
      strides[i] = stride;
      stride = i ? s.mul(stride, sizes[i]) : stride;
    }
  } else {
    std::tie(sourceStrides, offset) = layoutOf(b, op.getLoc(), op.getSrc());
    for (auto [group, stride] : llvm::zip_equal(groups, sourceStrides))
      for (int64_t dim : llvm::reverse(group)) {
        strides[dim] = stride;
        stride = dim == group.front() ? stride : s.mul(stride, sizes[dim]);
      }
  }
  Value view = memref::ReinterpretCastOp::create(b, op.getLoc(), op.getSrc(), offset, sizes, strides);
  if (view.getType() != op.getResultType())
    view = memref::CastOp::create(b, op.getLoc(), op.getResultType(), view);
  op.replaceAllUsesWith(view);
  op.erase();
}

namespace {
struct ReinterpretExpansionsPass : impl::ReinterpretExpansionsPassBase<ReinterpretExpansionsPass> {
  void runOnOperation() override {
    SmallVector<memref::ExpandShapeOp> ops;
    getOperation().walk([&](memref::ExpandShapeOp op) {
      if (hasDynamicGroup(op))
        ops.push_back(op);
    });
    llvm::for_each(ops, reinterpret);
  }
};
} // namespace

} // namespace caat
