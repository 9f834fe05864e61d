// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Api.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <dlfcn.h>

namespace caat::runtime::cuda {

Library::Library(const char *what, const char *variable, std::initializer_list<const char *> names) : what(what) {
  std::string reasons;
  auto load = [&](const char *file) {
    handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle)
      name = file;
    else
      reasons += std::string("\n  ") + dlerror();
    return handle != nullptr;
  };
  if (const char *own = environment::text(variable)) {
    if (load(own))
      return;
  } else {
    for (const char *file : names)
      if (load(file))
        return;
  }
  failRun("cannot load ", what, ":", reasons, "\n  (", variable, "=FILE names another one)");
}

void *Library::find(const char *function) const {
  void *address = dlsym(handle, function);
  if (!address)
    failRun(name, " has no function '", function, "': this version of ", what, " is too old");
  return address;
}

#define CAAT_CUDA_FUNCTION(NAME, ...) NAME = reinterpret_cast<decltype(NAME)>(find(#NAME));
#define CAAT_LT_FUNCTION(NAME, RESULT, ...) NAME = reinterpret_cast<decltype(NAME)>(find(#NAME));
#define CAAT_NCCL_FUNCTION(NAME, RESULT, ...) NAME = reinterpret_cast<decltype(NAME)>(find(#NAME));

Driver::Driver() : Library("the NVIDIA driver", "CAAT_CUDA_DRIVER", {"libcuda.so.1"}) {
  // The version first: an old driver lacks some of the functions.
  constexpr int oldest = 12000;
  cuDriverGetVersion = reinterpret_cast<decltype(cuDriverGetVersion)>(find("cuDriverGetVersion"));
  int version = 0;
  if (cuDriverGetVersion(&version) != CUDA_SUCCESS)
    failRun(name, " does not tell its version");
  if (version < oldest)
    failRun("the NVIDIA driver is too old: it supports CUDA ", version / 1000, ".", version % 1000 / 10, ", needed is ",
            oldest / 1000, ".", oldest % 1000 / 10);
#include "Driver.def"
}

std::string Driver::nameOf(CUresult result) const {
  const char *text = nullptr;
  return cuGetErrorName(result, &text) == CUDA_SUCCESS && text ? text : "CUDA error " + std::to_string(result);
}

void Driver::fail(CUresult result, const std::string &what) const {
  const char *text = nullptr;
  if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
    text = "unknown";
  failRun(what, ": ", text, " (", nameOf(result), ")");
}

CublasLt::CublasLt()
    : Library("cuBLASLt", "CAAT_CUBLASLT", {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
  constexpr size_t oldest = 120000;
  cublasLtGetVersion = reinterpret_cast<decltype(cublasLtGetVersion)>(find("cublasLtGetVersion"));
  if (size_t version = cublasLtGetVersion(); version < oldest)
    failRun("cuBLASLt is too old: ", name, " has version ", version, ", needed is ", oldest);
#include "CublasLt.def"
}

void CublasLt::check(cublasStatus_t status, const std::string &what) const {
  if (status != CUBLAS_STATUS_SUCCESS)
    failRun(what, ": ", cublasLtGetStatusName(status));
}

Nccl::Nccl() : Library("NCCL", "CAAT_NCCL", {"libnccl.so.2", "libnccl.so"}) {
  constexpr int oldest = 21800;
  ncclGetVersion = reinterpret_cast<decltype(ncclGetVersion)>(find("ncclGetVersion"));
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess || version < oldest)
    failRun("NCCL is too old: ", name, " has version ", version / 10000, ".", version / 100 % 100, ", needed is ",
            oldest / 10000, ".", oldest / 100 % 100);
#include "Nccl.def"
}

} // namespace caat::runtime::cuda
