// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of two activations in bf16, with f32 sums. A primitive whose sizes and strides are given at run time is as
// fast as one made for them (m 192, n 512, k 64 on one core of Zen 4: 215 GFLOP/s and 202 to 213; dnnl_sgemm: 110), so
// that four serve all shapes, whatever lengths do.
#include "Bf16Products.h"
#include "Operand.h"
#include "caat/runtime/Bf16.h"
#include "caat/runtime/Error.h"
#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string_view>

namespace caat::runtime {

namespace {

using dnnl::memory;
using Type = memory::data_type;

/// oneDNN has bf16 products for all of AVX-512; without instructions for them they are slower than those of f32.
bool processorHasBf16() {
  auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  constexpr auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & wanted) == wanted;
}

memory::desc matrix(int64_t rows, int64_t cols, Type type, bool transposed, int64_t leading) {
  return {{rows, cols}, type, transposed ? memory::dims{1, leading} : memory::dims{leading, 1}};
}

/// Used by one thread.
class Primitives {
public:
  /// Null where this processor has none.
  dnnl::matmul *find(bool transposeA, bool transposeB) {
    auto &known = made[static_cast<size_t>(2 * transposeA + transposeB)];
    if (!known)
      known = make(transposeA, transposeB);
    return *known ? &*known : nullptr;
  }

  const dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

private:
  dnnl::matmul make(bool transposeA, bool transposeB) const {
    if (!processorHasBf16())
      return {};
    constexpr int64_t any = DNNL_RUNTIME_DIM_VAL;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_output_scales(0, {DNNL_RUNTIME_F32_VAL});
    try {
      dnnl::matmul::primitive_desc description(dnnl::matmul::desc(matrix(any, any, Type::bf16, transposeA, any),
                                                                  matrix(any, any, Type::bf16, transposeB, any),
                                                                  matrix(any, any, Type::f32, false, any)),
                                               attributes, engine);
      bool isFast = !std::string_view(description.impl_info_str()).starts_with("ref");
      if (isFast && description.scratchpad_desc().get_size() == 0)
        return dnnl::matmul(description);
    } catch (const dnnl::error &) { // there is none
    }
    return {};
  }

  std::array<std::optional<dnnl::matmul>, 4> made; // empty ones: there is none
};

/// Elements side by side, along whichever stride is less.
void widen(const uint16_t *data, int64_t rows, int64_t cols, int64_t &rowStride, int64_t &colStride,
           std::vector<float> &to) {
  to.resize(static_cast<size_t>(rows * cols));
  bool byRow = colStride <= rowStride;
  int64_t outer = byRow ? rows : cols, inner = byRow ? cols : rows;
  int64_t outerStride = byRow ? rowStride : colStride, innerStride = byRow ? colStride : rowStride;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t j = 0; j < inner; ++j)
      to[static_cast<size_t>(i * inner + j)] = bf16ToFloat(data[i * outerStride + j * innerStride]);
  rowStride = byRow ? cols : 1;
  colStride = byRow ? 1 : rows;
}

} // namespace

bool runBf16(const MatMul &p) {
  static thread_local Primitives primitives;
  std::vector<uint16_t> copyA, copyB;
  float alpha = p.alpha;
  memory scale({{1}, Type::f32, memory::format_tag::a}, primitives.engine, &alpha);
  for (int64_t i = 0; i < p.batch; ++i) {
    auto a = prepare(static_cast<const uint16_t *>(p.a) + i * p.aBatch, p.m, p.k, p.aRow, p.aCol, copyA);
    auto b = prepare(static_cast<const uint16_t *>(p.b) + i * p.bBatch, p.k, p.n, p.bRow, p.bCol, copyB);
    bool transposeA = a.transposed == 'T', transposeB = b.transposed == 'T';
    dnnl::matmul *product = primitives.find(transposeA, transposeB);
    if (!product)
      return false;
    auto at = [&](int64_t rows, int64_t cols, Type type, bool transposed, int64_t leading, const void *data) {
      return memory(matrix(rows, cols, type, transposed, leading), primitives.engine, const_cast<void *>(data));
    };
    try {
      product->execute(primitives.stream, {{DNNL_ARG_SRC, at(p.m, p.k, Type::bf16, transposeA, a.leading, a.data)},
                                           {DNNL_ARG_WEIGHTS, at(p.k, p.n, Type::bf16, transposeB, b.leading, b.data)},
                                           {DNNL_ARG_DST, at(p.m, p.n, Type::f32, false, p.m == 1 ? p.n : p.cRow,
                                                             static_cast<float *>(p.c) + i * p.cBatch)},
                                           {DNNL_ARG_ATTR_OUTPUT_SCALES, scale}});
    } catch (const dnnl::error &e) {
      failRun("oneDNN: bf16 product of [", p.m, ", ", p.k, "] and [", p.k, ", ", p.n, "]: ", e.what());
    }
  }
  return true;
}

void runWidened(const MatMul &p) {
  std::vector<float> a, b;
  for (int64_t i = 0; i < p.batch; ++i) {
    MatMul wide = p;
    wide.dtype = DType::F32;
    wide.batch = 1;
    widen(static_cast<const uint16_t *>(p.a) + i * p.aBatch, p.m, p.k, wide.aRow, wide.aCol, a);
    widen(static_cast<const uint16_t *>(p.b) + i * p.bBatch, p.k, p.n, wide.bRow, wide.bCol, b);
    wide.a = a.data();
    wide.b = b.data();
    wide.c = static_cast<float *>(p.c) + i * p.cBatch;
    runMatMul(wide);
  }
}

} // namespace caat::runtime
