// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs GPU kernels on the CPU, for artifacts of `caat-compile --target=cuda --emulate`: every thread of a block is a
// fiber that runs until it has to wait for others. It ends the process, with the reason, where a GPU would hang or do
// what is undefined: threads of a warp that are at different shuffles or barriers, threads that have left while others
// wait. Threads run in one order and, between the next barriers, in the opposite one: what a missing barrier leaves to
// chance differs from the reference.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

namespace {

using ThreadFunction = void (*)(int64_t slots, int64_t thread, int64_t block, int64_t shared);

constexpr size_t kWarp = 32, kStackBytes = 64 << 10;

enum class State { Running, AtShuffle, AtWarpBarrier, AtBarrier, Done };

const char *describe(State state) {
  switch (state) {
  case State::Running:
    return "running";
  case State::AtShuffle:
    return "at a shuffle";
  case State::AtWarpBarrier:
    return "at a barrier of its warp";
  case State::AtBarrier:
    return "at a barrier of the block";
  case State::Done:
    return "done";
  }
  return "?";
}

struct Fiber {
  ucontext_t context;
  char *stack = nullptr;
  State state = State::Done;
  int32_t value = 0, offset = 0; // of a shuffle
};

/// The block that this thread of the operating system runs.
class Block {
public:
  void run(ThreadFunction f, int64_t slots, int64_t number, size_t threads, size_t sharedBytes) {
    function = f;
    arguments = slots;
    blockNumber = number;
    shared.assign(sharedBytes + 16, 0xff); // NaN where nobody has written
    while (fibers.size() < threads) {
      auto fiber = std::make_unique<Fiber>();
      void *stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (stack == MAP_FAILED)
        fail("no memory for stacks");
      fiber->stack = static_cast<char *>(stack);
      fibers.push_back(std::move(fiber));
    }
    count = threads;
    for (size_t i = 0; i < threads; ++i) {
      Fiber &fiber = *fibers[i];
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack;
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = &scheduler;
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Block::enter), 0);
      fiber.state = State::Running;
    }
    while (step())
      ;
  }

  void wait(State state, int32_t value = 0, int32_t offset = 0) {
    Fiber &fiber = *fibers[current];
    fiber.state = state;
    fiber.value = value;
    fiber.offset = offset;
    swapcontext(&fiber.context, &scheduler);
  }

  int32_t received() const { return fibers[current]->value; }

private:
  static void enter();

  [[noreturn]] static void fail(const char *reason) {
    std::fprintf(stderr, "emulated GPU: %s\n", reason);
    std::abort();
  }

  [[noreturn]] void failAt(size_t a, size_t b) {
    std::fprintf(stderr, "emulated GPU: block %lld: thread %zu is %s, but thread %zu is %s\n",
                 static_cast<long long>(blockNumber), a, describe(fibers[a]->state), b, describe(fibers[b]->state));
    std::abort();
  }

  /// Every warp up to the block's next barrier. False when all threads are done.
  bool step() {
    backwards = !backwards;
    size_t warps = (count + kWarp - 1) / kWarp;
    for (size_t w = 0; w < warps; ++w)
      runWarp(backwards ? warps - 1 - w : w);
    for (size_t i = 1; i < count; ++i)
      if (fibers[i]->state != fibers[0]->state)
        failAt(0, i);
    if (fibers[0]->state == State::Done)
      return false;
    for (size_t i = 0; i < count; ++i)
      fibers[i]->state = State::Running;
    return true;
  }

  void runWarp(size_t warp) {
    size_t first = warp * kWarp, end = std::min(first + kWarp, count);
    for (bool turn = backwards;; turn = !turn) {
      for (size_t i = 0; i < end - first; ++i) {
        current = turn ? end - 1 - i : first + i;
        if (fibers[current]->state == State::Running)
          swapcontext(&scheduler, &fibers[current]->context);
      }
      State state = fibers[first]->state;
      for (size_t i = first; i < end; ++i)
        if (fibers[i]->state != state || fibers[i]->offset != fibers[first]->offset)
          failAt(first, i);
      if (state == State::AtBarrier || state == State::Done)
        return;
      if (state == State::AtShuffle)
        exchange(first, end);
      for (size_t i = first; i < end; ++i)
        fibers[i]->state = State::Running;
    }
  }

  void exchange(size_t first, size_t end) {
    std::vector<int32_t> values;
    for (size_t i = first; i < end; ++i)
      values.push_back(fibers[i]->value);
    for (size_t i = first; i < end; ++i) {
      size_t from = (i - first) ^ static_cast<size_t>(fibers[i]->offset);
      if (from >= values.size())
        fail("a shuffle reads beyond the warp");
      fibers[i]->value = values[from];
    }
  }

  void runCurrent() {
    size_t thread = current;
    auto base = (reinterpret_cast<uintptr_t>(shared.data()) + 15) & ~uintptr_t(15);
    function(arguments, static_cast<int64_t>(thread), blockNumber, static_cast<int64_t>(base));
    fibers[thread]->state = State::Done;
    fibers[thread]->offset = 0;
  }

  ThreadFunction function = nullptr;
  int64_t arguments = 0, blockNumber = 0;
  std::vector<unsigned char> shared;
  std::vector<std::unique_ptr<Fiber>> fibers;
  size_t count = 0, current = 0;
  bool backwards = false;
  ucontext_t scheduler;
};

thread_local Block block;

void Block::enter() { block.runCurrent(); }

} // namespace

extern "C" {

void caat_emulate(ThreadFunction function, int64_t slots, int64_t blocks, int64_t threads, int64_t shared) {
  for (int64_t i = 0; i < blocks; ++i)
    block.run(function, slots, i, static_cast<size_t>(threads), static_cast<size_t>(shared));
}

void caat_emulate_barrier() { block.wait(State::AtBarrier); }

void caat_emulate_warp_barrier() { block.wait(State::AtWarpBarrier); }

int32_t caat_emulate_shuffle(int32_t bits, int32_t offset) {
  block.wait(State::AtShuffle, bits, offset);
  return block.received();
}
}
