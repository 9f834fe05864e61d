// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a profiler loads into a program that speaks NVTX 3, as NVIDIA documents it for tools: prints to the file
// CAAT_NVTX the ranges of each thread that closed, innermost first, as "THREAD DEPTH CATEGORY TEXT".
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Attributes {
  uint16_t version, size;
  uint32_t category;
  int32_t colorType;
  uint32_t color;
  int32_t payloadType, reserved;
  uint64_t payload;
  int32_t messageType;
  const char *message;
};

struct State {
  FILE *file = std::fopen(std::getenv("CAAT_NVTX"), "w");
  std::mutex mutex;
  std::map<uint32_t, std::string> categories;
} *state;

struct Range {
  uint32_t category;
  std::string text;
};
thread_local std::vector<Range> open;
thread_local std::string thread = "?";

void nameThread(uint32_t, const char *name) { thread = name; }
void *createDomain(const char *name) { return new std::string(name); }
void nameCategory(void *, uint32_t number, const char *name) {
  std::lock_guard lock(state->mutex);
  state->categories[number] = name;
}
int push(void *domain, const Attributes *a) {
  if (a->version != 3 || a->size != 48 || a->messageType != 1 || *static_cast<std::string *>(domain) != "caat")
    std::abort();
  open.push_back({a->category, a->message});
  return static_cast<int>(open.size()) - 1;
}
int pop(void *) {
  if (open.empty())
    std::abort();
  std::lock_guard lock(state->mutex);
  std::fprintf(state->file, "%s, %zu, %s: %s\n", thread.c_str(), open.size() - 1,
               state->categories[open.back().category].c_str(), open.back().text.c_str());
  std::fflush(state->file);
  open.pop_back();
  return static_cast<int>(open.size());
}

struct Callbacks {
  size_t size;
  int (*functions)(int module, void (****table)(), unsigned *size);
};

} // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(const void *(*exportTable)(uint32_t)) {
  if (!std::getenv("CAAT_NVTX"))
    return 0;
  state = new State;
  const auto *callbacks = static_cast<const Callbacks *>(exportTable(1));
  void (***core)(), (***core2)();
  unsigned coreSize = 0, core2Size = 0;
  if (!callbacks || callbacks->size < sizeof(Callbacks) || !callbacks->functions(1, &core, &coreSize) ||
      !callbacks->functions(5, &core2, &core2Size) || coreSize < 16 || core2Size < 16)
    return 0;
  auto set = [](void (**place)(), auto *function) { *place = reinterpret_cast<void (*)()>(function); };
  set(core[14], nameThread);
  set(core2[4], push);
  set(core2[5], pop);
  set(core2[8], nameCategory);
  set(core2[12], createDomain);
  return 1;
}
