// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Tensor.h"
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

} // namespace caat::runtime
