// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightCodes.h"
#include "WeightMovement.h"
#include "WeightNumbers.h"
#include <cstring>

using namespace mlir;
using namespace caat;
using llvm::Expected;

bool caat::isBelowByte(Type element) {
  return element.isIntOrFloat() && element.getIntOrFloatBitWidth() > 1 && element.getIntOrFloatBitWidth() < 8;
}

TensorView caat::unpackedElements(RankedTensorType type, ArrayRef<char> packed) {
  auto [result, data] = TensorView::create(type);
  unsigned bits = type.getElementTypeBitWidth(), perByte = 8 / bits;
  bool isUnsigned = type.getElementType().isUnsignedInteger();
  for (int64_t i = 0, count = type.getNumElements(); i < count; ++i) {
    auto top = static_cast<uint8_t>(static_cast<uint8_t>(packed[i / perByte]) << (8 - bits - i % perByte * bits));
    data[i] =
        isUnsigned ? static_cast<char>(top >> (8 - bits)) : static_cast<char>(static_cast<int8_t>(top) >> (8 - bits));
  }
  return result;
}

TensorView caat::unpacked(RankedTensorType type, const TensorView &packed, unsigned bits) {
  auto [result, data] = TensorView::create(type);
  auto *to = reinterpret_cast<uint8_t *>(data);
  uint8_t mask = (1u << bits) - 1;
  forEachRun(packed, [&, to](const char *first, int64_t length, int64_t stride) mutable {
    for (int64_t i = 0; i < length; ++i)
      for (unsigned shift = 0; shift < 8; shift += bits)
        *to++ = static_cast<uint8_t>(first[i * stride]) >> shift & mask;
  });
  return result;
}

/// dequantized() of a matrix of bytes in blocks along its rows, which large weights are. Products of a byte and an f32
/// are rounded once, as in the general form.
template <typename Byte>
static void dequantizeRows(const TensorView &x, const TensorView &scale, const TensorView *zero, int64_t block,
                           float *to) {
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    const auto *row = reinterpret_cast<const Byte *>(x.data + r * x.strides[0]);
    for (int64_t b = 0; b * block < x.shape[1]; ++b) {
      int64_t offset = r * scale.strides[0] + b * scale.strides[1];
      float s = static_cast<float>(readNumber(scale.data + offset * scale.elementBytes(), scale.element));
      int z =
          zero ? static_cast<int>(readNumber(zero->data + r * zero->strides[0] + b * zero->strides[1], zero->element))
               : 0;
      int64_t end = std::min((b + 1) * block, x.shape[1]);
      for (int64_t i = b * block; i < end; ++i)
        *to++ = static_cast<float>(static_cast<int>(row[i]) - z) * s;
    }
  }
}

Expected<TensorView> caat::dequantized(onnx::DequantizeLinearOp op, ArrayRef<TensorView> operands) {
  auto type = cast<RankedTensorType>(op.getY().getType());
  const TensorView &x = operands[0], &scale = operands[1];
  const TensorView *zero = operands.size() > 2 ? &operands[2] : nullptr;
  int64_t rank = x.shape.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis(),
          block = op.getBlockSize();
  int64_t scaleRank = scale.shape.size();
  bool single = scale.numElements() == 1, blocked = !single && block > 0;
  if (!single && (axis >= rank || (blocked ? scaleRank != rank : scaleRank != 1)))
    return unsupported(op, "with a scale of this shape");
  // Scale and zero point along a row; a row is the last dimension.
  int64_t row = rank ? x.shape.back() : 1, rows = row ? x.numElements() / row : 0;
  auto [result, data] = TensorView::create(type);
  int64_t bytes = result.elementBytes();
  bool isF32 = type.getElementType().isF32();
  auto inByte = [](Type element) { return element.isInteger(8) || element.isInteger(4) || element.isInteger(2); };
  bool ofBytes = inByte(x.element) && (!zero || inByte(zero->element));
  if (blocked && rank == 2 && axis == 1 && x.strides[1] == 1 && ofBytes && isF32 && isa<FloatType>(scale.element)) {
    auto *to = reinterpret_cast<float *>(data);
    x.element.isUnsignedInteger() ? dequantizeRows<uint8_t>(x, scale, zero, block, to)
                                  : dequantizeRows<int8_t>(x, scale, zero, block, to);
    return result;
  }
  for (int64_t r = 0; r < rows; ++r) {
    SmallVector<int64_t> index(rank);
    int64_t rest = r;
    for (int64_t d = rank - 2; d >= 0; --d) {
      index[d] = rest % x.shape[d];
      rest /= x.shape[d];
    }
    const char *from = x.data, *last = nullptr;
    for (int64_t d = 0; d + 1 < rank; ++d)
      from += index[d] * x.strides[d] * x.elementBytes();
    double s = 0, z = 0;
    for (int64_t i = 0; i < row; ++i) {
      int64_t offset = 0, zeroOffset = 0;
      if (rank)
        index[rank - 1] = i;
      if (blocked)
        for (int64_t d = 0; d < rank; ++d) {
          int64_t at = d == axis ? index[d] / block : index[d];
          offset += at * scale.strides[d];
          zeroOffset += zero ? at * zero->strides[d] : 0;
        }
      else if (!single) {
        offset = index[axis] * scale.strides[0];
        zeroOffset = zero ? index[axis] * zero->strides[0] : 0;
      }
      const char *place = scale.data + offset * scale.elementBytes();
      if (place != last) {
        last = place;
        s = readNumber(place, scale.element);
        z = zero ? readNumber(zero->data + zeroOffset * zero->elementBytes(), zero->element) : 0;
      }
      const char *at = from + (rank ? i * x.strides[rank - 1] : 0) * x.elementBytes();
      double value = (readNumber(at, x.element) - z) * s;
      char *to = data + (r * row + i) * bytes;
      if (isF32) {
        float narrow = static_cast<float>(value);
        std::memcpy(to, &narrow, sizeof(narrow));
      } else {
        writeNumber(to, type.getElementType(), value);
      }
    }
  }
  return result;
}
