// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The threads of a GPU's block as fibers of the CPU: each runs until it has to wait for others. It ends the process,
// with the reason, where a GPU would hang or do what is undefined: threads of a warp that wait for different things,
// threads that have left while others wait. Threads run in one order and, between the next barriers, in the opposite
// one: what a missing barrier leaves to chance differs from the reference.
#ifndef CAAT_TEST_EXECUTION_FIBERS_H
#define CAAT_TEST_EXECUTION_FIBERS_H

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#endif

namespace caat::test {

/// Of functions that begin as one fiber and end as another: ThreadSanitizer must not count their calls.
#define CAAT_CHANGES_FIBER __attribute__((disable_sanitizer_instrumentation))

/// Where a fiber is held up. ThreadSanitizer has a stack of calls for each, and must be told of every change.
struct FiberContext {
#if __has_feature(thread_sanitizer)
  ~FiberContext() {
    if (isFiber)
      __tsan_destroy_fiber(state);
  }
  void makeFiber() {
    if (!isFiber)
      state = __tsan_create_fiber(0);
    isFiber = true;
  }
  void isRunning() { state = __tsan_get_current_fiber(); }
  CAAT_CHANGES_FIBER void announce() { __tsan_switch_to_fiber(state, 0); }

  void *state = nullptr;
  bool isFiber = false;
#else
  void makeFiber() {}
  void isRunning() {}
  void announce() {}
#endif
  ucontext_t registers;
};

/// What the threads of a warp do together, once all are there: each has brought a pointer to its part.
using Exchange = void (*)(void *const *parts, size_t threads);

class FiberBlock {
public:
  static constexpr size_t kWarp = 32;

  FiberBlock() = default;
  FiberBlock(const FiberBlock &) = delete;
  FiberBlock &operator=(const FiberBlock &) = delete;
  ~FiberBlock() {
    for (const auto &fiber : fibers)
      munmap(fiber->stack, kStackBytes);
  }

  /// Runs `body` in each thread.
  void run(std::function<void()> body, int64_t number, size_t threads) {
    function = std::move(body);
    blockNumber = number;
    while (fibers.size() < threads) {
      auto fiber = std::make_unique<Fiber>();
      void *stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (stack == MAP_FAILED)
        fail("no memory for stacks");
      fiber->stack = static_cast<char *>(stack);
      fibers.push_back(std::move(fiber));
    }
    count = threads;
    running = this;
    scheduler.isRunning();
    for (size_t i = 0; i < threads; ++i) {
      Fiber &fiber = *fibers[i];
      ucontext_t &registers = fiber.context.registers;
      getcontext(&registers);
      registers.uc_stack.ss_sp = fiber.stack;
      registers.uc_stack.ss_size = kStackBytes;
      registers.uc_link = &scheduler.registers;
      makecontext(&registers, reinterpret_cast<void (*)()>(&FiberBlock::enter), 0);
      fiber.context.makeFiber();
      fiber.state = State::Running;
    }
    while (step())
      ;
  }

  size_t thread() const { return current; }
  int64_t number() const { return blockNumber; }

  /// Waits for all threads of the block.
  void barrier() { wait(State::AtBarrier, nullptr, nullptr); }
  /// Waits for all threads of the warp, and does `exchange`; without one, that is all.
  void together(Exchange exchange, void *part) { wait(State::AtExchange, exchange, part); }
  /// Waits until others have made `isReady(part)` true; all threads of a warp do so at once.
  void until(bool (*isReady)(void *), void *part) {
    fibers[current]->isReady = isReady;
    wait(State::AtCondition, nullptr, part);
  }

  [[noreturn]] static void fail(const char *reason) {
    std::fprintf(stderr, "emulated GPU: %s\n", reason);
    std::abort();
  }

private:
  static constexpr size_t kStackBytes = 64 << 10;

  enum class State { Running, AtExchange, AtCondition, AtBarrier, Done };

  struct Fiber {
    FiberContext context;
    char *stack = nullptr;
    State state = State::Done;
    Exchange exchange = nullptr;
    bool (*isReady)(void *) = nullptr;
    void *part = nullptr;
  };

  static const char *describe(const Fiber &fiber) {
    switch (fiber.state) {
    case State::Running:
      return "running";
    case State::AtExchange:
      return fiber.exchange ? "at an exchange with its warp" : "at a barrier of its warp";
    case State::AtCondition:
      return "waiting for what nobody does any more";
    case State::AtBarrier:
      return "at a barrier of the block";
    case State::Done:
      return "done";
    }
    return "?";
  }

  [[noreturn]] void failAt(size_t a, size_t b) {
    std::fprintf(stderr, "emulated GPU: block %lld: thread %zu is %s, but thread %zu is %s\n",
                 static_cast<long long>(blockNumber), a, describe(*fibers[a]), b, describe(*fibers[b]));
    std::abort();
  }

  void wait(State state, Exchange exchange, void *part) {
    Fiber &fiber = *fibers[current];
    fiber.state = state;
    fiber.exchange = exchange;
    fiber.part = part;
    swap(fiber.context, scheduler);
  }

  CAAT_CHANGES_FIBER static void swap(FiberContext &from, FiberContext &to) {
    to.announce();
    swapcontext(&from.registers, &to.registers);
  }

  CAAT_CHANGES_FIBER static void enter() {
    FiberBlock &block = *running;
    size_t thread = block.current;
    block.function();
    block.fibers[thread]->state = State::Done;
    block.fibers[thread]->exchange = nullptr;
    block.scheduler.announce();
  }

  /// Every warp up to the block's next barrier. False when all threads are done.
  bool step() {
    backwards = !backwards;
    size_t warps = (count + kWarp - 1) / kWarp;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t w = 0; w < warps; ++w)
        if (size_t warp = backwards ? warps - 1 - w : w; canRun(warp)) {
          runWarp(warp);
          moved = true;
        }
    }
    for (size_t i = 1; i < count; ++i)
      if (fibers[i]->state != fibers[0]->state)
        failAt(0, i);
    if (fibers[0]->state == State::Done)
      return false;
    for (size_t i = 0; i < count; ++i)
      fibers[i]->state = State::Running;
    return true;
  }

  /// Whether a warp is to run, or waits for something that has happened.
  bool canRun(size_t warp) {
    size_t first = warp * kWarp, end = std::min(first + kWarp, count);
    if (fibers[first]->state != State::AtCondition)
      return fibers[first]->state == State::Running;
    for (size_t i = first; i < end; ++i)
      if (!fibers[i]->isReady(fibers[i]->part))
        return false;
    for (size_t i = first; i < end; ++i)
      fibers[i]->state = State::Running;
    return true;
  }

  void runWarp(size_t warp) {
    size_t first = warp * kWarp, end = std::min(first + kWarp, count);
    for (bool turn = backwards;; turn = !turn) {
      for (size_t i = 0; i < end - first; ++i) {
        current = turn ? end - 1 - i : first + i;
        if (fibers[current]->state == State::Running)
          swap(scheduler, fibers[current]->context);
      }
      const Fiber &leader = *fibers[first];
      for (size_t i = first; i < end; ++i)
        if (fibers[i]->state != leader.state || fibers[i]->exchange != leader.exchange)
          failAt(first, i);
      if (leader.state != State::AtExchange)
        return;
      if (leader.exchange) {
        void *parts[kWarp];
        for (size_t i = first; i < end; ++i)
          parts[i - first] = fibers[i]->part;
        leader.exchange(parts, end - first);
      }
      for (size_t i = first; i < end; ++i)
        fibers[i]->state = State::Running;
    }
  }

  static inline thread_local FiberBlock *running = nullptr;

  std::function<void()> function;
  int64_t blockNumber = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  size_t count = 0, current = 0;
  bool backwards = false;
  FiberContext scheduler;
};

} // namespace caat::test

#endif
