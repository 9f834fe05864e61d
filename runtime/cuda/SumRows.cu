// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the compiler links into the kernels of a program that begin with a sum over ranks: functions of numbers, among
// them addresses. The compiler knows them by their names (lib/Lower/KernelsToGPU.cpp) and Kernels.h.
#include "SumRows.cuh"

#ifdef __CUDA__
#define FUNCTION extern "C" __attribute__((device))
#else
#define FUNCTION extern "C"
#endif

/// data[count] of a block.
#define SUM_ROWS(NAME, TYPE)                                                                                           \
  FUNCTION void NAME(long long call, long long mine, long long data, long long count) {                                \
    sumRows<TYPE>(reinterpret_cast<PeerRows *>(mine), static_cast<UInt>(call), reinterpret_cast<void *>(data), count); \
  }
SUM_ROWS(caat_sum_rows_f32, Native<float>)
SUM_ROWS(caat_sum_rows_bf16, BFloat16)
SUM_ROWS(caat_sum_rows_f16, Half)
