// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver's functions.
#include "Double.h"
#include "PtxWrites.h"
#include "WarpEmulator.h"
#include "caat/runtime/Abi.h"
#include "cuda/TensorMap.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <optional>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

constexpr CUresult CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_INVALID_IMAGE = 200, CUDA_ERROR_NOT_FOUND = 500,
                   CUDA_ERROR_LAUNCH_FAILED = 719;

struct Function {
  std::string name;
  std::vector<size_t> parameters; // their sizes
  std::string body;
  bool meetsOthers; // it waits for kernels of other ranks
  std::optional<std::set<size_t>> known = {};
  /// Of the parameters, those that it writes through. The double is locked.
  const std::set<size_t> &written() {
    if (!known)
      known = writtenParameters(name, body);
    return *known;
  }
};

struct Module {
  std::map<std::string, Function> functions;
};

Stream &streamOf(CUstream stream) { return *reinterpret_cast<Stream *>(stream); }
Event &eventOf(CUevent event) { return *reinterpret_cast<Event *>(event); }
CUresult result(bool good) { return good ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED; }

Access reads(const void *from, size_t bytes) {
  auto address = reinterpret_cast<uint64_t>(from);
  return {address, address + bytes, false};
}
Access writes(const void *to, size_t bytes) {
  Access access = reads(to, bytes);
  access.writes = true;
  return access;
}
void *pointerTo(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

/// The same program's kernels for the CPU.
caat_kernel_fn hostKernel(const std::string &name) {
  static void *code = [] {
    const char *path = std::getenv("CAAT_DOUBLE_CODE");
    return path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  }();
  return code ? reinterpret_cast<caat_kernel_fn>(dlsym(code, name.c_str())) : nullptr;
}

/// Kernels of a program take pointers, dimensions, and the number of rows.
CUresult runProgramKernel(Function &function, Stream &stream, void **parameters,
                          std::unique_lock<std::recursive_mutex> &lock) {
  Double &d = Double::get();
  std::vector<void *> buffers;
  std::vector<int64_t> numbers;
  std::vector<Access> accesses;
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    uint64_t value = *static_cast<uint64_t *>(parameters[i]);
    if (numbers.empty() && d.isDevice(value)) {
      buffers.push_back(reinterpret_cast<void *>(value));
      accesses.push_back(reads(buffers.back(), 1)); // how far it goes is not known
      accesses.back().writes = function.written().empty() || function.written().contains(i); // none: not known either
    } else {
      numbers.push_back(static_cast<int64_t>(value));
    }
  }
  if (numbers.empty() || numbers.back() <= 0)
    return result(d.fault("kernel '" + function.name + "' is started for no rows"));
  if (!d.operate(stream, function.name, accesses))
    return result(false);
  if (std::getenv("CAAT_DOUBLE_CODE")) {
    caat_kernel_fn kernel = hostKernel(function.name);
    if (!kernel)
      return result(d.fault("CAAT_DOUBLE_CODE has no kernel '" + function.name + "'"));
    if (function.meetsOthers) {
      if (!Double::number("EMULATED", 0))
        return result(d.fault("'" + function.name + "' sums over ranks, which code.so does with --emulate alone"));
      ++d.sumsInKernels;
      lock.unlock();
    }
    kernel(0, numbers.back(), buffers.data(), numbers.data());
  }
  return CUDA_SUCCESS;
}

} // namespace

CAAT_EXPORT CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CAAT_EXPORT CUresult cuDriverGetVersion(int *version) {
  *version = static_cast<int>(Double::number("DRIVER_VERSION", 13000));
  return CUDA_SUCCESS;
}

CAAT_EXPORT CUresult cuGetErrorName(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_DOUBLE";
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "the double found a fault";
  return CUDA_SUCCESS;
}

CAAT_EXPORT CUresult cuDeviceGetCount(int *count) {
  *count = static_cast<int>(Double::number("DEVICES", 1));
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGet(CUdevice *device, int number) {
  *device = number;
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGetName(char *name, int size, CUdevice) {
  std::strncpy(name, "Double", static_cast<size_t>(size));
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGetPCIBusId(char *text, int size, CUdevice device) {
  std::snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", static_cast<int>(device));
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice) {
  auto architecture = static_cast<int>(Double::number("SM", 120));
  *value = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? static_cast<int>(Double::number("PROCESSORS", 132))
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? architecture / 10
                                                                       : architecture % 10;
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  unsigned number = 0;
  if (std::sscanf(text, "0000:%x:00.0", &number) != 1 || static_cast<int64_t>(number) >= Double::number("DEVICES", 1))
    return CUDA_ERROR_INVALID_VALUE;
  *device = static_cast<CUdevice>(number);
  return CUDA_SUCCESS;
}

// Devices below CAAT_DOUBLE_LINKED reach each other.

CAAT_EXPORT CUresult cuDeviceCanAccessPeer(int *can, CUdevice from, CUdevice to) {
  int64_t linked = Double::number("LINKED", 0);
  *can = from < linked && to < linked && from != to;
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDeviceGetP2PAttribute(int *value, int attribute, CUdevice from, CUdevice to) {
  return attribute == CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED ? cuDeviceCanAccessPeer(value, from, to)
                                                                      : CUDA_ERROR_INVALID_VALUE;
}
CAAT_EXPORT CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) { return CUDA_SUCCESS; }
CAAT_EXPORT CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  std::string name = d.share(pointerTo(address));
  if (name.empty() || name.size() >= sizeof handle->reserved)
    return CUDA_ERROR_INVALID_VALUE;
  *handle = {};
  std::memcpy(handle->reserved, name.data(), name.size());
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle handle, unsigned) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  *address = reinterpret_cast<CUdeviceptr>(d.openShared(handle.reserved));
  return *address ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CAAT_EXPORT CUresult cuIpcCloseMemHandle(CUdeviceptr) { return CUDA_SUCCESS; }

CAAT_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  *context = reinterpret_cast<CUcontext>(static_cast<size_t>(device) + 1);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
CAAT_EXPORT CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
CAAT_EXPORT CUresult cuCtxPushCurrent_v2(CUcontext) { return CUDA_SUCCESS; }
CAAT_EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *) { return CUDA_SUCCESS; }

CAAT_EXPORT CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  *free = d.freeBytes();
  *total = d.memoryBytes;
  return CUDA_SUCCESS;
}

CAAT_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (bytes > d.freeBytes())
    return CUDA_ERROR_OUT_OF_MEMORY;
  *address = reinterpret_cast<CUdeviceptr>(d.allocate(bytes, false));
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  return result(d.release(pointerTo(address), false));
}
CAAT_EXPORT CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  *memory = d.allocate(bytes, true);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuMemFreeHost(void *memory) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  return result(d.release(memory, true));
}

static CUresult copy(const char *what, void *to, const void *from, size_t bytes, CUstream stream) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  const auto *begin = static_cast<const char *>(from), *target = static_cast<const char *>(to);
  if (begin < target + bytes && target < begin + bytes)
    return result(d.fault(std::string(what) + " between places that overlap"));
  return streamOf(stream).submit([=, &d, what = std::string(what)] {
    if (!d.operate(streamOf(stream), what, {reads(from, bytes), writes(to, bytes)}))
      return result(false);
    std::memcpy(to, from, bytes);
    return CUDA_SUCCESS;
  });
}
CAAT_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy("an upload", pointerTo(to), from, bytes, stream);
}
CAAT_EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy("a download", to, pointerTo(from), bytes, stream);
}
CAAT_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy("a copy", pointerTo(to), pointerTo(from), bytes, stream);
}
CAAT_EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  if (!d.operate(streamOf(stream), "memset", {writes(pointerTo(to), bytes)}))
    return result(false);
  std::memset(pointerTo(to), value, bytes);
  return CUDA_SUCCESS;
}

CAAT_EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  *stream = reinterpret_cast<CUstream>(d.makeStream());
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  delete &streamOf(stream);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  if (streamOf(stream).capturing)
    return result(d.fault("the host waits for a stream that is captured"));
  d.join(streamOf(stream).clock);
  return result(!d.failed);
}
CAAT_EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  return result(d.wait(streamOf(stream), eventOf(event)));
}
CAAT_EXPORT CUresult cuEventCreate(CUevent *event, unsigned) {
  *event = reinterpret_cast<CUevent>(new Event);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  delete &eventOf(event);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  d.record(eventOf(event), streamOf(stream));
  return result(!d.failed);
}
CAAT_EXPORT CUresult cuEventSynchronize(CUevent event) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  d.join(eventOf(event).clock);
  return result(!d.failed);
}
CAAT_EXPORT CUresult cuEventQuery(CUevent event) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  return eventOf(event).recorded ? result(!d.failed) : CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  Double &d = Double::get();
  std::lock_guard lock(d.mutex);
  *milliseconds = std::chrono::duration<float, std::milli>(eventOf(end).time - eventOf(begin).time).count();
  return result(eventOf(begin).recorded && eventOf(end).recorded);
}

CAAT_EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, int *, void **) {
  std::string text(static_cast<const char *>(image));
  if (text.find(".target") == std::string::npos)
    return CUDA_ERROR_INVALID_IMAGE;
  auto *made = new Module;
  const std::string word = ".entry ";
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    size_t begin = at + word.size(), end = text.find_first_of("( \n", begin), close = text.find(')', end);
    std::string name = text.substr(begin, end - begin), list = text.substr(end, close - end);
    std::vector<size_t> parameters;
    for (size_t p = list.find(".param"); p != std::string::npos; p = list.find(".param", p + 1)) {
      std::string one = list.substr(p, list.find(',', p) - p);
      size_t array = one.find('[');
      parameters.push_back(array == std::string::npos ? 8 : std::stoul(one.substr(array + 1)));
    }
    std::string body = text.substr(close, text.find(word, close) - close);
    bool meetsOthers = body.find("ld.acquire.sys") != std::string::npos;
    made->functions[name] = {name, parameters, body, meetsOthers};
  }
  *module = reinterpret_cast<CUmodule>(made);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuModuleUnload(CUmodule module) {
  delete reinterpret_cast<Module *>(module);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  auto &functions = reinterpret_cast<Module *>(module)->functions;
  auto found = functions.find(name);
  if (found == functions.end())
    return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(&found->second);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuFuncGetAttribute(int *value, int, CUfunction) {
  *value = 0;
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuFuncSetAttribute(CUfunction, int, int) { return CUDA_SUCCESS; }

/// A kernel with its parameters, which are copied.
static std::function<CUresult()> launchOf(Function &function, unsigned blocks, Stream &stream, void **parameters) {
  auto copies = std::make_shared<std::vector<std::vector<char>>>();
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    auto *begin = static_cast<char *>(parameters[i]);
    copies->emplace_back(begin, begin + function.parameters[i]);
  }
  return [&function, blocks, &stream, copies] {
    Double &d = Double::get();
    std::unique_lock lock(d.mutex);
    std::vector<void *> pointers;
    for (auto &copy : *copies)
      pointers.push_back(copy.data());
    std::vector<Access> accesses;
    if (!runOwnKernel(function.name, blocks, pointers.data(), accesses, false))
      return runProgramKernel(function, stream, pointers.data(), lock);
    if (!d.operate(stream, function.name, accesses))
      return result(false);
    if (function.meetsOthers) {
      ++d.sums;
      lock.unlock();
    }
    runOwnKernel(function.name, blocks, pointers.data(), accesses, true);
    return CUDA_SUCCESS;
  };
}

CAAT_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
                                    unsigned, unsigned, CUstream stream, void **parameters, void **) {
  Double &d = Double::get();
  std::unique_lock lock(d.mutex);
  if (x == 0 || y != 1 || z != 1 || threads == 0 || threads > 1024)
    return CUDA_ERROR_INVALID_VALUE;
  if (d.failed)
    return result(false);
  Stream &to = streamOf(stream);
  Function &which = *reinterpret_cast<Function *>(function);
  lock.unlock();
  return to.submit(launchOf(which, x, to, parameters), which.meetsOthers);
}

CAAT_EXPORT CUresult cuLaunchKernelEx(const LaunchConfig *config, CUfunction function, void **parameters,
                                      void **extra) {
  for (unsigned i = 0; i < config->count; ++i) {
    const LaunchAttribute &attribute = config->attributes[i];
    bool isCluster = attribute.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    if (Double::number("SM", 120) < 90 ||
        (!isCluster && attribute.id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) ||
        (isCluster && (attribute.cluster[0] == 0 || config->gridX % attribute.cluster[0] != 0)))
      return CUDA_ERROR_INVALID_VALUE;
  }
  return cuLaunchKernel(function, config->gridX, config->gridY, config->gridZ, config->blockX, config->blockY,
                        config->blockZ, config->sharedBytes, config->stream, parameters, extra);
}

/// What the driver refuses, as it says for maps of two dimensions.
CAAT_EXPORT CUresult cuTensorMapEncodeTiled(TensorMap *map, int type, unsigned dimensions, void *data,
                                            const uint64_t *size, const uint64_t *pitch, const unsigned *box,
                                            const unsigned *steps, int interleave, int swizzle, int, int) {
  constexpr uint64_t mostRows = uint64_t{1} << 32;
  if (type != CU_TENSOR_MAP_DATA_TYPE_UINT16 || dimensions != 2 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      reinterpret_cast<uintptr_t>(map) % 64 != 0 || reinterpret_cast<uintptr_t>(data) % 16 != 0 || pitch[0] % 16 != 0 ||
      pitch[0] >= uint64_t{1} << 40)
    return CUDA_ERROR_INVALID_VALUE;
  for (int i = 0; i < 2; ++i)
    if (size[i] == 0 || size[i] > mostRows || box[i] == 0 || box[i] > 256 || steps[i] != 1)
      return CUDA_ERROR_INVALID_VALUE;
  if (box[0] * 2 % 16 != 0 || (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && box[0] * 2 > 128))
    return CUDA_ERROR_INVALID_VALUE;
  EmulatedMap encoded{reinterpret_cast<uint64_t>(data),      size[1], size[0], pitch[0], box[1], box[0],
                      swizzle == CU_TENSOR_MAP_SWIZZLE_128B, 0};
  std::memcpy(map, &encoded, sizeof encoded);
  return CUDA_SUCCESS;
}

// Graphs. A node belongs to the stream that was captured; they run on it alone.

CAAT_EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, int) {
  if (streamOf(stream).capturing)
    return CUDA_ERROR_INVALID_VALUE;
  streamOf(stream).capturing = std::make_unique<Graph>();
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuStreamGetCaptureInfo_v2(CUstream stream, int *status, unsigned long long *, CUgraph *,
                                               const CUgraphNode **latest, size_t *count) {
  *status = streamOf(stream).capturing ? 1 : 0;
  *latest = reinterpret_cast<CUgraphNode *>(&streamOf(stream).latest);
  *count = 1;
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  *graph = reinterpret_cast<CUgraph>(streamOf(stream).capturing.release());
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long) {
  *exec = reinterpret_cast<CUgraphExec>(graph); // the nodes are the graph's own here
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec, CUgraphNode node,
                                                       const KernelNodeParameters *parameters) {
  if (!parameters->function || parameters->gridX == 0)
    return CUDA_ERROR_INVALID_VALUE;
  auto &kept = *reinterpret_cast<Graph::Node *>(node);
  kept.run = launchOf(*reinterpret_cast<Function *>(parameters->function), parameters->gridX, *kept.stream,
                      parameters->parameters);
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream) {
  Double &d = Double::get();
  std::unique_lock lock(d.mutex);
  ++d.graphs;
  for (auto &node : reinterpret_cast<Graph *>(exec)->nodes) {
    if (node->meets)
      lock.unlock();
    int status = node->run();
    if (node->meets)
      lock.lock();
    if (status)
      return status;
  }
  return CUDA_SUCCESS;
}
CAAT_EXPORT CUresult cuGraphExecDestroy(CUgraphExec) { return CUDA_SUCCESS; }
CAAT_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  delete reinterpret_cast<Graph *>(graph);
  return CUDA_SUCCESS;
}
