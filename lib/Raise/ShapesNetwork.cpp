// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shapes of products, normalisations and attention.
#include "caat/Raise/SymbolicShapes.h"
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
  auto result = shapes.broadcastShapes(ArrayRef(*a).drop_back(2), ArrayRef(*b).drop_back(2));
  if (!row)
    result->push_back((*a)[a->size() - 2]);
  if (!column)
    result->push_back(b->back());
  shapes.setDims(op.getY(), *result);
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
  if (op.getPresentKey())
    shapes.setDims(op.getPresentKey(), {(*k)[0], (*k)[1], total, (*k)[3]});
  if (op.getPresentValue())
    shapes.setDims(op.getPresentValue(), {(*v)[0], (*v)[1], total, (*v)[3]});
  if (op.getQkMatmulOutput())
    shapes.setDims(op.getQkMatmulOutput(), {(*q)[0], (*q)[1], (*q)[2], total});
  return true;
}

static bool infer(onnx::EinsumOp op, SymbolicShapes &shapes) {
  StringRef equation = op.getEquation();
  if (equation.contains('.') || !equation.contains("->"))
    return false;
  auto [left, right] = equation.split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  llvm::DenseMap<char, AffineExpr> sizes;
  for (auto [term, input] : llvm::zip(terms, op.getInputs())) {
    auto dims = shapes.getDims(input);
    if (!dims)
      return false;
    size_t place = 0;
    for (char letter : term) {
      if (letter == ' ')
        continue;
      if (place >= dims->size())
        return false;
      auto [it, isNew] = sizes.try_emplace(letter, (*dims)[place]);
      if (!isNew)
        it->second = shapes.broadcast(it->second, (*dims)[place]);
      ++place;
    }
  }
  Dims result;
  for (char letter : right)
    if (letter != ' ')
      result.push_back(sizes.lookup(letter));
  shapes.setDims(op.getOutput(), result);
  return true;
}

static bool infer(onnx::ConvOp op, SymbolicShapes &shapes) {
  auto x = shapes.getDims(op.getX()), w = shapes.getDims(op.getW());
  if (!x || !w || x->size() < 3 || x->size() != w->size())
    return false;
  Dims result{(*x)[0], (*w)[0]};
  size_t spatial = x->size() - 2;
  for (size_t i = 0; i < spatial; ++i) {
    auto at = [&](std::optional<ArrayRef<int64_t>> list, size_t place, int64_t fallback) {
      return list && place < list->size() ? (*list)[place] : fallback;
    };
    int64_t stride = at(op.getStrides(), i, 1), dilation = at(op.getDilations(), i, 1);
    AffineExpr size = (*x)[i + 2];
    auto kernel = constantDim((*w)[i + 2]);
    if (!kernel || op.getAutoPad() == "SAME_LOWER" || op.getAutoPad() == "SAME_UPPER") {
      result.push_back(kernel ? divDims(addDims(size, shapes.constant(stride - 1)), shapes.constant(stride))
                              : AffineExpr());
      continue;
    }
    int64_t pads = op.getAutoPad() == "VALID" ? 0 : at(op.getPads(), i, 0) + at(op.getPads(), i + spatial, 0);
    AffineExpr room = addDims(size, shapes.constant(pads - dilation * (*kernel - 1) - 1));
    result.push_back(addDims(divDims(room, shapes.constant(stride)), shapes.constant(1)));
  }
  shapes.setDims(op.getY(), result);
  return true;
}

bool inferNetworkShape(Operation *operation, SymbolicShapes &shapes) {
  return TypeSwitch<Operation *, bool>(operation)
      .Case<onnx::MatMulOp, onnx::GemmOp, onnx::LayerNormalizationOp, onnx::AttentionOp, onnx::EinsumOp, onnx::ConvOp>(
          [&](auto op) { return infer(op, shapes); })
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
