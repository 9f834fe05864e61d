// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What cuDNN asks the driver and cuBLASLt for before it compiles a plan for a GPU that was only described to it: on a
// machine without one. Whoever wants a device is told that there is none; compiled code counts as loaded.
#include <cstddef>

#define CAAT_EXPORT extern "C" __attribute__((visibility("default")))

#define CAAT_MISSING(NAME)                                                                                             \
  CAAT_EXPORT int NAME() { return 100; } // CUDA_ERROR_NO_DEVICE
CAAT_MISSING(cuCtxGetCurrent)
CAAT_MISSING(cuCtxGetLimit)
CAAT_MISSING(cuCtxPopCurrent)
CAAT_MISSING(cuCtxPushCurrent)
CAAT_MISSING(cuDeviceGet)
CAAT_MISSING(cuDeviceGetCount)
CAAT_MISSING(cuDriverGetVersion)
CAAT_MISSING(cuGetErrorName)
CAAT_MISSING(cuGetErrorString)
CAAT_MISSING(cuInit)
CAAT_MISSING(cuKernelGetAttribute)
CAAT_MISSING(cuLaunchCooperativeKernel)
CAAT_MISSING(cuLaunchKernel)
CAAT_MISSING(cuLaunchKernelEx)
CAAT_MISSING(cuLibraryLoadFromFile)
CAAT_MISSING(cuLinkAddData)
CAAT_MISSING(cuLinkComplete)
CAAT_MISSING(cuLinkCreate)
CAAT_MISSING(cuLinkDestroy)
CAAT_MISSING(cuModuleGetFunction)
CAAT_MISSING(cuModuleLoadData)
CAAT_MISSING(cuModuleUnload)
CAAT_MISSING(cuOccupancyMaxPotentialClusterSize)
CAAT_MISSING(cuStreamGetCtx)
CAAT_MISSING(cuTensorMapEncodeIm2col)
CAAT_MISSING(cuTensorMapEncodeTiled)

static int something;
CAAT_EXPORT int cuLibraryLoadData(void **library) {
  *library = &something;
  return 0;
}
CAAT_EXPORT int cuLibraryGetKernel(void **kernel) {
  *kernel = &something;
  return 0;
}
CAAT_EXPORT int cuKernelGetFunction(void **function) {
  *function = &something;
  return 0;
}
CAAT_EXPORT int cuKernelSetAttribute() { return 0; }
CAAT_EXPORT int cuLibraryUnload() { return 0; }

CAAT_EXPORT size_t cublasLtGetVersion() { return 120900; }
