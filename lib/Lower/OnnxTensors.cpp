// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Moving tensors about and looping over rows, for the lowering of onnx ops.
#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "lib/Lower/OnnxLowering.h"

using namespace mlir;

namespace caat::lower {

Value transposed(ScalarBuilder s, Value value, ArrayRef<int64_t> perm) {
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return value;
  Dims dims, sizes = dimsOf(s, value);
  for (int64_t from : perm)
    dims.push_back(sizes[from]);
  Value out = empty(s, dims, tensorType(value).getElementType());
  return linalg::TransposeOp::create(s.b, s.loc, value, out, perm).getResult()[0];
}

Value collapsed(ScalarBuilder s, Value value, int64_t begin, int64_t end) {
  if (begin == end)
    return unsqueezed(s, value, begin);
  SmallVector<ReassociationIndices> groups;
  for (int64_t i = 0, rank = tensorType(value).getRank(); i < rank; ++i) {
    if (i > begin && i < end)
      groups.back().push_back(i);
    else
      groups.push_back({i});
  }
  if (end - begin == 1)
    return value;
  return tensor::CollapseShapeOp::create(s.b, s.loc, value, groups);
}

Value expanded(ScalarBuilder s, Value value, int64_t dim, ArrayRef<OpFoldResult> sizes) {
  auto type = tensorType(value);
  if (sizes.size() == 1)
    return value;
  SmallVector<int64_t> shape;
  Dims dims;
  SmallVector<ReassociationIndices> groups;
  Dims all = dimsOf(s, value);
  bool dynamic = false;
  auto push = [&](OpFoldResult size) {
    groups.back().push_back(shape.size());
    dims.push_back(size);
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  };
  // A group whose parts are not all static must come from a dynamic dimension.
  for (OpFoldResult size : sizes)
    dynamic |= !getConstantIntValue(size);
  if (dynamic && !type.isDynamicDim(dim)) {
    SmallVector<int64_t> relaxed(type.getShape());
    relaxed[dim] = ShapedType::kDynamic;
    value = castTo(s, value, RankedTensorType::get(relaxed, type.getElementType()));
    type = tensorType(value);
  } else if (!dynamic && type.isDynamicDim(dim)) {
    int64_t product = 1;
    for (OpFoldResult size : sizes)
      product *= *getConstantIntValue(size);
    SmallVector<int64_t> refined(type.getShape());
    refined[dim] = product;
    value = castTo(s, value, RankedTensorType::get(refined, type.getElementType()));
    type = tensorType(value);
  }
  for (int64_t i = 0; i < type.getRank(); ++i) {
    groups.emplace_back();
    if (i != dim)
      push(type.isDynamicDim(i) ? all[i] : OpFoldResult(s.b.getIndexAttr(type.getDimSize(i))));
    else
      for (OpFoldResult size : sizes)
        push(size);
  }
  auto resultType = RankedTensorType::get(shape, type.getElementType());
  return tensor::ExpandShapeOp::create(s.b, s.loc, resultType, value, groups, dims);
}

Dims zeros(ScalarBuilder s, int64_t rank) { return Dims(rank, s.b.getIndexAttr(0)); }

static Dims ones(ScalarBuilder s, int64_t rank) { return Dims(rank, s.b.getIndexAttr(1)); }

Value unsqueezed(ScalarBuilder s, Value value, ArrayRef<int64_t> axes) {
  auto type = tensorType(value);
  int64_t rank = type.getRank() + axes.size();
  Dims old = dimsOf(s, value), dims;
  SmallVector<int64_t> shape;
  SmallVector<ReassociationIndices> groups;
  int64_t from = 0;
  for (int64_t i = 0; i < rank; ++i) {
    bool inserted = llvm::is_contained(axes, i);
    // Units before the first kept dimension belong to its group, the others to that of the kept one before them.
    if (type.getRank() && (i == 0 || (!inserted && from > 0)))
      groups.emplace_back();
    if (type.getRank())
      groups.back().push_back(i);
    dims.push_back(inserted ? OpFoldResult(s.b.getIndexAttr(1)) : old[from]);
    shape.push_back(inserted ? 1 : type.getDimSize(from));
    from += !inserted;
  }
  auto resultType = RankedTensorType::get(shape, type.getElementType());
  return tensor::ExpandShapeOp::create(s.b, s.loc, resultType, value, groups, dims);
}

Value squeezed(ScalarBuilder s, Value value, ArrayRef<int64_t> axes) {
  auto type = tensorType(value);
  if (axes.empty())
    return value;
  // A dimension that is 1 by the op's contract may still be dynamic in the type.
  SmallVector<int64_t> shape(type.getShape()), kept;
  for (int64_t axis : axes)
    shape[axis] = 1;
  value = castTo(s, value, RankedTensorType::get(shape, type.getElementType()));
  SmallVector<ReassociationIndices> groups;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    bool dropped = llvm::is_contained(axes, i);
    if (!dropped)
      kept.push_back(shape[i]);
    if (groups.empty() || (!dropped && kept.size() > 1))
      groups.emplace_back();
    groups.back().push_back(i);
  }
  if (kept.empty())
    groups.clear();
  auto resultType = RankedTensorType::get(kept, type.getElementType());
  return tensor::CollapseShapeOp::create(s.b, s.loc, resultType, value, groups);
}

Value slice(ScalarBuilder s, Value value, ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes, int64_t drop) {
  if (drop == 0)
    return tensor::ExtractSliceOp::create(s.b, s.loc, value, offsets, sizes, ones(s, sizes.size()));
  SmallVector<int64_t> shape;
  for (OpFoldResult size : sizes.drop_front(drop))
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  auto type = RankedTensorType::get(shape, tensorType(value).getElementType());
  return tensor::ExtractSliceOp::create(s.b, s.loc, type, value, offsets, sizes, ones(s, sizes.size()));
}

Value insert(ScalarBuilder s, Value source, Value dest, ArrayRef<OpFoldResult> offsets) {
  return tensor::InsertSliceOp::create(s.b, s.loc, source, dest, offsets, dimsOf(s, source), ones(s, offsets.size()));
}

/// The cache that `past` is the valid part of along `axis`, with the number of valid positions.
static std::pair<Value, OpFoldResult> cacheOf(Value past, int64_t axis) {
  auto sliceOp = past.getDefiningOp<tensor::ExtractSliceOp>();
  Value cache = sliceOp ? sliceOp.getSource() : Value();
  auto block = cache ? cache.getDefiningOp<tp::BlockOp>() : tp::BlockOp();
  auto argument = dyn_cast_if_present<BlockArgument>(block ? block.getInput() : cache);
  auto func = argument ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp()) : func::FuncOp();
  if (!func || !argument.getOwner()->isEntryBlock() || !func.getArgAttr(argument.getArgNumber(), kCacheArgAttr))
    return {};
  if (!llvm::all_of(sliceOp.getMixedOffsets(), isZeroInteger) ||
      !llvm::all_of(sliceOp.getMixedStrides(), isOneInteger) || !sliceOp.getDroppedDims().none())
    return {};
  return {cache, sliceOp.getMixedSizes()[axis]};
}

/// Whether the cache behind `past` can be overwritten from here on: this is its only append.
static bool onlyAppend(Value cache) {
  return llvm::none_of(cache.getUsers(), [](Operation *user) { return isa<tensor::InsertSliceOp>(user); });
}

Value concatenated(ScalarBuilder s, ValueRange parts, int64_t axis, Value *buffer) {
  if (parts.size() == 2) {
    auto [cache, length] = cacheOf(parts[0], axis);
    if (cache && onlyAppend(cache)) {
      Dims offsets = zeros(s, tensorType(cache).getRank());
      offsets[axis] = length;
      Value updated = insert(s, parts[1], cache, offsets);
      Dims sizes = dimsOf(s, parts[0]);
      sizes[axis] = s.add(length, dimOf(s, parts[1], axis));
      if (buffer)
        *buffer = updated;
      return slice(s, updated, zeros(s, sizes.size()), sizes);
    }
  }
  // One-shot bufferization takes time that grows with the third power of a chain of insertions: many parts go in
  // groups.
  constexpr size_t maxChain = 32;
  if (parts.size() > maxChain) {
    SmallVector<Value> groups;
    for (size_t begin = 0; begin < parts.size(); begin += maxChain)
      groups.push_back(concatenated(s, parts.slice(begin, std::min(maxChain, parts.size() - begin)), axis));
    return concatenated(s, groups, axis, buffer);
  }
  Dims sizes = dimsOf(s, parts[0]), offsets = zeros(s, sizes.size());
  for (Value part : parts.drop_front())
    for (auto [i, size] : llvm::enumerate(dimsOf(s, part))) {
      if (static_cast<int64_t>(i) == axis)
        sizes[i] = s.add(sizes[i], size);
      else if (getConstantIntValue(size))
        sizes[i] = size;
    }
  Value result = empty(s, sizes, tensorType(parts[0]).getElementType());
  for (Value part : parts) {
    if (tensorType(part).getDimSize(axis) == 0) // its place may be the end, which no slice begins at
      continue;
    result = insert(s, part, result, offsets);
    offsets[axis] = s.add(offsets[axis], dimOf(s, part, axis));
  }
  if (buffer)
    *buffer = result;
  return result;
}

SmallVector<Value> forEachRow(ScalarBuilder s, OpFoldResult rows, ValueRange outs, RowFn body) {
  OpFoldResult zero = s.b.getIndexAttr(0), one = s.b.getIndexAttr(1);
  auto forall =
      scf::ForallOp::create(s.b, s.loc, ArrayRef(zero), ArrayRef(rows), ArrayRef(one), outs, /*mapping=*/std::nullopt,
                            [&](OpBuilder &inner, Location loc, ValueRange args) {
                              ScalarBuilder in{inner, loc};
                              SmallVector<RowPiece> pieces = body(in, args.front(), args.drop_front());
                              auto terminator = scf::InParallelOp::create(inner, loc);
                              OpBuilder::InsertionGuard guard(inner);
                              inner.setInsertionPointToStart(terminator.getBody());
                              for (auto [piece, out] : llvm::zip_equal(pieces, args.drop_front()))
                                tensor::ParallelInsertSliceOp::create(inner, loc, piece.value, out, piece.offsets,
                                                                      piece.sizes, ones(in, piece.sizes.size()));
                            });
  return SmallVector<Value>(forall.getResults());
}

SmallVector<Value> delinearize(ScalarBuilder &s, Value row, ArrayRef<OpFoldResult> dims) {
  SmallVector<Value> indices(dims.size());
  for (int64_t i = static_cast<int64_t>(dims.size()) - 1; i > 0; --i) {
    if (isOneInteger(dims[i])) {
      indices[i] = s.index(0);
      continue;
    }
    Value size = s.value(dims[i]);
    indices[i] = arith::RemUIOp::create(s.b, s.loc, row, size);
    row = arith::DivUIOp::create(s.b, s.loc, row, size);
  }
  if (!dims.empty())
    indices[0] = row;
  return indices;
}

/// `value` in another floating-point type.
Value converted(ScalarBuilder s, Value value, Type element) {
  auto type = tensorType(value);
  return elementwise(s, RankedTensorType::get(type.getShape(), element), dimsOf(s, value), value,
                     [&](ScalarBuilder &in, Scalars x) { return in.cast(x[0], element); });
}

Value batchMatmul(ScalarBuilder s, Value a, Value bMatrix, Value out, bool transposeB, float alpha) {
  auto product = [&](Value x, Value y, Value init) {
    return rt::MatmulOp::create(s.b, s.loc, x, y, init, /*transposeA=*/false, transposeB, alpha).getResult(0);
  };
  Type element = tensorType(out).getElementType(), compute = computeType(element);
  if (element == compute)
    return product(a, bMatrix, out);
  // Sums of 16-bit floats want f32.
  Value init = empty(s, dimsOf(s, out), compute);
  return converted(s, product(converted(s, a, compute), converted(s, bMatrix, compute), init), element);
}

} // namespace caat::lower
