// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Cudnn.h"
#include "caat/runtime/Error.h"
#include <dlfcn.h>
#include <filesystem>
#include <utility>

namespace caat::runtime::cuda {

#define CAAT_CUDNN_FUNCTION(NAME, RESULT, ...) NAME = reinterpret_cast<decltype(NAME)>(find(#NAME));

Cudnn::Cudnn() : Library("cuDNN", "CAAT_CUDNN", {"libcudnn.so.9"}) {
  cudnnGetVersion = reinterpret_cast<decltype(cudnnGetVersion)>(find("cudnnGetVersion"));
  if (cudnnGetVersion() < oldest)
    failRun("cuDNN is too old: ", name, " has version ", version(), ", needed is ", oldest / 10000, ".",
            oldest / 100 % 100);
#include "Cudnn.def"
  loadCompiler();
}

/// It compiles with NVRTC, which Python's packages have in another folder than some versions look in: once it is
/// loaded, it is found by its name. Where it lies elsewhere, that is left to the library.
void Cudnn::loadCompiler() const {
  Dl_info info{};
  if (!dladdr(reinterpret_cast<const void *>(cudnnGetVersion), &info) || !info.dli_fname)
    return;
  std::filesystem::path packages = std::filesystem::path(info.dli_fname).parent_path() / "../..";
  for (const char *file : {"cuda_nvrtc/lib/libnvrtc.so.12", "cu13/lib/libnvrtc.so.13"})
    dlopen((packages / file).c_str(), RTLD_NOW | RTLD_LOCAL); // stays loaded
}

std::string Cudnn::version() const {
  size_t number = cudnnGetVersion();
  return detail::concat(number / 10000, ".", number / 100 % 100, ".", number % 100);
}

void Cudnn::check(cudnnStatus_t status, const char *what) const {
  if (status == CUDNN_STATUS_SUCCESS)
    return;
  char text[512] = {};
  cudnnGetLastErrorString(text, sizeof text);
  failRun("cuDNN: ", what, ": ", cudnnGetErrorString(status), *text ? ": " : "", text);
}

Descriptor::Descriptor(const Cudnn &library, int kind) : library(&library) {
  library.check(library.cudnnBackendCreateDescriptor(kind, &descriptor), "a descriptor");
}

Descriptor::~Descriptor() {
  if (descriptor)
    library->cudnnBackendDestroyDescriptor(descriptor);
}

Descriptor::Descriptor(Descriptor &&other) noexcept
    : library(other.library), descriptor(std::exchange(other.descriptor, nullptr)) {}

Descriptor &Descriptor::set(int attribute, int type, int64_t count, const void *values) {
  library->check(library->cudnnBackendSetAttribute(descriptor, attribute, type, count, values), "an attribute");
  return *this;
}

Descriptor &Descriptor::setNumbers(int attribute, std::span<const int64_t> numbers) {
  return set(attribute, CUDNN_TYPE_INT64, static_cast<int64_t>(numbers.size()), numbers.data());
}

Descriptor &Descriptor::setTrue(int attribute) {
  bool value = true;
  return set(attribute, CUDNN_TYPE_BOOLEAN, 1, &value);
}

Descriptor &Descriptor::setDescriptors(int attribute, std::span<const cudnnBackendDescriptor_t> descriptors) {
  return set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(descriptors.size()), descriptors.data());
}

void Descriptor::finish() { library->check(library->cudnnBackendFinalize(descriptor), "a graph"); }

} // namespace caat::runtime::cuda
