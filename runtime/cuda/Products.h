// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products by cuBLASLt: an algorithm is chosen once for each shape.
#ifndef CAAT_RUNTIME_CUDA_PRODUCTS_H
#define CAAT_RUNTIME_CUDA_PRODUCTS_H

#include "Context.h"
#include "caat/runtime/Device.h"
#include <map>
#include <optional>
#include <tuple>

namespace caat::runtime::cuda {

/// What the library calls a product: column-major C[m, n] = alpha op(A)[m, k] op(B)[k, n] + beta C, for each of a
/// batch.
struct Gemm {
  int inputType, outputType, computeType; // cudaDataType, cublasComputeType_t
  bool transposeA, transposeB;
  int64_t m, n, k, batch;
  const void *a, *b;
  void *c;
  int64_t aLeading, bLeading, cLeading, aStride, bStride, cStride;
  float alpha, beta;
  bool operator==(const Gemm &) const = default;
};

/// A row-major product in the library's terms: its transpose, so that A is `p.b`. Nothing where it does not take the
/// strides or the type.
std::optional<Gemm> asGemm(const MatMul &p);

class Products {
public:
  Products(std::shared_ptr<const CublasLt> library, const Context &context);
  ~Products();

  /// Whether the library has an algorithm for it.
  bool knows(const Gemm &gemm) { return choiceFor(gemm).exists; }
  void run(const Gemm &gemm, CUstream stream);

private:
  using Key = std::tuple<int, int, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                         int64_t, int64_t, unsigned, bool>;
  struct Choice {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulHeuristicResult_t best = {};
    bool exists = false;
  };
  const Choice &choiceFor(const Gemm &gemm);
  Choice choose(const Gemm &gemm, unsigned alignment);
  void forget(Choice &choice);
  cublasLtMatrixLayout_t layout(int type, int64_t rows, int64_t columns, int64_t leading, int64_t batch,
                                int64_t stride);

  std::shared_ptr<const CublasLt> library;
  cublasLtHandle_t handle = nullptr;
  std::shared_ptr<std::byte> workspace;
  std::map<Key, Choice> choices;
};

} // namespace caat::runtime::cuda

#endif
