// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Tensor.h"
#include "caat/runtime/Bf16.h"
#include "caat/runtime/Error.h"
#include <cstdlib>
#include <cstring>

namespace caat::runtime {

namespace {
struct DTypeInfo {
  std::string_view name;
  size_t size;
};
constexpr DTypeInfo dtypes[numDTypes] = {{"f32", 4},  {"bf16", 2}, {"f16", 2}, {"i64", 8}, {"i32", 4},
                                         {"i8", 1},   {"bool", 1}, {"f64", 8}, {"ui8", 1}, {"i16", 2},
                                         {"ui16", 2}, {"ui32", 4}, {"ui64", 8}};
} // namespace

size_t sizeOf(DType dtype) { return dtypes[static_cast<int>(dtype)].size; }

std::string_view nameOf(DType dtype) { return dtypes[static_cast<int>(dtype)].name; }

std::optional<DType> dtypeFromName(std::string_view name) {
  for (int i = 0; i < numDTypes; ++i)
    if (dtypes[i].name == name)
      return static_cast<DType>(i);
  return std::nullopt;
}

std::string toString(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t elementCount(std::span<const int64_t> shape, size_t elementSize) {
  int64_t bytes = static_cast<int64_t>(elementSize), count = 1;
  for (int64_t dim : shape)
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
      failInput("shape ", toString(shape), " has a negative dimension or too many elements");
  if (__builtin_mul_overflow(count, bytes, &bytes))
    failInput("shape ", toString(shape), " has too many bytes");
  return count;
}

Tensor::Tensor(DType dtype, Shape dims) : dtype(dtype), shape(std::move(dims)) {
  size_t bytes = static_cast<size_t>(elementCount(shape, sizeOf(dtype))) * sizeOf(dtype);
  size_t padded = (bytes + 63) / 64 * 64 + 64;
  auto *memory = static_cast<std::byte *>(padded < bytes ? nullptr : std::aligned_alloc(64, padded));
  if (!memory)
    failRun("out of memory: ", bytes, " bytes for an array of shape ", toString(shape));
  std::memset(memory, 0, padded);
  data = std::shared_ptr<std::byte>(memory, [](std::byte *p) { std::free(p); });
}

Tensor Tensor::view(DType dtype, Shape shape, void *data) {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.data = std::shared_ptr<std::byte>(static_cast<std::byte *>(data), [](std::byte *) {});
  return tensor;
}

bool isConvertible(DType dtype) { return dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16; }

Tensor converted(const Tensor &tensor, DType dtype) {
  if (tensor.dtype == dtype)
    return tensor;
  if (!isConvertible(tensor.dtype) || !isConvertible(dtype))
    failInput("an array of type ", nameOf(tensor.dtype), " cannot become ", nameOf(dtype));
  Tensor result(dtype, tensor.shape);
  for (int64_t i = 0, count = tensor.count(); i < count; ++i) {
    float value = tensor.dtype == DType::F32    ? tensor.as<float>()[i]
                  : tensor.dtype == DType::BF16 ? bf16ToFloat(tensor.as<uint16_t>()[i])
                                                : static_cast<float>(tensor.as<_Float16>()[i]);
    if (dtype == DType::F32)
      result.as<float>()[i] = value;
    else if (dtype == DType::BF16)
      result.as<uint16_t>()[i] = floatToBf16(value);
    else
      result.as<_Float16>()[i] = static_cast<_Float16>(value);
  }
  return result;
}

} // namespace caat::runtime
