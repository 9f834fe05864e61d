// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Reduce.h"
#include "caat/runtime/Bf16.h"
#include "caat/runtime/Error.h"
#include <cstring>

namespace caat::runtime {

namespace {

template <typename T> struct Native {
  using Stored = T;
  using Sum = T;
  static Sum load(Stored x) { return x; }
  static Stored store(Sum x) { return x; }
};

struct BFloat16 {
  using Stored = uint16_t;
  using Sum = float;
  static Sum load(Stored x) { return bf16ToFloat(x); }
  static Stored store(Sum x) { return floatToBf16(x); }
};

struct Half {
  using Stored = _Float16;
  using Sum = float;
  static Sum load(Stored x) { return static_cast<float>(x); }
  static Stored store(Sum x) { return static_cast<_Float16>(x); }
};

template <typename Type>
void sum(std::span<const void *const> sources, std::span<void *const> destinations, int64_t begin, int64_t end) {
  using Stored = typename Type::Stored;
  constexpr int64_t block = 512; // stays in the first-level cache
  typename Type::Sum total[block];
  for (int64_t at = begin; at < end; at += block) {
    int64_t length = std::min(block, end - at);
    const Stored *first = static_cast<const Stored *>(sources[0]) + at;
    for (int64_t i = 0; i < length; ++i)
      total[i] = Type::load(first[i]);
    for (const void *source : sources.subspan(1)) {
      const Stored *next = static_cast<const Stored *>(source) + at;
      for (int64_t i = 0; i < length; ++i)
        total[i] += Type::load(next[i]);
    }
    for (void *destination : destinations) {
      Stored *out = static_cast<Stored *>(destination) + at;
      for (int64_t i = 0; i < length; ++i)
        out[i] = Type::store(total[i]);
    }
  }
}

} // namespace

void sumInOrder(DType dtype, std::span<const void *const> sources, std::span<void *const> destinations, int64_t begin,
                int64_t end) {
  switch (dtype) {
  case DType::F32:
    return sum<Native<float>>(sources, destinations, begin, end);
  case DType::BF16:
    return sum<BFloat16>(sources, destinations, begin, end);
  case DType::F16:
    return sum<Half>(sources, destinations, begin, end);
  case DType::F64:
    return sum<Native<double>>(sources, destinations, begin, end);
  case DType::I64: // unsigned: sums wrap round
  case DType::UI64:
    return sum<Native<uint64_t>>(sources, destinations, begin, end);
  case DType::I32:
  case DType::UI32:
    return sum<Native<uint32_t>>(sources, destinations, begin, end);
  default:
    return checkSummable(dtype);
  }
}

void checkSummable(DType dtype) {
  if (sizeOf(dtype) == 1 || dtype == DType::I16 || dtype == DType::UI16)
    failRun("elements of type ", nameOf(dtype), " cannot be summed");
}

} // namespace caat::runtime
