// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs GPU kernels on the CPU, for artifacts of `caat-compile --target=cuda --emulate`: every thread of a block is a
// fiber (Fibers.h).
#include "../Cuda/HostBlocks.h"
#include "Fibers.h"
#include <thread>
#pragma clang fp contract(off)
#include "cuda/SumRows.cu"

using namespace caat::test;

namespace {

using ThreadFunction = void (*)(int64_t slots, int64_t thread, int64_t block, int64_t shared);

/// The block that this thread of the operating system runs.
thread_local FiberBlock block;

struct Shuffle {
  int32_t value, offset;
};

void exchange(void *const *parts, size_t threads) {
  int32_t values[FiberBlock::kWarp];
  auto at = [&](size_t i) -> Shuffle & { return *static_cast<Shuffle *>(parts[i]); };
  for (size_t i = 0; i < threads; ++i)
    values[i] = at(i).value;
  for (size_t i = 0; i < threads; ++i) {
    if (at(i).offset != at(0).offset)
      FiberBlock::fail("threads of a warp are at different shuffles");
    size_t from = i ^ static_cast<size_t>(at(i).offset);
    if (from >= threads)
      FiberBlock::fail("a shuffle reads beyond the warp");
    at(i).value = values[from];
  }
}

} // namespace

extern "C" {

void caat_emulate(ThreadFunction function, int64_t slots, int64_t blocks, int64_t threads, int64_t sharedBytes) {
  for (int64_t i = 0; i < blocks; ++i) {
    std::vector<unsigned char> shared(static_cast<size_t>(sharedBytes) + 16, 0xff); // NaN where nobody has written
    auto base = (reinterpret_cast<uintptr_t>(shared.data()) + 15) & ~uintptr_t(15);
    auto body = [&] {
      function(slots, static_cast<int64_t>(block.thread()), block.number(), static_cast<int64_t>(base));
    };
    block.run(body, i, static_cast<size_t>(threads));
  }
}

void caat_emulate_barrier() { block.barrier(); }

void caat_emulate_warp_barrier() { block.together(nullptr, nullptr); }

int32_t caat_emulate_shuffle(int32_t bits, int32_t offset) {
  Shuffle part{bits, offset};
  block.together(exchange, &part);
  return part.value;
}

// Sums over ranks at the beginning of a kernel, by the block's first thread.
#define CAAT_EMULATE_SUM(TYPE)                                                                                         \
  void caat_emulate_sum_rows_##TYPE(int64_t call, int64_t mine, int64_t data, int64_t count) {                         \
    block.barrier();                                                                                                   \
    if (block.thread() == 0) {                                                                                         \
      caat::runtime::cuda::hostBlock = block.number();                                                                 \
      caat_sum_rows_##TYPE(call, mine, data, count);                                                                   \
    }                                                                                                                  \
    block.barrier();                                                                                                   \
  }
CAAT_EMULATE_SUM(f32)
CAAT_EMULATE_SUM(bf16)
CAAT_EMULATE_SUM(f16)
}
