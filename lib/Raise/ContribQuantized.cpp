// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products and tables with weights of 2, 4 or 8 bits in blocks: they become weight expressions around DequantizeLinear,
// which are evaluated when the artifact is written.
#include "Contrib.h"

using namespace mlir;

namespace caat {

static bool isBytes(Value value) {
  Type element = getElementTypeOrSelf(value);
  return element.isInteger(8);
}

/// Bytes as unsigned numbers of `bits` bits; `x` as it is where they are bytes.
static Value unpacked(OnnxBuilder &b, Value x, int64_t bits) {
  return bits == 8 ? x : b.make<onnx::UnpackOp>(x, b.getI64IntegerAttr(bits));
}

/// (q - zero) * scale of q [rows, blocks * blockSize], scale [rows, blocks] and zero points of the same shape: numbers
/// of `bits` bits in bytes, or floats, or null for the middle of the range.
static Value dequantized(const ContribOp &c, Value q, Value scale, Value zero, int64_t bits, int64_t rows,
                         int64_t blocks, int64_t blockSize) {
  OnnxBuilder &b = c.b;
  Type bytes = getElementTypeOrSelf(q);
  auto table = RankedTensorType::get({rows, blocks}, bytes);
  auto splat = [&](int64_t value) {
    return b.learn(onnx::ConstantOp::create(
        b, b.getLocation(), DenseElementsAttr::get(table, static_cast<Attribute>(b.getIntegerAttr(bytes, value)))));
  };
  bool floatZero = zero && isa<FloatType>(getElementTypeOrSelf(zero));
  Value integerZero = !zero ? splat(bytes.isUnsignedInteger() ? int64_t(1) << (bits - 1) : 0) : zero;
  auto dequantize = [&](Value x, Value points, int64_t size) {
    return b.makeOf<onnx::DequantizeLinearOp>(getElementTypeOrSelf(scale), x, scale, points, b.getI64IntegerAttr(1),
                                              b.getI64IntegerAttr(size), b.getI64IntegerAttr(0));
  };
  if (!floatZero)
    return dequantize(q, integerZero, blockSize);
  // q * scale - zero * scale, the second repeated along the blocks.
  Value product = dequantize(q, splat(0), blockSize);
  Value shift = b.unsqueeze(b.make<onnx::MulOp>(zero, scale), {2});
  Value blocked = b.reshape(product, {rows, blocks, blockSize});
  return b.reshape(b.make<onnx::SubOp>(blocked, shift), {rows, blocks * blockSize});
}

/// A [..., K] times the transposed B, [N, K] in blocks along K: B [N, blocks, bytes of a block].
LogicalResult convertMatMulNBits(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value a = c.input(0), packed = c.input(1), scale = c.input(2), zero = c.input(3), bias = c.input(5);
  int64_t n = c.integer("N", 0), k = c.integer("K", 0), bits = c.integer("bits", 4), size = c.integer("block_size", 0);
  constexpr int64_t most = int64_t(1) << 28;
  if (!a || !packed || !scale || n <= 0 || k <= 0 || size <= 0 || n > most || k > most || size > most)
    return c.missed("an operand, N, K or block_size is missing");
  if (c.input(4))
    return c.missed("a permutation of the input's columns (g_idx) is not supported; quantise without reordering");
  if ((bits != 2 && bits != 4 && bits != 8) || size * bits % 8 != 0)
    return c.missed("weights of " + Twine(bits) + " bits in blocks of " + Twine(size) + " are not supported");
  if (c.integer("weight_prepacked", 0))
    return c.missed("weights packed for another processor (weight_prepacked) are not supported");
  int64_t blocks = llvm::divideCeil(k, size), blockBytes = size * bits / 8;
  auto elements = [&](Value value) -> std::optional<int64_t> {
    auto dims = c.shapes.getDims(value);
    int64_t count = 1;
    for (AffineExpr dim : dims ? *dims : SymbolicShapes::Dims{AffineExpr()}) {
      auto number = constantDim(dim);
      if (!number)
        return std::nullopt;
      count *= *number;
    }
    return count;
  };
  if (!isBytes(packed) || elements(packed) != n * blocks * blockBytes || elements(scale) != n * blocks)
    return c.missed("B must have " + Twine(n * blocks * blockBytes) + " bytes and scales " + Twine(n * blocks) +
                    " elements");
  Value q = unpacked(b, b.reshape(packed, {n, blocks * blockBytes}), bits);
  scale = b.reshape(scale, {n, blocks});
  if (zero && isBytes(zero)) { // packed as well, each row in whole bytes
    int64_t rowBytes = llvm::divideCeil(blocks * bits, 8);
    if (elements(zero) != n * rowBytes)
      return c.missed("zero_points must have " + Twine(n * rowBytes) + " bytes");
    zero = unpacked(b, b.reshape(zero, {n, rowBytes}), bits);
    if (rowBytes * 8 / bits != blocks)
      zero = b.slice(zero, 1, 0, blocks);
  } else if (zero) {
    if (elements(zero) != n * blocks)
      return c.missed("zero_points must have " + Twine(n * blocks) + " elements");
    zero = b.reshape(zero, {n, blocks});
    if (getElementTypeOrSelf(zero) != getElementTypeOrSelf(scale))
      zero = b.makeOf<onnx::CastOp>(getElementTypeOrSelf(scale), zero, TypeAttr::get(getElementTypeOrSelf(scale)));
  }
  Value weight = dequantized(c, q, scale, zero, bits, n, blocks, size);
  if (blocks * size != k)
    weight = b.slice(weight, 1, 0, k);
  if (getElementTypeOrSelf(weight) != getElementTypeOrSelf(a))
    weight = b.makeOf<onnx::CastOp>(getElementTypeOrSelf(a), weight, TypeAttr::get(getElementTypeOrSelf(a)));
  Value y = b.make<onnx::MatMulOp>(a, b.transpose(weight, {1, 0}));
  c.replace(0, bias ? b.make<onnx::AddOp>(y, bias) : y);
  return success();
}

/// Rows of a quantised table, as embeddings are.
LogicalResult convertGatherBlockQuantized(const ContribOp &c) {
  OnnxBuilder &b = c.b;
  Value data = c.input(0), indices = c.input(1), scale = c.input(2), zero = c.input(3);
  int64_t size = std::max<int64_t>(1, c.integer("block_size", 128)), bits = c.integer("bits", 4);
  auto rows = data ? c.shapes.getStaticDim(data, 0) : std::nullopt;
  auto width = data ? c.shapes.getStaticDim(data, 1) : std::nullopt;
  if (!data || !indices || !scale || c.shapes.getRank(data) != 2 || !rows || !width)
    return c.missed("the table must have rank 2 and a known shape");
  int64_t axis = c.integer("quantize_axis", 1);
  if (c.integer("gather_axis", 0) != 0 || (axis != 1 && axis != -1))
    return c.missed("only rows can be gathered from a table in blocks along its columns");
  if (!isBytes(data) || (bits != 2 && bits != 4 && bits != 8))
    return c.missed("the table must hold bytes of 2, 4 or 8 bit numbers");
  int64_t columns = *width * 8 / bits, blocks = llvm::divideCeil(columns, size);
  if (columns % size != 0 || c.shapes.getStaticDim(scale, 1) != blocks)
    return c.missed("the blocks must divide the columns");
  if (zero) {
    zero = unpacked(b, zero, bits);
    if (c.shapes.getStaticDim(zero, 1) != blocks)
      zero = b.slice(zero, 1, 0, blocks);
  }
  Value table = dequantized(c, unpacked(b, data, bits), scale, zero, bits, *rows, blocks, size);
  c.replace(0, b.make<onnx::GatherOp>(table, indices, 0));
  return success();
}

} // namespace caat
