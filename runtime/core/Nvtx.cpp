// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Nvtx.h"
#include <cstdlib>
#include <dlfcn.h>
#include <iterator>
#include <unistd.h>

namespace caat::runtime {

namespace {

// What both sides have agreed on: nvtx3/nvtxDetail/nvtxTypes.h and nvToolsExt.h of NVTX 3.

using Function = void (*)();
enum Module : int { Core = 1, Cuda, OpenCl, CudaRuntime, Core2, Sync };
constexpr unsigned numFunctions[] = {0, 16, 9, 16, 7, 16, 7}; // of a module, the unused first one too
enum CoreFunction { NameOsThreadA = 14 };
enum Core2Function { DomainRangePushEx = 4, DomainRangePop = 5, DomainNameCategoryA = 8, DomainCreateA = 12 };
constexpr uint32_t nvtxVersion = 3;
constexpr uint32_t exportCallbacks = 1, exportVersion = 3;

struct EventAttributes {
  uint16_t version = nvtxVersion, size = sizeof(EventAttributes);
  uint32_t category = 0;
  int32_t colorType = 0;
  uint32_t color = 0;
  int32_t payloadType = 0, reserved = 0;
  uint64_t payload = 0;
  int32_t messageType = 1; // ASCII
  const char *message = nullptr;
};
static_assert(sizeof(EventAttributes) == 48);

using Domain = struct DomainRegistration *;
using DomainCreate = Domain (*)(const char *);
using DomainNameCategory = void (*)(Domain, uint32_t, const char *);
using DomainPush = int (*)(Domain, const EventAttributes *);
using DomainPop = int (*)(Domain);
using NameThread = void (*)(uint32_t, const char *);

/// The profiler's functions, by module and number: null where it does not care.
Function functions[std::size(numFunctions)][17];
/// Where the profiler writes them.
Function *places[std::size(numFunctions)][17];

int moduleFunctions(int module, Function ***table, unsigned *size) {
  if (module < Core || module > Sync)
    return 0;
  if (table)
    *table = places[module];
  if (size)
    *size = numFunctions[module];
  return 1;
}

struct Callbacks {
  size_t size = sizeof(Callbacks);
  int (*moduleFunctions)(int, Function ***, unsigned *) = caat::runtime::moduleFunctions;
} callbacks;

struct VersionInfo {
  size_t size = sizeof(VersionInfo);
  uint32_t version = nvtxVersion, reserved = 0;
  void (*setInjectionVersion)(uint32_t) = [](uint32_t) {};
} versionInfo;

const void *exportTable(uint32_t id) {
  return id == exportCallbacks ? static_cast<const void *>(&callbacks)
         : id == exportVersion ? static_cast<const void *>(&versionInfo)
                               : nullptr;
}

template <typename F> F functionOf(Module module, int number) { return reinterpret_cast<F>(functions[module][number]); }

Domain domain = nullptr;

bool attach() {
  const char *path = std::getenv("NVTX_INJECTION64_PATH");
  void *library = path ? dlopen(path, RTLD_LAZY | RTLD_LOCAL) : nullptr;
  if (!library)
    return false;
  for (int module = Core; module <= Sync; ++module)
    for (unsigned i = 1; i < numFunctions[module]; ++i)
      places[module][i] = &functions[module][i];
  using Initialize = int (*)(const void *(*)(uint32_t));
  auto initialize = reinterpret_cast<Initialize>(dlsym(library, "InitializeInjectionNvtx2"));
  if (!initialize || !initialize(exportTable) || !functions[Core2][DomainRangePushEx] ||
      !functions[Core2][DomainRangePop])
    return false;
  if (auto create = functionOf<DomainCreate>(Core2, DomainCreateA))
    domain = create("caat");
  if (auto name = functionOf<DomainNameCategory>(Core2, DomainNameCategoryA))
    for (uint32_t row = 0; row < std::size(Trace::rowNames); ++row)
      name(domain, row + 1, Trace::rowNames[row]);
  return true;
}

} // namespace

const bool ProfilerRange::isAttached = attach();

void ProfilerRange::begin(Trace::Row row, std::string_view kind, std::string_view name) {
  std::string text(kind);
  text.append(" ").append(name);
  EventAttributes attributes;
  attributes.category = static_cast<uint32_t>(row) + 1;
  attributes.message = text.c_str();
  functionOf<DomainPush>(Core2, DomainRangePushEx)(domain, &attributes);
}

void ProfilerRange::end() { functionOf<DomainPop>(Core2, DomainRangePop)(domain); }

void ProfilerRange::nameThread(const std::string &name) {
  auto nameIt = functionOf<NameThread>(Core, NameOsThreadA);
  if (isAttached && nameIt)
    nameIt(static_cast<uint32_t>(gettid()), name.c_str());
}

} // namespace caat::runtime
