// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shapes of products, normalisations and attention.
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/Einsum.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace caat {

using Dims = SymbolicShapes::Dims;

static bool infer(onnx::MatMulOp op, SymbolicShapes &shapes) {
  auto a = shapes.getDims(op.getA()), b = shapes.getDims(op.getB());
  if (!a || !b || a->empty() || b->empty())
    return false;
  bool row = a->size() == 1, column = b->size() == 1;
  if (row)
    a->insert(a->begin(), shapes.constant(1));
  if (column)
    b->push_back(shapes.constant(1));
  shapes.proveEqual(a->back(), (*b)[b->size() - 2]);
  Dims result = shapes.broadcastShapes(ArrayRef(*a).drop_back(2), ArrayRef(*b).drop_back(2));
  if (!row)
    result.push_back((*a)[a->size() - 2]);
  if (!column)
    result.push_back(b->back());
  shapes.setDims(op.getY(), result);
  return true;
}

static bool infer(onnx::GemmOp op, SymbolicShapes &shapes) {
  auto a = shapes.getDims(op.getA()), b = shapes.getDims(op.getB());
  if (!a || !b || a->size() != 2 || b->size() != 2)
    return false;
  shapes.proveEqual((*a)[op.getTransA() ? 0 : 1], (*b)[op.getTransB() ? 1 : 0]);
  shapes.setDims(op.getY(), {(*a)[op.getTransA() ? 1 : 0], (*b)[op.getTransB() ? 0 : 1]});
  return true;
}

static bool infer(onnx::LayerNormalizationOp op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getX());
  if (!dims)
    return false;
  auto axis = onnx::normalizeAxis(op.getAxis(), dims->size());
  if (!axis)
    return false;
  shapes.setDims(op.getY(), *dims);
  for (size_t i = *axis; i < dims->size(); ++i)
    (*dims)[i] = shapes.constant(1);
  if (op.getMean())
    shapes.setDims(op.getMean(), *dims);
  if (op.getInvStdDev())
    shapes.setDims(op.getInvStdDev(), *dims);
  return true;
}

/// [B, S, H * D] as [B, H, S, D].
static std::optional<Dims> headsOf(Dims dims, std::optional<int64_t> heads, SymbolicShapes &shapes) {
  if (dims.size() == 4)
    return dims;
  if (dims.size() != 3 || !heads || *heads <= 0)
    return std::nullopt;
  return Dims{dims[0], shapes.constant(*heads), dims[1], divDims(dims[2], shapes.constant(*heads))};
}

static bool infer(onnx::AttentionOp op, SymbolicShapes &shapes) {
  auto rank = shapes.getRank(op.getQ());
  auto rawQ = shapes.getDims(op.getQ()), rawK = shapes.getDims(op.getK()), rawV = shapes.getDims(op.getV());
  if (!rank || !rawQ || !rawK || !rawV)
    return false;
  auto q = headsOf(*rawQ, op.getQNumHeads(), shapes), k = headsOf(*rawK, op.getKvNumHeads(), shapes),
       v = headsOf(*rawV, op.getKvNumHeads(), shapes);
  if (!q || !k || !v)
    return false;
  for (AffineExpr batch : {(*k)[0], (*v)[0]})
    shapes.proveEqual((*q)[0], batch);
  shapes.proveEqual((*k)[1], (*v)[1]);
  shapes.proveEqual((*k)[2], (*v)[2]);
  shapes.proveEqual((*q)[3], (*k)[3]);
  AffineExpr total = (*k)[2];
  // The cache holds what is appended to it: same batch, heads and head size.
  auto join = [&](Value past, Dims &now) {
    auto dims = shapes.getDims(past);
    if (!dims || dims->size() != 4)
      return;
    for (int axis : {0, 1, 3})
      shapes.proveEqual((*dims)[axis], now[axis]);
  };
  if (op.getPastKey()) {
    join(op.getPastKey(), *k);
    if (op.getPastValue())
      join(op.getPastValue(), *v);
    AffineExpr past = shapes.getDim(op.getPastKey(), 2);
    total = past && total ? addDims(past, total) : AffineExpr();
  }
  if (*rank == 3)
    shapes.setDims(op.getY(), {(*q)[0], (*q)[2], (*q)[1] && (*v)[3] ? mulDims((*q)[1], (*v)[3]) : AffineExpr()});
  else
    shapes.setDims(op.getY(), {(*q)[0], (*q)[1], (*q)[2], (*v)[3]});
  if (auto mask = op.getAttnMask() ? shapes.getDims(op.getAttnMask()) : std::nullopt)
    shapes.fits(*mask, {(*q)[0], (*q)[1], (*q)[2], total});
  if (op.getPresentKey())
    shapes.setDims(op.getPresentKey(), {(*k)[0], (*k)[1], total, (*k)[3]});
  if (op.getPresentValue())
    shapes.setDims(op.getPresentValue(), {(*v)[0], (*v)[1], total, (*v)[3]});
  if (op.getQkMatmulOutput())
    shapes.setDims(op.getQkMatmulOutput(), {(*q)[0], (*q)[1], (*q)[2], total});
  return true;
}

static bool infer(onnx::LinearAttentionOp op, SymbolicShapes &shapes) {
  auto query = shapes.getDims(op.getQuery()), key = shapes.getDims(op.getKey()), value = shapes.getDims(op.getValue());
  if (!query || !key || !value || query->size() != 3 || key->size() != 3 || value->size() != 3)
    return false;
  AffineExpr heads = shapes.constant(op.getKvNumHeads()), queryHeads = shapes.constant(op.getQNumHeads());
  AffineExpr size = divDims((*key)[2], heads), valueSize = divDims((*value)[2], heads);
  shapes.setDims(op.getOutput(), {(*query)[0], (*query)[1], valueSize ? mulDims(queryHeads, valueSize) : AffineExpr()});
  shapes.setDims(op.getPresentState(), {(*query)[0], heads, size, valueSize});
  return true;
}

static bool infer(onnx::EinsumOp op, SymbolicShapes &shapes) {
  SmallVector<int64_t> ranks;
  for (Value input : op.getInputs()) {
    auto rank = shapes.getRank(input);
    if (!rank)
      return false;
    ranks.push_back(*rank);
  }
  auto terms = onnx::parseEinsum(op.getEquation(), ranks);
  if (!terms)
    return false;
  Dims sizes(terms->labels, shapes.constant(1));
  for (auto [term, input] : llvm::zip_equal(terms->inputs, op.getInputs()))
    for (auto [label, dim] : llvm::zip_equal(term, *shapes.getDims(input)))
      sizes[label] = shapes.broadcast(sizes[label], dim);
  sizes.resize(terms->outputs);
  shapes.setDims(op.getOutput(), sizes);
  return true;
}

/// Entry `place` of a list, or its default.
static int64_t entryOf(std::optional<ArrayRef<int64_t>> list, size_t place, int64_t fallback) {
  return list && place < list->size() ? (*list)[place] : fallback;
}

/// Number of windows along spatial dimension `i` of `size`.
template <typename Op>
static AffineExpr windowCount(Op op, size_t i, size_t spatial, AffineExpr size, int64_t kernel, bool ceil,
                              SymbolicShapes &shapes) {
  int64_t stride = entryOf(op.getStrides(), i, 1), dilation = entryOf(op.getDilations(), i, 1);
  if (!size || stride < 1)
    return {};
  AffineExpr by = shapes.constant(stride), one = shapes.constant(1);
  if (op.getAutoPad().starts_with("SAME"))
    return divDims(addDims(size, shapes.constant(stride - 1)), by);
  bool valid = op.getAutoPad() == "VALID";
  int64_t before = valid ? 0 : entryOf(op.getPads(), i, 0), after = valid ? 0 : entryOf(op.getPads(), i + spatial, 0);
  AffineExpr room = addDims(size, shapes.constant(before + after - dilation * (kernel - 1) - 1));
  shapes.needNonNegative(room);
  if (!ceil || stride == 1)
    return addDims(divDims(room, by), one);
  auto whole = constantDim(size), space = constantDim(room);
  if (!whole || !space)
    return {};
  int64_t count = llvm::divideCeil(*space, stride) + 1;
  // A last window that begins in the padding at the end is none.
  return shapes.constant((count - 1) * stride >= *whole + before ? count - 1 : count);
}

static bool infer(onnx::ConvOp op, SymbolicShapes &shapes) {
  auto x = shapes.getDims(op.getX()), w = shapes.getDims(op.getW());
  if (!x || !w || x->size() < 3 || x->size() != w->size())
    return false;
  Dims result{(*x)[0], (*w)[0]};
  size_t spatial = x->size() - 2;
  for (size_t i = 0; i < spatial; ++i) {
    auto kernel = constantDim((*w)[i + 2]);
    result.push_back(kernel ? windowCount(op, i, spatial, (*x)[i + 2], *kernel, false, shapes) : AffineExpr());
  }
  shapes.setDims(op.getY(), result);
  return true;
}

static bool infer(onnx::ConvTransposeOp op, SymbolicShapes &shapes) {
  auto x = shapes.getDims(op.getX()), w = shapes.getDims(op.getW());
  if (!x || !w || x->size() < 3 || x->size() != w->size())
    return false;
  Dims result{(*x)[0], mulDims((*w)[1], shapes.constant(op.getGroup()))};
  size_t spatial = x->size() - 2;
  for (size_t i = 0; i < spatial; ++i) {
    auto kernel = constantDim((*w)[i + 2]);
    int64_t stride = entryOf(op.getStrides(), i, 1), dilation = entryOf(op.getDilations(), i, 1);
    AffineExpr size = (*x)[i + 2];
    if (op.getOutputShape()) {
      result.push_back(shapes.constant((*op.getOutputShape())[i]));
    } else if (!kernel || !size) {
      result.push_back({});
    } else if (op.getAutoPad().starts_with("SAME")) {
      result.push_back(mulDims(size, shapes.constant(stride)));
    } else {
      bool valid = op.getAutoPad() == "VALID";
      int64_t pads = valid ? 0 : entryOf(op.getPads(), i, 0) + entryOf(op.getPads(), i + spatial, 0);
      int64_t more = entryOf(op.getOutputPadding(), i, 0) + dilation * (*kernel - 1) + 1 - pads - stride;
      result.push_back(addDims(mulDims(size, shapes.constant(stride)), shapes.constant(more)));
    }
  }
  shapes.setDims(op.getY(), result);
  return true;
}

template <typename Op> static bool inferPool(Op op, SymbolicShapes &shapes) {
  auto dims = shapes.getDims(op.getX());
  if (!dims || dims->size() != op.getKernelShape().size() + 2)
    return false;
  size_t spatial = dims->size() - 2;
  for (size_t i = 0; i < spatial; ++i)
    (*dims)[i + 2] = windowCount(op, i, spatial, (*dims)[i + 2], op.getKernelShape()[i], op.getCeilMode() != 0, shapes);
  for (Value result : op->getResults())
    shapes.setDims(result, *dims);
  return true;
}

/// Collectives of ONNX Runtime, as rank files have them.
static bool infer(onnx::CustomOp op, SymbolicShapes &shapes) {
  bool gathers = op.getOpType() == "AllGather";
  if (op.getDomain() != "com.microsoft" || (op.getOpType() != "AllReduce" && !gathers) || op->getNumOperands() != 1)
    return false;
  auto dims = shapes.getDims(op->getOperand(0));
  if (!dims)
    return false;
  if (gathers) {
    auto axis = op.getNodeAttributes().getAs<IntegerAttr>("axis"),
         size = op.getNodeAttributes().getAs<IntegerAttr>("group_size");
    auto place = onnx::normalizeAxis(axis ? axis.getInt() : 0, dims->size());
    if (!size || !place)
      return false;
    (*dims)[*place] = mulDims((*dims)[*place], shapes.constant(size.getInt()));
  }
  shapes.setDims(op->getResult(0), *dims);
  return true;
}

bool inferNetworkShape(Operation *operation, SymbolicShapes &shapes) {
  return TypeSwitch<Operation *, bool>(operation)
      .Case<onnx::MatMulOp, onnx::GemmOp, onnx::LayerNormalizationOp, onnx::AttentionOp, onnx::EinsumOp, onnx::ConvOp,
            onnx::ConvTransposeOp, onnx::LinearAttentionOp, onnx::CustomOp>([&](auto op) { return infer(op, shapes); })
      .Case<onnx::AveragePoolOp, onnx::LpPoolOp, onnx::MaxPoolOp>([&](auto op) { return inferPool(op, shapes); })
      .Case<onnx::DepthToSpaceOp, onnx::SpaceToDepthOp>([&](auto op) {
        auto dims = shapes.getDims(op.getInput());
        int64_t block = op.getBlocksize();
        if (!dims || dims->size() != 4 || block <= 0)
          return false;
        AffineExpr edge = shapes.constant(block), area = shapes.constant(block * block);
        bool grow = isa<onnx::DepthToSpaceOp>(op.getOperation());
        auto scale = [&](AffineExpr dim, AffineExpr by, bool up) { return up ? mulDims(dim, by) : divDims(dim, by); };
        shapes.setDims(op.getOutput(), {(*dims)[0], scale((*dims)[1], area, !grow), scale((*dims)[2], edge, grow),
                                        scale((*dims)[3], edge, grow)});
        return true;
      })
      .Default(false);
}

} // namespace caat
