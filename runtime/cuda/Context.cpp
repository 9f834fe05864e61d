// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Context.h"
#include "Attention.h"
#include "AttentionPtx.h"
#include "AttentionPtx90.h"
#include "BlockRowsPtx.h"
#include "BlockRowsPtx90.h"
#include "BlockUnpackPtx.h"
#include "BlockWeights.h"
#include "GatedRows.h"
#include "GatedRowsPtx90.h"
#include "KernelsPtx.h"
#include "StreamRows.h"
#include "StreamRowsPtx90.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <charconv>
#include <cstring>
#include <iomanip>

namespace caat::runtime::cuda {

Context::Context(std::shared_ptr<const Driver> given, int number) : driver_(std::move(given)), number_(number) {
  const Driver &d = *driver_;
  name_ = "device " + std::to_string(number);
  char model[128] = {};
  d.check(d.cuDeviceGet(&device_, number), name_);
  d.check(d.cuDeviceGetName(model, sizeof model, device_), name_);
  d.check(d.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device_), name_);
  d.check(d.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device_), name_);
  d.check(d.cuDeviceGetAttribute(&multiprocessors_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device_), name_);
  dependentLaunch = environment::isOn("CAAT_CUDA_DEPENDENT_LAUNCH", true) && major >= 9;
  name_ += " (" + std::string(model) + ", sm_" + std::to_string(major) + std::to_string(minor) + ")";
  d.check(d.cuDevicePrimaryCtxRetain(&context, device_), name_, ": cannot make a context");
}

Context::~Context() {
  if (!context)
    return;
  driver_->cuCtxSetCurrent(context);
  for (CUmodule module : modules)
    driver_->cuModuleUnload(module);
  for (const auto &[text, module] : laterModules)
    driver_->cuModuleUnload(module);
  driver_->cuDevicePrimaryCtxRelease_v2(device_);
}

void Context::enter() const { driver_->check(driver_->cuCtxSetCurrent(context), name_); }

Context::Guest::Guest(const Context &context) : context(context) {
  context.driver_->check(context.driver_->cuCtxPushCurrent_v2(context.context), context.name_);
}

Context::Guest::~Guest() {
  CUcontext popped = nullptr;
  context.driver_->cuCtxPopCurrent_v2(&popped);
}

namespace {

/// 90 of "sm_90" or "sm_90a", 0 where it is neither.
int architectureOf(std::string_view text) {
  int number = 0;
  if (text.starts_with("sm_"))
    std::from_chars(text.data() + 3, text.data() + text.size(), number);
  return number;
}

/// What `.target` says in PTX.
std::string targetOf(const std::string &ptx) {
  size_t at = ptx.find(".target ");
  if (at == std::string::npos)
    return "";
  at += std::strlen(".target ");
  return ptx.substr(at, ptx.find_first_of(", \r\n", at) - at);
}

std::string readKernels(const Program &program, const std::string &name) {
  constexpr size_t most = size_t{1} << 30;
  MappedFile file = program.openKernels(name);
  if (file.size() > most)
    failArtifact(program.directory(), "/", name, ": ", file.size(), " bytes, the limit is ", most);
  return {reinterpret_cast<const char *>(file.data()), file.size()};
}

} // namespace

CUmodule Context::load(const std::string &image, const std::string &origin) const {
  char log[4096] = {};
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  CUmodule module = nullptr;
  CUresult result = driver_->cuModuleLoadDataEx(&module, image.c_str(), 2, options, values);
  if (result != CUDA_SUCCESS)
    failArtifact(origin, ": ", name_, " does not take these kernels: ", driver_->nameOf(result), *log ? "\n" : "", log);
  return module;
}

/// The driver loads a kernel when something of it is needed, and may wait for the device then: not when kernels that
/// wait for each other are under way.
void Context::preload(CUfunction function, const std::string &name) const {
  int registers = 0;
  driver_->check(driver_->cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function), "kernel '", name, "'");
}

void Context::loadKernels(const Program &program) {
  enter();
  const Manifest &manifest = program.manifest();
  // The best cubin of the device's generation; the latest PTX for anything else that is not older than it.
  int here = major * 10 + minor, best = 0, latest = 0;
  std::string file = manifest.gpu->ptx, known;
  for (const auto &[architecture, ptx] : manifest.gpu->laterPtx)
    if (int number = architectureOf(architecture); number <= here && number > latest) {
      latest = number;
      file = ptx;
    }
  for (const auto &[architecture, cubin] : manifest.gpu->cubins) {
    int number = architectureOf(architecture);
    known += (known.empty() ? "" : ", ") + architecture;
    if (number / 10 == major && number <= here && number > best) {
      best = number;
      file = cubin;
    }
  }
  std::string path = program.directory() + "/" + file, image;
  if (!manifest.kernels.empty()) {
    image = readKernels(program, file);
    if (best == 0) {
      std::string target = targetOf(image);
      if (architectureOf(target) > here)
        failArtifact(path, ": the kernels are for ", target, " and newer", known.empty() ? "" : ", or for ", known,
                     "; this is ", name_, ". Compile with --gpu-arch=sm_", here);
    }
    modules.push_back(load(image, path));
    kernelsWait = hasDependentLaunch() && std::max(best, latest) >= 90;
  }
  for (size_t i = 0; i < manifest.kernels.size(); ++i) {
    const std::string &name = manifest.kernels[i];
    CUfunction &function = kernels.emplace_back();
    if (driver_->cuModuleGetFunction(&function, modules.back(), name.c_str()) != CUDA_SUCCESS)
      failArtifact(path, " has no kernel '", name, "'");
    preload(function, name);
    if (int64_t shared = manifest.launches[i].shared; shared > 48 << 10)
      driver_->check(driver_->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                 static_cast<int>(shared)),
                     "kernel '", name, "': ", shared, " bytes of shared memory");
  }
  modules.push_back(load(hasDependentLaunch() ? kernelsPtx90 : kernelsPtx, "the runtime's own kernels"));
  for (const char *name : kernelNames) {
    driver_->check(driver_->cuModuleGetFunction(&owns[name], modules.back(), name), name);
    preload(owns[name], name);
  }
}

CUfunction Context::own(const std::string &name) const { return owns.at(name); }

/// `shared`: bytes of its dynamic shared memory.
CUfunction Context::later(const std::string &name, std::span<const OwnModule> modules, int shared) const {
  std::lock_guard lock(mutex);
  CUfunction &function = laterKernels[name];
  if (function)
    return function;
  enter();
  for (const OwnModule &module : modules)
    if (std::string_view(module.ptx).find(".entry " + name + "(") != std::string_view::npos) {
      CUmodule &loaded = laterModules[module.ptx];
      if (!loaded)
        loaded = load(module.ptx, "the runtime's own kernels");
      driver_->check(driver_->cuModuleGetFunction(&function, loaded, name.c_str()), name);
      preload(function, name);
      if (shared > 0)
        driver_->check(driver_->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared),
                       name);
      return function;
    }
  failRun("there is no kernel '", name, "'");
}

CUfunction Context::attention(bool few, bool bf16, int size) const {
  std::string name =
      std::string("caat_attention_") + (few ? "few_" : "") + (bf16 ? "bf16_" : "f16_") + std::to_string(size);
  int shared = few ? FewTokensShape(size).sharedBytes(size) : AttentionShape(size).sharedBytes(size);
  return later(name, few && hasDependentLaunch() ? std::span<const OwnModule>(AttentionPtx90) : AttentionPtx, shared);
}

CUfunction Context::streamRows(bool bf16) const {
  return later(bf16 ? "caat_stream_rows_bf16" : "caat_stream_rows_f16", StreamRowsPtx90, StreamRowsShape::bytes);
}

CUfunction Context::gatedRows(bool bf16) const {
  return later(bf16 ? "caat_gated_rows_bf16" : "caat_gated_rows_f16", GatedRowsPtx90, GatedRowsShape::bytes);
}

CUfunction Context::blockRows(int bits, bool bf16, int span, bool wideScales, bool hasMinima) const {
  std::string name = "caat_block_rows_" + std::to_string(bits) + (bf16 ? "_bf16_" : "_f16_") + std::to_string(span) +
                     (wideScales ? "_f32" : "_f16") + (hasMinima ? "_minima" : "_zeros");
  return later(name, hasDependentLaunch() ? std::span<const OwnModule>(BlockRowsPtx90) : BlockRowsPtx, blockRowsShared);
}

CUfunction Context::blockUnpack(int bits, DType dtype) const {
  return later("caat_blocks_unpack_" + std::to_string(bits) + "_" + std::string(nameOf(dtype)), BlockUnpackPtx, 0);
}

std::string sizeText(size_t bytes) {
  const char *units[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit < 4; ++unit)
    value /= 1000;
  std::ostringstream text;
  text << std::fixed << std::setprecision(unit == 0 ? 0 : 2) << value << ' ' << units[unit];
  return text.str();
}

std::shared_ptr<std::byte> Context::allocate(size_t bytes, const std::string &what) const {
  enter();
  CUdeviceptr address = 0;
  CUresult result = driver_->cuMemAlloc_v2(&address, std::max<size_t>(bytes, 1));
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    failRun("out of memory on ", name_, ": ", what, " needs ", sizeText(bytes), ", ", sizeText(room().free), " of ",
            sizeText(room().total), " are free");
  driver_->check(result, what, ": ", bytes, " bytes on ", name_);
  return {reinterpret_cast<std::byte *>(address), [this](std::byte *memory) {
            driver_->cuCtxSetCurrent(context);
            driver_->cuMemFree_v2(addressOf(memory));
          }};
}

std::shared_ptr<std::byte> Context::allocatePinned(size_t bytes) const {
  enter();
  void *memory = nullptr;
  driver_->check(driver_->cuMemHostAlloc(&memory, bytes, CU_MEMHOSTALLOC_PORTABLE), "pinned memory of ", bytes,
                 " bytes");
  return {static_cast<std::byte *>(memory), [this](std::byte *pinned) {
            driver_->cuCtxSetCurrent(context);
            driver_->cuMemFreeHost(pinned);
          }};
}

bool Context::enableAccessTo(const Context &other) const {
  enter();
  CUresult result = driver_->cuCtxEnablePeerAccess(other.context, 0);
  return result == CUDA_SUCCESS || result == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

Context::Room Context::room() const {
  enter();
  Room room{};
  driver_->check(driver_->cuMemGetInfo_v2(&room.free, &room.total), name_);
  return room;
}

} // namespace caat::runtime::cuda
