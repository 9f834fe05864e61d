// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Element types, shapes and dense row-major arrays in host memory.
#ifndef CAAT_RUNTIME_TENSOR_H
#define CAAT_RUNTIME_TENSOR_H

#include "caat/runtime/Abi.h"
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caat::runtime {

enum class DType : int {
  F32 = CAAT_F32,
  BF16 = CAAT_BF16,
  F16 = CAAT_F16,
  I64 = CAAT_I64,
  I32 = CAAT_I32,
  I8 = CAAT_I8,
  Bool = CAAT_BOOL,
  F64 = CAAT_F64,
  UI8 = CAAT_UI8,
  I16 = CAAT_I16,
  UI16 = CAAT_UI16,
  UI32 = CAAT_UI32,
  UI64 = CAAT_UI64
};
inline constexpr int numDTypes = 13;

/// Bytes of one element.
size_t sizeOf(DType dtype);
/// The manifest's name: "f32", "bf16", ...
std::string_view nameOf(DType dtype);
/// The type of a manifest's name, or nothing.
std::optional<DType> dtypeFromName(std::string_view name);

using Shape = std::vector<int64_t>;

/// "[2, 3]", for messages.
std::string toString(std::span<const int64_t> shape);
/// Number of elements; an Error where a dimension is negative or the product with `elementSize` overflows.
int64_t elementCount(std::span<const int64_t> shape, size_t elementSize = 1);

/// A dense row-major array that owns its bytes, or shares them with what `data` keeps alive.
struct Tensor {
  DType dtype = DType::F32;
  Shape shape;
  std::shared_ptr<std::byte> data;

  Tensor() = default;
  /// Zero-filled, aligned to 64 bytes.
  Tensor(DType dtype, Shape shape);
  /// Over bytes that the caller keeps alive.
  static Tensor view(DType dtype, Shape shape, void *data);

  int64_t count() const { return elementCount(shape); }
  size_t bytes() const { return static_cast<size_t>(count()) * sizeOf(dtype); }
  template <typename T> T *as() { return reinterpret_cast<T *>(data.get()); }
  template <typename T> const T *as() const { return reinterpret_cast<const T *>(data.get()); }
};

/// Whether converted() knows the type: f32, bf16, f16.
bool isConvertible(DType dtype);
/// The same numbers in another type, rounded to nearest, ties to even; `tensor` itself where it has the type.
Tensor converted(const Tensor &tensor, DType dtype);

/// Arrays by name, in the order of the names.
using TensorMap = std::map<std::string, Tensor>;

} // namespace caat::runtime

#endif
