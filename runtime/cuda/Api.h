// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What of CUDA's driver, cuBLASLt and NCCL is used, with declarations of its own: it is built without their headers,
// and the libraries are loaded when a program runs. Functions and their signatures stand in Driver.def, CublasLt.def
// and Nccl.def, once each.
#ifndef CAAT_RUNTIME_CUDA_API_H
#define CAAT_RUNTIME_CUDA_API_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace caat::runtime::cuda {

struct TensorMap;

// The driver.
using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphExec = struct CUgraphExec_st *;
using CUgraphNode = struct CUgraphNode_st *;
struct KernelNodeParameters { // CUDA_KERNEL_NODE_PARAMS_v2
  CUfunction function;
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  void **parameters, **extra;
  void *kernel;
  CUcontext context;
};

struct CUipcMemHandle {
  char reserved[64];
};

struct LaunchAttribute { // CUlaunchAttribute
  int id;
  int unused;
  union {
    int allowed;
    unsigned cluster[3]; // blocks
    char room[64];
  };
};
struct LaunchConfig { // CUlaunchConfig
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  CUstream stream;
  LaunchAttribute *attributes;
  unsigned count;
};

inline constexpr CUresult CUDA_SUCCESS = 0, CUDA_ERROR_OUT_OF_MEMORY = 2, CUDA_ERROR_NO_DEVICE = 100;
inline constexpr CUresult CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704;
inline constexpr int CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED = 3; // links between GPUs, not the host's
inline constexpr unsigned CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS = 1, CU_MEMHOSTALLOC_PORTABLE = 1;
inline constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
inline constexpr unsigned CU_EVENT_DEFAULT = 0, CU_EVENT_DISABLE_TIMING = 2;
inline constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
                     CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
inline constexpr int CU_FUNC_ATTRIBUTE_NUM_REGS = 4, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
inline constexpr int CU_JIT_ERROR_LOG_BUFFER = 5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6;
inline constexpr int CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4,
                     CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6;
inline constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1, CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
                     CU_TENSOR_MAP_SWIZZLE_NONE = 0, CU_TENSOR_MAP_SWIZZLE_128B = 3,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0;
inline constexpr int CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;

// cuBLASLt.
using cublasStatus_t = int;
using cublasLtHandle_t = struct cublasLtContext *;
using cublasLtMatmulDesc_t = struct cublasLtMatmulDescOpaque *;
using cublasLtMatrixLayout_t = struct cublasLtMatrixLayoutOpaque *;
using cublasLtMatmulPreference_t = struct cublasLtMatmulPreferenceOpaque *;
struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

inline constexpr cublasStatus_t CUBLAS_STATUS_SUCCESS = 0;
inline constexpr int CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14;
/// The first in fp32 throughout, the last with operands of 10 bits of mantissa.
inline constexpr int CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32F_FAST_TF32 = 77;
inline constexpr int CUBLAS_OP_N = 0, CUBLAS_OP_T = 1;
inline constexpr int CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4,
                     CUBLASLT_MATMUL_DESC_EPILOGUE = 7, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8;
/// A sum of these; the bias is of the result's type. GELU is the one with tanh.
inline constexpr int CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_RELU = 2, CUBLASLT_EPILOGUE_BIAS = 4,
                     CUBLASLT_EPILOGUE_GELU = 32;
inline constexpr int CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6;
inline constexpr int CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1;
inline constexpr int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
                     CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8;

// NCCL.
using ncclResult_t = int;
using ncclComm_t = struct ncclComm *;
struct ncclUniqueId {
  char internal[128];
};
/// As of NCCL 2.18; newer ones take it by its size.
struct ncclConfig_t {
  size_t size = sizeof(ncclConfig_t);
  unsigned magic = 0xcafebeef, version = 21800;
  int blocking = INT32_MIN, cgaClusterSize = INT32_MIN, minCTAs = INT32_MIN, maxCTAs = INT32_MIN;
  const char *netName = nullptr;
  int splitShare = INT32_MIN;
};
inline constexpr ncclResult_t ncclSuccess = 0, ncclSystemError = 2, ncclInProgress = 7;
inline constexpr int ncclSum = 0;
inline constexpr int ncclInt8 = 0, ncclUint8 = 1, ncclInt32 = 2, ncclUint32 = 3, ncclInt64 = 4, ncclUint64 = 5,
                     ncclFloat16 = 6, ncclFloat32 = 7, ncclFloat64 = 8, ncclBfloat16 = 9;

/// A library that is loaded by the first of some names that works, or by the one in an environment variable.
class Library {
public:
  /// Throws Error (Run): "cannot load WHAT: ...".
  Library(const char *what, const char *variable, std::initializer_list<const char *> names);
  /// Throws Error (Run) where the library has no such function.
  void *find(const char *function) const;

  const char *what;
  std::string name; // that was loaded

private:
  void *handle = nullptr;
};

#define CAAT_CUDA_FUNCTION(NAME, ...) decltype(static_cast<CUresult (*)(__VA_ARGS__)>(nullptr)) NAME;
#define CAAT_LT_FUNCTION(NAME, RESULT, ...) decltype(static_cast<RESULT (*)(__VA_ARGS__)>(nullptr)) NAME;
#define CAAT_NCCL_FUNCTION(NAME, RESULT, ...) decltype(static_cast<RESULT (*)(__VA_ARGS__)>(nullptr)) NAME;

struct Driver : Library {
  Driver();
#include "Driver.def"
  /// Throws Error (Run) with the driver's own words where `result` is an error; `parts` say what was done.
  template <typename... Parts> void check(CUresult result, const Parts &...parts) const {
    if (result != CUDA_SUCCESS)
      fail(result, describe(parts...));
  }
  std::string nameOf(CUresult result) const;

private:
  static std::string describe(const std::string &text) { return text; }
  template <typename... Parts> static std::string describe(const Parts &...parts);
  [[noreturn]] void fail(CUresult result, const std::string &what) const;
};

struct CublasLt : Library {
  CublasLt();
#include "CublasLt.def"
  void check(cublasStatus_t status, const std::string &what) const;
};

struct Nccl : Library {
  Nccl();
#include "Nccl.def"
};

#undef CAAT_CUDA_FUNCTION
#undef CAAT_LT_FUNCTION
#undef CAAT_NCCL_FUNCTION

} // namespace caat::runtime::cuda

#include <sstream>

template <typename... Parts> std::string caat::runtime::cuda::Driver::describe(const Parts &...parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

#endif
