// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Products.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cmath>
#include <utility>

namespace caat::runtime::cuda {

namespace {

constexpr size_t workspaceBytes = 32 << 20;
/// A run without a cache has a new shape at every step: more than this many are thrown away.
constexpr size_t maxChoices = 1024;
/// Algorithms of a shape that are timed, how often, and by what share another one must be faster than the first.
constexpr int mostAlgorithms = 8, timedRuns = 3;
constexpr float worthwhile = 0.97f;
constexpr int64_t fewestMultiplications = int64_t{1} << 24; // below, starting it takes longer

/// A matrix [rows, columns] of a row-major product as the column-major library reads its transpose [columns, rows].
struct Operand {
  bool transposed; // it lies in memory as [rows, columns] of the library's order
  int64_t leading;
};

std::optional<Operand> operandOf(int64_t rows, int64_t columns, int64_t rowStride, int64_t columnStride) {
  bool anyRow = rows == 1, anyColumn = columns == 1; // that stride is never used
  if ((columnStride == 1 || anyColumn) && (rowStride >= columns || anyRow))
    return Operand{false, anyRow ? std::max<int64_t>(columns, 1) : rowStride};
  if ((rowStride == 1 || anyRow) && (columnStride >= rows || anyColumn))
    return Operand{true, anyColumn ? std::max<int64_t>(rows, 1) : columnStride};
  return std::nullopt;
}

/// The largest power of two up to 256 that divides it.
unsigned alignmentOf(const void *pointer, int64_t leading, int64_t stride, int64_t size) {
  uint64_t all =
      addressOf(pointer) | static_cast<uint64_t>(leading * size) | static_cast<uint64_t>(stride * size) | 256;
  return static_cast<unsigned>(all & (~all + 1));
}

int64_t sizeOfType(int type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

} // namespace

std::optional<Gemm> asGemm(const MatMul &p) {
  if ((p.dtype != DType::F32 && p.dtype != DType::F64) || p.k == 0)
    return std::nullopt;
  std::optional<Operand> a = operandOf(p.m, p.k, p.aRow, p.aCol), b = operandOf(p.k, p.n, p.bRow, p.bCol);
  bool fits = p.m == 1 || p.cRow >= p.n;
  if (!a || !b || !fits || (p.batch > 1 && (p.aBatch < 0 || p.bBatch < 0 || p.cBatch < 1)))
    return std::nullopt;
  bool isDouble = p.dtype == DType::F64;
  int type = isDouble ? CUDA_R_64F : CUDA_R_32F;
  return Gemm{type,          type,          isDouble ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
              b->transposed, a->transposed, p.n,
              p.m,           p.k,           p.batch,
              p.b,           p.a,           p.c,
              b->leading,    a->leading,    p.m == 1 ? std::max<int64_t>(p.n, 1) : p.cRow,
              p.bBatch,      p.aBatch,      p.cBatch,
              p.alpha,       p.beta};
}

ProductTimes::ProductTimes() : fewest(environment::number("CAAT_CUDA_TIME_PRODUCTS", fewestMultiplications)) {
  if (fewest == 0)
    fewest = INT64_MAX;
}

size_t ProductTimes::fastest(const ProductKey &key, const std::function<size_t()> &measure) {
  std::lock_guard lock(mutex); // one at a time, so that they do not disturb each other
  auto [place, isNew] = known.try_emplace(key, 0);
  if (isNew)
    place->second = measure();
  return place->second;
}

Products::Products(std::shared_ptr<const CublasLt> given, const Context &context, std::shared_ptr<ProductTimes> times)
    : library(std::move(given)), context(context), times(std::move(times)) {
  context.enter();
  library->check(library->cublasLtCreate(&handle), "cuBLASLt on " + context.name());
  workspace = context.allocate(workspaceBytes, "the workspace of cuBLASLt");
}

Products::~Products() {
  for (auto &[key, choice] : choices)
    forget(choice);
  if (handle)
    library->cublasLtDestroy(handle);
}

void Products::forget(Choice &choice) {
  if (choice.operation)
    library->cublasLtMatmulDescDestroy(choice.operation);
  for (cublasLtMatrixLayout_t layout : {choice.a, choice.b, choice.c})
    if (layout)
      library->cublasLtMatrixLayoutDestroy(layout);
}

cublasLtMatrixLayout_t Products::layout(int type, int64_t rows, int64_t columns, int64_t leading, int64_t batch,
                                        int64_t stride) {
  cublasLtMatrixLayout_t result = nullptr;
  library->check(library->cublasLtMatrixLayoutCreate(&result, type, static_cast<uint64_t>(rows),
                                                     static_cast<uint64_t>(columns), leading),
                 "a matrix layout");
  if (batch > 1) {
    auto count = static_cast<int32_t>(batch);
    library->check(
        library->cublasLtMatrixLayoutSetAttribute(result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
        "a batch's size");
    library->check(library->cublasLtMatrixLayoutSetAttribute(result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                             &stride, sizeof stride),
                   "a batch's stride");
  }
  return result;
}

/// Products of one shape have each their own.
void Products::setBias(const Gemm &g, const Choice &choice) const {
  if (g.bias)
    library->check(library->cublasLtMatmulDescSetAttribute(choice.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g.bias,
                                                           sizeof g.bias),
                   "a product's bias");
}

Products::Choice Products::choose(const Gemm &g, unsigned alignment) {
  const CublasLt &lt = *library;
  Choice choice;
  bool isDouble = g.computeType == CUBLAS_COMPUTE_64F;
  lt.check(lt.cublasLtMatmulDescCreate(&choice.operation, g.computeType, isDouble ? CUDA_R_64F : CUDA_R_32F),
           "a product");
  int a = g.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N, b = g.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N;
  lt.check(lt.cublasLtMatmulDescSetAttribute(choice.operation, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a), "a product");
  lt.check(lt.cublasLtMatmulDescSetAttribute(choice.operation, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b), "a product");
  if (g.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
    lt.check(lt.cublasLtMatmulDescSetAttribute(choice.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &g.epilogue,
                                               sizeof g.epilogue),
             "a product's epilogue");
  setBias(g, choice);
  choice.a = layout(g.inputType, g.transposeA ? g.k : g.m, g.transposeA ? g.m : g.k, g.aLeading, g.batch, g.aStride);
  choice.b = layout(g.inputType, g.transposeB ? g.n : g.k, g.transposeB ? g.k : g.n, g.bLeading, g.batch, g.bStride);
  choice.c = layout(g.outputType, g.m, g.n, g.cLeading, g.batch, g.cStride);

  cublasLtMatmulPreference_t preference = nullptr;
  lt.check(lt.cublasLtMatmulPreferenceCreate(&preference), "a preference");
  size_t workspaceSize = workspaceBytes;
  lt.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspaceSize,
                                          sizeof workspaceSize);
  auto aligned = static_cast<uint32_t>(alignment);
  for (int attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    lt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &aligned, sizeof aligned);
  int found = 0;
  choice.algorithms.resize(mostAlgorithms);
  cublasStatus_t status =
      lt.cublasLtMatmulAlgoGetHeuristic(handle, choice.operation, choice.a, choice.b, choice.c, choice.c, preference,
                                        mostAlgorithms, choice.algorithms.data(), &found);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  choice.algorithms.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(std::max(found, 0)) : 0);
  std::erase_if(choice.algorithms, [](const auto &algorithm) { return algorithm.state != CUBLAS_STATUS_SUCCESS; });
  choice.exists = !choice.algorithms.empty();
  return choice;
}

ProductKey Products::keyOf(const Gemm &g) {
  int64_t in = sizeOfType(g.inputType), out = sizeOfType(g.outputType);
  bool batched = g.batch > 1;
  unsigned alignment = std::min({alignmentOf(g.a, g.aLeading, batched ? g.aStride : 0, in),
                                 alignmentOf(g.b, g.bLeading, batched ? g.bStride : 0, in),
                                 alignmentOf(g.c, g.cLeading, batched ? g.cStride : 0, out)});
  return {g.inputType,
          g.outputType,
          g.transposeA,
          g.transposeB,
          g.m,
          g.n,
          g.k,
          g.batch,
          g.aLeading,
          g.bLeading,
          g.cLeading,
          batched ? g.aStride : 0,
          batched ? g.bStride : 0,
          batched ? g.cStride : 0,
          alignment,
          g.beta != 0.0f,
          g.epilogue};
}

Products::Choice &Products::choiceFor(const Gemm &g) {
  ProductKey key = keyOf(g);
  auto at = choices.find(key);
  if (at == choices.end()) {
    if (choices.size() >= maxChoices) {
      for (auto &[old, choice] : choices)
        forget(choice);
      choices.clear();
    }
    at = choices.emplace(key, choose(g, std::get<unsigned>(key))).first;
  }
  return at->second;
}

cublasStatus_t Products::multiply(const Gemm &g, const Choice &choice, size_t algorithm, void *c,
                                  CUstream stream) const {
  setBias(g, choice);
  double wide[] = {g.alpha, g.beta};
  bool isDouble = g.computeType == CUBLAS_COMPUTE_64F;
  const void *alpha = isDouble ? static_cast<const void *>(&wide[0]) : &g.alpha;
  const void *beta = isDouble ? static_cast<const void *>(&wide[1]) : &g.beta;
  return library->cublasLtMatmul(handle, choice.operation, alpha, g.a, choice.a, g.b, choice.b, beta, c, choice.c, c,
                                 choice.c, &choice.algorithms[algorithm].algo, workspace.get(), workspaceBytes, stream);
}

void Products::run(const Gemm &g, CUstream stream) {
  const Choice &choice = choiceFor(g);
  if (cublasStatus_t status = multiply(g, choice, takesFastest ? choice.fastest : 0, g.c, stream);
      status != CUBLAS_STATUS_SUCCESS)
    failRun("cuBLASLt: product [", g.n, ", ", g.k, "] x [", g.k, ", ", g.m, "], batch ", g.batch, ": ",
            library->cublasLtGetStatusName(status));
}

void Products::prepare(const Gemm &g, CUstream work) {
  Choice &choice = choiceFor(g);
  if (std::exchange(choice.isPrepared, true) || !times || choice.algorithms.size() < 2 ||
      !times->wants(g.m * g.n * g.k * g.batch))
    return;
  size_t fastest = times->fastest(keyOf(g), [&] { return measure(g, choice, work); });
  choice.fastest = std::min(fastest, choice.algorithms.size() - 1);
}

/// With the operands as they are, and a result that nobody reads; on a stream of its own, so that steps that are held
/// back for a graph stay so. The first one where something goes wrong.
size_t Products::measure(const Gemm &g, const Choice &choice, CUstream work) const {
  const Driver &driver = context.driver();
  size_t best = 0;
  CUstream stream = nullptr;
  CUevent begin = nullptr, end = nullptr;
  try {
    driver.check(driver.cuStreamSynchronize(work), "products before");
    driver.check(driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "a stream");
    driver.check(driver.cuEventCreate(&begin, CU_EVENT_DEFAULT), "an event");
    driver.check(driver.cuEventCreate(&end, CU_EVENT_DEFAULT), "an event");
    int64_t elements = (g.batch - 1) * g.cStride + g.n * g.cLeading;
    auto c = context.allocate(static_cast<size_t>(elements * sizeOfType(g.outputType)), "a product to be timed");
    float least = INFINITY;
    for (size_t i = 0; i < choice.algorithms.size(); ++i) {
      if (multiply(g, choice, i, c.get(), stream) != CUBLAS_STATUS_SUCCESS) // it is loaded now
        continue;
      driver.check(driver.cuEventRecord(begin, stream), "an event");
      for (int run = 0; run < timedRuns; ++run)
        library->check(multiply(g, choice, i, c.get(), stream), "a product");
      driver.check(driver.cuEventRecord(end, stream), "an event");
      driver.check(driver.cuEventSynchronize(end), "a product");
      float time = 0;
      driver.check(driver.cuEventElapsedTime(&time, begin, end), "an event");
      if (time < least * (i == 0 ? 1 : worthwhile)) {
        least = time;
        best = i;
      }
    }
  } catch (const Error &) {
    best = 0;
  }
  for (CUevent event : {begin, end})
    if (event)
      driver.cuEventDestroy_v2(event);
  if (stream)
    driver.cuStreamDestroy_v2(stream);
  return best;
}

} // namespace caat::runtime::cuda
