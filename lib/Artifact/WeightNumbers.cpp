// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightNumbers.h"
#include "WeightMovement.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/APInt.h"
#include <cstring>

using namespace mlir;
using namespace caat;

double caat::readNumber(const char *at, Type element) {
  auto read = [&](auto zero) {
    std::memcpy(&zero, at, sizeof(zero));
    return zero;
  };
  if (element.isF32())
    return read(0.0f);
  if (element.isF64())
    return read(0.0);
  if (auto type = dyn_cast<FloatType>(element)) {
    llvm::APInt bits(type.getWidth(), type.getWidth() == 8 ? read(uint8_t(0)) : read(uint16_t(0)));
    return llvm::APFloat(type.getFloatSemantics(), bits).convertToDouble();
  }
  bool isUnsigned = element.isUnsignedInteger();
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return *at != 0;
  case 2: // in a byte of its own: see unpackedElements
  case 4:
  case 8:
    return isUnsigned ? double(read(uint8_t(0))) : double(read(int8_t(0)));
  case 16:
    return isUnsigned ? double(read(uint16_t(0))) : double(read(int16_t(0)));
  case 32:
    return isUnsigned ? double(read(uint32_t(0))) : double(read(int32_t(0)));
  default:
    return isUnsigned ? double(read(uint64_t(0))) : double(read(int64_t(0)));
  }
}

void caat::writeNumber(char *at, Type element, double value) {
  auto write = [&](auto number) { std::memcpy(at, &number, sizeof(number)); };
  if (element.isF32())
    return write(static_cast<float>(value));
  if (element.isF64())
    return write(value);
  if (auto type = dyn_cast<FloatType>(element)) {
    // Twice rounded values differ from once rounded ones only where float's own rounding already decided.
    llvm::APFloat number(static_cast<float>(value));
    bool inexact;
    number.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &inexact);
    uint64_t bits = number.bitcastToAPInt().getZExtValue();
    return type.getWidth() == 8 ? write(static_cast<uint8_t>(bits)) : write(static_cast<uint16_t>(bits));
  }
  if (element.isUnsignedInteger(64))
    return write(static_cast<uint64_t>(value));
  auto integer = static_cast<int64_t>(value); // modulo the width, whatever the sign
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return write(static_cast<uint8_t>(value != 0));
  case 8:
    return write(static_cast<uint8_t>(integer));
  case 16:
    return write(static_cast<uint16_t>(integer));
  case 32:
    return write(static_cast<uint32_t>(integer));
  default:
    return write(integer);
  }
}

void caat::forEachElement(const TensorView &view, llvm::function_ref<void(const char *)> visit) {
  forEachRun(view, [&](const char *first, int64_t length, int64_t stride) {
    for (int64_t i = 0; i < length; ++i)
      visit(first + i * stride * view.elementBytes());
  });
}

SmallVector<int64_t> caat::integers(const TensorView &view) {
  SmallVector<int64_t> result;
  forEachElement(view, [&](const char *at) { result.push_back(static_cast<int64_t>(readNumber(at, view.element))); });
  return result;
}

TensorView caat::mapped(RankedTensorType type, const TensorView &x, llvm::function_ref<double(double)> function) {
  auto [result, data] = TensorView::create(type);
  int64_t bytes = result.elementBytes();
  forEachElement(x, [&, to = data](const char *at) mutable {
    writeNumber(to, type.getElementType(), function(readNumber(at, x.element)));
    to += bytes;
  });
  return result;
}

TensorView caat::combined(RankedTensorType type, const TensorView &x, const TensorView &y,
                          llvm::function_ref<double(double, double)> function) {
  auto [result, data] = TensorView::create(type);
  TensorView a = broadcast(x, type.getShape()), b = broadcast(y, type.getShape());
  int64_t bytes = result.elementBytes(), count = result.numElements();
  bool isFloat = type.getElementType().isF32();
  for (int64_t i = 0; i < count; ++i) {
    double value = function(readNumber(a.at(i), a.element), readNumber(b.at(i), b.element));
    writeNumber(data + i * bytes, type.getElementType(), isFloat ? static_cast<float>(value) : value);
  }
  return result;
}
