// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Has cuDNN (CAAT_CUDNN) compile attention for GPUs that are described to it: whether it knows the graph, and takes the
// shapes, strides and types that the runtime gives it. Needs no GPU, but the stand-ins of CudnnStub.cpp; nothing runs.
// With --choices, when the runtime chooses cuDNN, for which the test double will do. Prints a line for each check; the
// exit code is 1 where one failed.
#include "caat/runtime/Error.h"
#include "cuda/FusedAttention.h"
#include <chrono>
#include <functional>
#include <iomanip>
#include <iostream>

using namespace caat::runtime;
using namespace caat::runtime::cuda;

#define CAAT_CUDNN_VALUE(NAME, VALUE) static_assert(NAME == VALUE);
#include "CudnnValues.def"
#undef CAAT_CUDNN_VALUE

namespace {

/// As the library's JSON wants a GPU to be described.
std::string propertiesOf(int architecture) {
  bool isHopper = architecture == 90;
  return detail::concat(R"({"cudaDeviceId": 0, "deviceVer": )", architecture * 10, R"(, "driverVer": 13000,
      "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
      "multiProcessorCount": )",
                        isHopper ? 132 : 108, R"(, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
      "maxSharedMemoryPerBlockOptin": )",
                        isHopper ? 232448 : 166912, R"(, "reservedSharedMemoryPerBlock": 1024,
      "maxRegistersPerSM": 65536, "pciDeviceId": 0, "maxCtasPerSM": 32, "maxThreadsPerSM": 2048,
      "maxThreadsPerBlock": 1024, "memoryBusWidth": 5120, "isTccDriver": 0, "supportCoopLaunch": 1,
      "totalGlobalMem": 85000000000, "smClockRateKHz": 1500000, "memClockRateKHz": 2000000, "l2CacheSize": 41943040,
      "deviceName": "GPU"})");
}

struct Case {
  const char *name;
  int64_t batch, tokens, past, kvHeads, group, size, valueSize;
  bool causal = true;
  DType via = DType::BF16;
  int64_t room = 0; // behind the keys
};

const Case cases[] = {
    {"a prompt", 1, 2048, 0, 8, 4, 128, 128},
    {"a short prompt", 1, 500, 0, 8, 4, 128, 128},
    {"behind a cache", 1, 512, 1536, 8, 4, 128, 128, true, DType::BF16, 700},
    {"odd numbers behind a cache", 1, 501, 777, 8, 4, 128, 128, true, DType::BF16, 23},
    {"a batch", 16, 512, 0, 8, 4, 128, 128},
    {"all keys", 4, 384, 0, 12, 1, 64, 64, false},
    {"in f16", 1, 2048, 0, 8, 4, 128, 128, true, DType::F16},
    {"heads of 64", 1, 2048, 0, 3, 3, 64, 64},
    {"heads of 80", 1, 2048, 0, 8, 1, 80, 80},
    {"heads of 96", 1, 2048, 0, 8, 1, 96, 96},
    {"heads of 256", 1, 2048, 0, 4, 2, 256, 256},
    {"heads of two sizes", 1, 2048, 0, 16, 1, 192, 128},
    {"one head", 1, 2048, 0, 1, 1, 64, 64},
};

Attention attentionOf(const Case &p) {
  alignas(16) static char somewhere[16];
  int64_t heads = p.kvHeads * p.group, total = p.past + p.tokens, room = total + p.room;
  Attention a{};
  a.via = a.queryType = a.keyType = a.outType = p.via;
  a.batch = p.batch;
  a.tokens = p.tokens;
  a.total = total;
  a.past = p.past;
  a.heads = heads;
  a.kvHeads = p.kvHeads;
  a.size = p.size;
  a.valueSize = p.valueSize;
  a.left = a.right = -1;
  a.causal = p.causal;
  a.query = a.keys = a.values = a.out = somewhere;
  a.queryHead = p.size;
  a.queryToken = heads * p.size;
  a.queryBatch = p.tokens * heads * p.size;
  a.keyToken = p.size;
  a.keyHead = room * p.size;
  a.keyBatch = p.kvHeads * room * p.size;
  a.valueToken = p.valueSize;
  a.valueHead = room * p.valueSize;
  a.valueBatch = p.kvHeads * room * p.valueSize;
  a.outHead = p.valueSize;
  a.outToken = heads * p.valueSize;
  a.outBatch = p.tokens * heads * p.valueSize;
  a.scale = 0.1f;
  return a;
}

class Checks {
public:
  bool failed = false;
  void report(const std::string &name, const std::function<std::string()> &check) {
    try {
      std::string text = check();
      std::cout << "ok      " << name << (text.empty() ? "" : ": ") << text << std::endl;
    } catch (const std::exception &error) {
      failed = true;
      std::cout << "FAILED  " << name << ": " << error.what() << std::endl;
    }
  }
};

std::string timeOfPlan(const std::shared_ptr<const CudnnTarget> &target, const FusedShape &shape) {
  auto begin = std::chrono::steady_clock::now();
  FusedPlan plan(target, shape);
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return detail::concat(std::fixed, std::setprecision(2), seconds.count(), " s, a workspace of ", plan.workspaceBytes(),
                        " bytes");
}

void checkPlans(Checks &checks) {
  auto library = std::make_shared<Cudnn>();
  std::cout << "cuDNN " << library->version() << std::endl;
  for (int architecture : {90, 80}) {
    auto target = std::make_shared<CudnnTarget>(library, propertiesOf(architecture));
    for (const Case &p : cases)
      checks.report(detail::concat(p.name, ", sm_", architecture), [&] {
        std::optional<FusedShape> shape = fusedShapeOf(attentionOf(p));
        if (!shape)
          failRun("not taken");
        return timeOfPlan(target, *shape);
      });
    // What the runtime relies on the library to refuse.
    auto refuses = [&](const char *name, void (*change)(FusedShape &)) {
      checks.report(detail::concat(name, ", sm_", architecture), [&]() -> std::string {
        FusedShape shape = *fusedShapeOf(attentionOf(cases[0]));
        change(shape);
        try {
          FusedPlan plan(target, shape);
        } catch (const Error &error) {
          return detail::concat("refused: ", error.what());
        }
        failRun("taken");
      });
    };
    refuses("a type that it does not know", [](FusedShape &s) { s.type = CUDNN_DATA_BOOLEAN; });
    refuses("heads of 132", [](FusedShape &s) { s.size = s.valueSize = 132; });
  }
}

/// How often a case is computed by the own kernel before cuDNN is chosen; `most` where it never is.
int64_t ownCallsOf(FusedAttention &fused, const Attention &attention, int64_t most) {
  for (int64_t calls = 0; calls < most; ++calls)
    if (fused.choose(attention, nullptr).plan)
      return calls;
  return most;
}

void expect(int64_t got, int64_t want) {
  if (got != want)
    failRun(got, ", not ", want);
}

void checkChoices(Checks &checks) {
  const Attention prompt = attentionOf(cases[0]);
  checks.report("a shape that is worth it", [&] {
    FusedAttention fused;
    expect(ownCallsOf(fused, prompt, 100'000), 14'551); // 5e14 operations, 2 * 2048^2 * 32 * 256 / 2 a call
    expect(fused.choose(prompt, nullptr).isNew, true);
    Attention other = prompt;
    other.tokens = other.total = 4096;
    expect(ownCallsOf(fused, other, 100'000), 3'637);
    fused.compared(prompt, "");
    expect(fused.choose(prompt, nullptr).isNew, false);
    return fused.info();
  });
  checks.report("a small shape", [&] {
    FusedAttention fused;
    Attention small = prompt;
    small.tokens = small.total = 256;
    expect(ownCallsOf(fused, small, 1'000'000), 1'000'000);
    return fused.info();
  });
  setenv("CAAT_CUDNN_AFTER", "3", 1);
  checks.report("after so many calls", [&] {
    FusedAttention fused;
    expect(ownCallsOf(fused, prompt, 10), 2);
    return "";
  });
  checks.report("a comparison that failed", [&] {
    FusedAttention fused;
    ownCallsOf(fused, prompt, 10);
    fused.compared(prompt, "other numbers");
    expect(ownCallsOf(fused, prompt, 10), 10);
    return fused.info();
  });
  checks.report("many shapes", [&] { // the first is forgotten, the last are not
    FusedAttention fused;
    auto shaped = [&](int64_t tokens) {
      Attention a = prompt;
      a.tokens = a.total = tokens;
      return a;
    };
    for (int64_t tokens = 1; tokens <= 300; ++tokens)
      expect(ownCallsOf(fused, shaped(tokens), 10), 2);
    expect(ownCallsOf(fused, shaped(300), 10), 0);
    expect(ownCallsOf(fused, shaped(100), 10), 0);
    expect(ownCallsOf(fused, shaped(1), 10), 2);
    return "";
  });
  setenv("CAAT_CUDA_LOCAL_PEERS", "1", 1);
  checks.report("ranks that wait for each other on one device", [&] {
    FusedAttention fused;
    expect(ownCallsOf(fused, prompt, 10), 10);
    return fused.info();
  });
  unsetenv("CAAT_CUDA_LOCAL_PEERS");
  setenv("CAAT_CUDNN", "/nonexistent.so", 1);
  checks.report("no library", [&] {
    FusedAttention fused;
    expect(ownCallsOf(fused, prompt, 10), 10);
    return fused.info();
  });
}

} // namespace

int main(int argc, char **argv) {
  try {
    Checks checks;
    bool choices = argc > 1 && std::string_view(argv[1]) == "--choices";
    choices ? checkChoices(checks) : checkPlans(checks);
    return checks.failed;
  } catch (const std::exception &error) {
    std::cerr << "caat-test-cudnn: error: " << error.what() << '\n';
    return 1;
  }
}
