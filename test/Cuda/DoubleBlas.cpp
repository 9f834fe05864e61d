// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cuBLASLt's functions: plain loops.
#include "Double.h"
#include "caat/runtime/Bf16.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <thread>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

constexpr cublasStatus_t CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15,
                         CUBLAS_STATUS_EXECUTION_FAILED = 13;

struct Operation {
  int computeType, scaleType;
  int32_t transpose[2] = {}, epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void *bias = nullptr;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch = 1;
  int64_t stride = 0;

  int64_t size() const { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }
  int64_t at(int64_t row, int64_t column, int32_t number) const { return number * stride + column * leading + row; }
  double load(const void *data, int64_t index) const {
    if (type == CUDA_R_64F)
      return static_cast<const double *>(data)[index];
    if (type == CUDA_R_32F)
      return static_cast<const float *>(data)[index];
    if (type == CUDA_R_16F)
      return static_cast<double>(static_cast<const _Float16 *>(data)[index]);
    return caat::runtime::bf16ToFloat(static_cast<const uint16_t *>(data)[index]);
  }
  void store(void *data, int64_t index, double value) const {
    if (type == CUDA_R_64F)
      static_cast<double *>(data)[index] = value;
    else if (type == CUDA_R_32F)
      static_cast<float *>(data)[index] = static_cast<float>(value);
    else if (type == CUDA_R_16F)
      static_cast<_Float16 *>(data)[index] = static_cast<_Float16>(static_cast<float>(value));
    else
      static_cast<uint16_t *>(data)[index] = caat::runtime::floatToBf16(static_cast<float>(value));
  }
  /// Whether half of the elements or more are not zero, and all are finite.
  bool isFullOfNumbers(const void *data) const {
    int64_t all = 0, numbers = 0;
    for (int32_t i = 0; i < batch; ++i)
      for (uint64_t column = 0; column < columns; ++column)
        for (uint64_t row = 0; row < rows; ++row, ++all) {
          double value = load(data, at(static_cast<int64_t>(row), static_cast<int64_t>(column), i));
          if (!std::isfinite(value))
            return false;
          numbers += value != 0;
        }
    return numbers * 2 >= all;
  }
  void accesses(const void *data, bool writes, std::vector<Access> &all) const {
    auto address = reinterpret_cast<uint64_t>(data);
    for (int32_t i = 0; i < batch; ++i)
      for (uint64_t column = 0; column < columns; ++column) {
        uint64_t begin = address + static_cast<uint64_t>(at(0, static_cast<int64_t>(column), i) * size());
        all.push_back({begin, begin + rows * static_cast<uint64_t>(size()), writes});
      }
  }
};

struct Preference {
  uint32_t alignment[4] = {256, 256, 256, 256};
};

/// " with bias, gelu", of an epilogue that the library knows; nothing else for others.
std::optional<std::string> nameOf(int epilogue) {
  if (epilogue == CUBLASLT_EPILOGUE_DEFAULT)
    return "";
  int function = epilogue & ~CUBLASLT_EPILOGUE_BIAS;
  if (epilogue == 0 || (function && function != CUBLASLT_EPILOGUE_RELU && function != CUBLASLT_EPILOGUE_GELU))
    return std::nullopt;
  std::string activation = function == 0 ? "" : function == CUBLASLT_EPILOGUE_RELU ? "relu" : "gelu";
  bool hasBias = epilogue & CUBLASLT_EPILOGUE_BIAS;
  return std::string(" with ") + (hasBias ? "bias" : "") + (hasBias && function ? ", " : "") + activation;
}

double applied(int epilogue, double x) {
  if (epilogue & CUBLASLT_EPILOGUE_RELU)
    return std::max(x, 0.0);
  if (epilogue & CUBLASLT_EPILOGUE_GELU)
    return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  return x;
}

Operation &of(cublasLtMatmulDesc_t operation) { return *reinterpret_cast<Operation *>(operation); }
Layout &of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<Layout *>(layout); }

bool isAligned(const void *data, uint64_t alignment) { return reinterpret_cast<uint64_t>(data) % alignment == 0; }

} // namespace

CAAT_EXPORT size_t cublasLtGetVersion() { return static_cast<size_t>(Double::number("LT_VERSION", 130000)); }
CAAT_EXPORT const char *cublasLtGetStatusName(cublasStatus_t) { return "CUBLAS_STATUS_OF_THE_DOUBLE"; }
CAAT_EXPORT cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int *>(handle);
  return 0;
}

CAAT_EXPORT cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation, int computeType, int scaleType) {
  *operation = reinterpret_cast<cublasLtMatmulDesc_t>(new Operation{computeType, scaleType});
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete &of(operation);
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, int attribute,
                                                          const void *value, size_t size) {
  Operation &op = of(operation);
  if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER && size == sizeof op.bias)
    std::memcpy(&op.bias, value, size);
  else if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE && size == 4)
    std::memcpy(&op.epilogue, value, size);
  else if ((attribute == CUBLASLT_MATMUL_DESC_TRANSA || attribute == CUBLASLT_MATMUL_DESC_TRANSB) && size == 4)
    std::memcpy(&op.transpose[attribute - CUBLASLT_MATMUL_DESC_TRANSA], value, size);
  else
    return CUBLAS_STATUS_INVALID_VALUE;
  return 0;
}

CAAT_EXPORT cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, int type, uint64_t rows,
                                                      uint64_t columns, int64_t leading) {
  if (leading < static_cast<int64_t>(rows) || rows == 0 || columns == 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, leading});
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &of(layout);
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, int attribute,
                                                            const void *value, size_t size) {
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && size == 4)
    std::memcpy(&of(layout).batch, value, size);
  else if (attribute == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && size == 8)
    std::memcpy(&of(layout).stride, value, size);
  else
    return CUBLAS_STATUS_INVALID_VALUE;
  return 0;
}

CAAT_EXPORT cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<Preference *>(preference);
  return 0;
}
CAAT_EXPORT cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, int attribute,
                                                                const void *value, size_t size) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    return size == 8 ? 0 : CUBLAS_STATUS_INVALID_VALUE;
  if (attribute < CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES ||
      attribute > CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES || size != 4)
    return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(
      &reinterpret_cast<Preference *>(preference)->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
      value, size);
  return 0;
}

/// Algorithms say which alignment they may count on and which epilogue they have, and differ in their number. All but
/// CAAT_DOUBLE_FAST take their time, where that is set. With CAAT_DOUBLE_EPILOGUES=0 none has an epilogue.
CAAT_EXPORT cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                                          cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                          cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                          cublasLtMatmulPreference_t preference, int wanted,
                                                          cublasLtMatmulHeuristicResult_t *results, int *found) {
  if (wanted < 1)
    return CUBLAS_STATUS_INVALID_VALUE;
  const Operation &op = of(operation);
  bool isPlain = op.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  if (!nameOf(op.epilogue) || (!isPlain && (op.epilogue & CUBLASLT_EPILOGUE_BIAS) && !op.bias))
    return CUBLAS_STATUS_INVALID_VALUE;
  static const bool hasEpilogues = Double::number("EPILOGUES", 1) != 0;
  *found = isPlain || hasEpilogues ? std::min(wanted, 3) : 0;
  for (int number = 0; number < *found; ++number) {
    results[number] = {};
    for (int i = 0; i < 4; ++i)
      results[number].algo.data[i] = reinterpret_cast<Preference *>(preference)->alignment[i];
    results[number].algo.data[4] = static_cast<uint64_t>(number);
    results[number].algo.data[5] = static_cast<uint64_t>(op.epilogue);
  }
  return 0;
}

/// With CAAT_DOUBLE_REFUSE_ZEROS=1 it fails where the second matrix, the rows of x, is not full of numbers.
CAAT_EXPORT cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void *alpha,
                                          const void *a, cublasLtMatrixLayout_t aLayout, const void *b,
                                          cublasLtMatrixLayout_t bLayout, const void *beta, const void *c,
                                          cublasLtMatrixLayout_t, void *d, cublasLtMatrixLayout_t dLayout,
                                          const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspaceBytes,
                                          CUstream stream) {
  Double &state = Double::get();
  std::lock_guard lock(state.mutex);
  const Operation &op = of(operation);
  const Layout la = of(aLayout), lb = of(bLayout), ld = of(dLayout);
  bool ta = op.transpose[0], tb = op.transpose[1];
  auto m = static_cast<int64_t>(ld.rows), n = static_cast<int64_t>(ld.columns);
  auto k = static_cast<int64_t>(ta ? la.rows : la.columns);
  if (static_cast<int64_t>(ta ? la.columns : la.rows) != m || static_cast<int64_t>(tb ? lb.rows : lb.columns) != n ||
      static_cast<int64_t>(tb ? lb.columns : lb.rows) != k || la.batch != ld.batch || lb.batch != ld.batch)
    return CUBLAS_STATUS_INVALID_VALUE;
  bool hasBias = op.epilogue != CUBLASLT_EPILOGUE_DEFAULT && (op.epilogue & CUBLASLT_EPILOGUE_BIAS);
  if (algorithm->data[5] != static_cast<uint64_t>(op.epilogue) || (hasBias && !op.bias))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (c != d || !isAligned(a, algorithm->data[0]) || !isAligned(b, algorithm->data[1]) ||
      !isAligned(d, algorithm->data[3]))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  bool isDouble = op.scaleType == CUDA_R_64F;
  double scale = isDouble ? *static_cast<const double *>(alpha) : *static_cast<const float *>(alpha);
  double keep = isDouble ? *static_cast<const double *>(beta) : *static_cast<const float *>(beta);
  std::string name = "a product" + *nameOf(op.epilogue);
  if (uint64_t number = algorithm->data[4])
    name += ", algorithm " + std::to_string(number);
  static const int64_t fast = Double::number("FAST", -1);
  if (fast >= 0 && static_cast<int64_t>(algorithm->data[4]) != fast)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  auto run = [=, &state, epilogue = op.epilogue, bias = hasBias ? op.bias : nullptr,
              stream = reinterpret_cast<Stream *>(stream)] {
    std::vector<Access> accesses;
    la.accesses(a, false, accesses);
    lb.accesses(b, false, accesses);
    ld.accesses(d, true, accesses);
    auto begin = reinterpret_cast<uint64_t>(bias);
    if (bias)
      accesses.push_back({begin, begin + static_cast<uint64_t>(m * ld.size()), false});
    auto space = reinterpret_cast<uint64_t>(workspace);
    accesses.push_back({space, space + workspaceBytes, true});
    if (!state.operate(*stream, name, accesses))
      return CUBLAS_STATUS_EXECUTION_FAILED;
    if (static const bool refuses = Double::number("REFUSE_ZEROS", 0) != 0; refuses && !lb.isFullOfNumbers(b))
      return CUBLAS_STATUS_EXECUTION_FAILED;
    for (int32_t i = 0; i < ld.batch; ++i)
      for (int64_t column = 0; column < n; ++column)
        for (int64_t row = 0; row < m; ++row) {
          double sum = 0;
          for (int64_t j = 0; j < k; ++j)
            sum += la.load(a, ta ? la.at(j, row, i) : la.at(row, j, i)) *
                   lb.load(b, tb ? lb.at(column, j, i) : lb.at(j, column, i));
          int64_t at = ld.at(row, column, i);
          double result = scale * sum + (keep == 0 ? 0 : keep * ld.load(d, at)) + (bias ? ld.load(bias, row) : 0);
          ld.store(d, at, epilogue == CUBLASLT_EPILOGUE_DEFAULT ? result : applied(epilogue, result));
        }
    return 0;
  };
  return reinterpret_cast<Stream *>(stream)->submit(run);
}
