// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products by cuBLASLt. Of the algorithms that it proposes for a shape, the fastest is taken: they are timed once,
// beside the rank's work, by the first rank of the process that needs it; the others take the same, so that what they
// compute alike has the same bits. Ranks in other processes cannot be asked then: those take what the library proposes
// first.
#ifndef CAAT_RUNTIME_CUDA_PRODUCTS_H
#define CAAT_RUNTIME_CUDA_PRODUCTS_H

#include "Context.h"
#include "caat/runtime/Device.h"
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

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
  int epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void *bias = nullptr; // of the output's type, [m]
  bool operator==(const Gemm &) const = default;
};

/// A row-major product in the library's terms: its transpose, so that A is `p.b`. Nothing where it does not take the
/// strides or the type.
std::optional<Gemm> asGemm(const MatMul &p);

/// What tells shapes apart.
using ProductKey = std::tuple<int, int, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                              int64_t, int64_t, int64_t, unsigned, bool, int>;

/// Which of the proposed algorithms is the fastest, by shape, for all ranks of a process.
class ProductTimes {
public:
  /// CAAT_CUDA_TIME_PRODUCTS: 0 times nothing, a number is the fewest multiplications of a product that is timed.
  ProductTimes();
  bool wants(int64_t multiplications) const { return multiplications >= fewest; }
  /// As measured by the first who asks.
  size_t fastest(const ProductKey &key, const std::function<size_t()> &measure);

private:
  int64_t fewest;
  std::mutex mutex;
  std::map<ProductKey, size_t> known;
};

class Products {
public:
  /// Without `times` nothing is timed.
  Products(std::shared_ptr<const CublasLt> library, const Context &context, std::shared_ptr<ProductTimes> times);
  ~Products();

  /// Whether the library has an algorithm for it.
  bool knows(const Gemm &gemm) { return choiceFor(gemm).exists; }
  void run(const Gemm &gemm, CUstream stream);
  /// Whether run() takes the fastest algorithm, or the first.
  bool takesFastest = true;
  bool timesAny() const { return times != nullptr; }
  /// Before the first run of a shape, where its operands are there: `work` is the stream that they come from, which may
  /// be waited for.
  void prepare(const Gemm &gemm, CUstream work);

private:
  struct Choice {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    std::vector<cublasLtMatmulHeuristicResult_t> algorithms; // as proposed, the best guess first
    size_t fastest = 0;
    bool exists = false, isPrepared = false;
  };
  static ProductKey keyOf(const Gemm &gemm);
  Choice &choiceFor(const Gemm &gemm);
  void setBias(const Gemm &gemm, const Choice &choice) const;
  cublasStatus_t multiply(const Gemm &gemm, const Choice &choice, size_t algorithm, void *c, CUstream stream) const;
  size_t measure(const Gemm &gemm, const Choice &choice, CUstream work) const;
  Choice choose(const Gemm &gemm, unsigned alignment);
  void forget(Choice &choice);
  cublasLtMatrixLayout_t layout(int type, int64_t rows, int64_t columns, int64_t leading, int64_t batch,
                                int64_t stride);

  std::shared_ptr<const CublasLt> library;
  const Context &context;
  std::shared_ptr<ProductTimes> times;
  cublasLtHandle_t handle = nullptr;
  std::shared_ptr<std::byte> workspace;
  std::map<ProductKey, Choice> choices;
};

} // namespace caat::runtime::cuda

#endif
