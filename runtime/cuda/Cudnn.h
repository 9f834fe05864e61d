// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What of cuDNN is used, as Api.h has it of the other libraries: the functions stand in Cudnn.def, and of its
// enumerations the values that are used stand here. A graph of operations is made of descriptors, each of which is
// given attributes and then made final.
#ifndef CAAT_RUNTIME_CUDA_CUDNN_H
#define CAAT_RUNTIME_CUDA_CUDNN_H

#include "Api.h"
#include <span>

namespace caat::runtime::cuda {

using cudnnStatus_t = int;
using cudnnHandle_t = struct cudnnContext *;
using cudnnBackendDescriptor_t = void *;

inline constexpr int CUDNN_STATUS_SUCCESS = 0, CUDNN_STATUS_NOT_SUPPORTED = 3000;
inline constexpr int CUDNN_DATA_FLOAT = 0, CUDNN_DATA_HALF = 2, CUDNN_DATA_INT32 = 4, CUDNN_DATA_BFLOAT16 = 9,
                     CUDNN_DATA_BOOLEAN = 11;
inline constexpr int CUDNN_POINTWISE_ADD = 0, CUDNN_POINTWISE_MUL = 1, CUDNN_POINTWISE_DIV = 6, CUDNN_POINTWISE_SUB = 9,
                     CUDNN_POINTWISE_EXP = 13, CUDNN_POINTWISE_LOG = 15, CUDNN_POINTWISE_CMP_GE = 303,
                     CUDNN_POINTWISE_GEN_INDEX = 501, CUDNN_POINTWISE_BINARY_SELECT = 601;
inline constexpr int CUDNN_REDUCE_TENSOR_ADD = 0, CUDNN_REDUCE_TENSOR_MAX = 3, CUDNN_HEUR_MODE_A = 3;
inline constexpr int CUDNN_TYPE_HANDLE = 0, CUDNN_TYPE_DATA_TYPE = 1, CUDNN_TYPE_BOOLEAN = 2, CUDNN_TYPE_INT64 = 3,
                     CUDNN_TYPE_VOID_PTR = 6, CUDNN_TYPE_HEUR_MODE = 8, CUDNN_TYPE_POINTWISE_MODE = 14,
                     CUDNN_TYPE_BACKEND_DESCRIPTOR = 15, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE = 18, CUDNN_TYPE_CHAR = 24;
inline constexpr int CUDNN_BACKEND_POINTWISE_DESCRIPTOR = 0, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR = 3,
                     CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR = 4, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR = 5,
                     CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR = 13, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR = 15,
                     CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR = 16, CUDNN_BACKEND_TENSOR_DESCRIPTOR = 17,
                     CUDNN_BACKEND_MATMUL_DESCRIPTOR = 18, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR = 19,
                     CUDNN_BACKEND_REDUCTION_DESCRIPTOR = 21, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR = 22,
                     CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR = 38;
inline constexpr int CUDNN_ATTR_POINTWISE_MODE = 0, CUDNN_ATTR_POINTWISE_MATH_PREC = 1, CUDNN_ATTR_POINTWISE_AXIS = 9;
inline constexpr int CUDNN_ATTR_ENGINEHEUR_MODE = 200, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH = 201,
                     CUDNN_ATTR_ENGINEHEUR_RESULTS = 202, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP = 204;
inline constexpr int CUDNN_ATTR_EXECUTION_PLAN_HANDLE = 400, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG = 401,
                     CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE = 402, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP = 407;
inline constexpr int CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR = 750, CUDNN_ATTR_OPERATION_POINTWISE_XDESC = 751,
                     CUDNN_ATTR_OPERATION_POINTWISE_BDESC = 752, CUDNN_ATTR_OPERATION_POINTWISE_YDESC = 753,
                     CUDNN_ATTR_OPERATION_POINTWISE_TDESC = 758;
inline constexpr int CUDNN_ATTR_OPERATIONGRAPH_HANDLE = 800, CUDNN_ATTR_OPERATIONGRAPH_OPS = 801;
inline constexpr int CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT = 900, CUDNN_ATTR_TENSOR_DATA_TYPE = 901,
                     CUDNN_ATTR_TENSOR_DIMENSIONS = 902, CUDNN_ATTR_TENSOR_STRIDES = 903,
                     CUDNN_ATTR_TENSOR_UNIQUE_ID = 906, CUDNN_ATTR_TENSOR_IS_VIRTUAL = 907,
                     CUDNN_ATTR_TENSOR_IS_BY_VALUE = 908;
inline constexpr int CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS = 1000, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS = 1001,
                     CUDNN_ATTR_VARIANT_PACK_WORKSPACE = 1003;
inline constexpr int CUDNN_ATTR_MATMUL_COMP_TYPE = 1500, CUDNN_ATTR_OPERATION_MATMUL_ADESC = 1520,
                     CUDNN_ATTR_OPERATION_MATMUL_BDESC = 1521, CUDNN_ATTR_OPERATION_MATMUL_CDESC = 1522,
                     CUDNN_ATTR_OPERATION_MATMUL_DESC = 1523;
inline constexpr int CUDNN_ATTR_REDUCTION_OPERATOR = 1600, CUDNN_ATTR_REDUCTION_COMP_TYPE = 1601,
                     CUDNN_ATTR_OPERATION_REDUCTION_XDESC = 1610, CUDNN_ATTR_OPERATION_REDUCTION_YDESC = 1611,
                     CUDNN_ATTR_OPERATION_REDUCTION_DESC = 1612;
inline constexpr int CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION = 2702;

#define CAAT_CUDNN_FUNCTION(NAME, RESULT, ...) decltype(static_cast<RESULT (*)(__VA_ARGS__)>(nullptr)) NAME;

struct Cudnn : Library {
  /// CAAT_CUDNN=FILE names another one. Throws Error (Run) where there is none, or an old one.
  Cudnn();
#include "Cudnn.def"
  /// Throws Error (Run) with the library's own words.
  void check(cudnnStatus_t status, const char *what) const;
  /// "9.10.2"
  std::string version() const;

  /// From this on a graph may be as AttentionGraph makes it; earlier ones want another number than -inf for what is
  /// masked, and take masks of fewer sizes.
  static constexpr size_t oldest = 91000;

private:
  void loadCompiler() const;
};

#undef CAAT_CUDNN_FUNCTION

/// One of the library's descriptors.
class Descriptor {
public:
  Descriptor(const Cudnn &library, int kind);
  ~Descriptor();
  Descriptor(Descriptor &&other) noexcept;
  Descriptor(const Descriptor &) = delete;

  Descriptor &set(int attribute, int type, int64_t count, const void *values);
  Descriptor &setNumbers(int attribute, std::span<const int64_t> numbers);
  Descriptor &setNumber(int attribute, int64_t number) { return setNumbers(attribute, std::span(&number, 1)); }
  Descriptor &setTrue(int attribute);
  /// Of an enumeration.
  Descriptor &setValue(int attribute, int type, int value) { return set(attribute, type, 1, &value); }
  Descriptor &setDescriptors(int attribute, std::span<const cudnnBackendDescriptor_t> descriptors);
  Descriptor &setDescriptor(int attribute, const Descriptor &other) {
    return setDescriptors(attribute, std::span(&other.descriptor, 1));
  }
  void finish();
  cudnnBackendDescriptor_t get() const { return descriptor; }

private:
  const Cudnn *library;
  cudnnBackendDescriptor_t descriptor = nullptr;
};

} // namespace caat::runtime::cuda

#endif
