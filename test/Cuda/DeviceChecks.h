// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What caat-test-device's checks share: the ranks of the CPU and of a GPU, arrays on them, and the comparison.
#ifndef CAAT_TEST_CUDA_DEVICE_CHECKS_H
#define CAAT_TEST_CUDA_DEVICE_CHECKS_H

#include "caat/runtime/Device.h"
#include "caat/runtime/Error.h"
#include "cpu/CpuDevice.h"
#include <cmath>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>

namespace caat::test {

using namespace caat::runtime;

using Bytes = std::vector<std::byte>;

/// The ranks of a backend.
struct Side {
  std::unique_ptr<Backend> backend;
  std::vector<std::unique_ptr<Device>> devices;
  std::unique_ptr<RankGroup> group;

  Side(std::unique_ptr<Backend> made, int ranks) : backend(std::move(made)) {
    std::vector<Device *> all;
    for (int rank = 0; rank < ranks; ++rank)
      all.push_back(devices.emplace_back(backend->makeDevice(rank)).get());
    group = backend->makeGroup(all);
  }
  ~Side() { group.reset(); }

  /// What each rank's `work` returns.
  template <typename F> std::vector<Bytes> run(F &&work) {
    std::vector<Bytes> results(devices.size());
    std::vector<std::thread> threads;
    std::string error;
    std::mutex mutex;
    for (size_t rank = 0; rank < devices.size(); ++rank)
      threads.emplace_back([&, rank] {
        try {
          devices[rank]->attach();
          results[rank] = work(*devices[rank], group->at(static_cast<int>(rank)));
        } catch (const std::exception &e) {
          group->abort(e.what());
          std::lock_guard lock(mutex);
          error = error.empty() ? e.what() : error;
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    if (!error.empty()) {
      group->reset();
      failRun(error);
    }
    return results;
  }
};

inline Side cpuSide(const Program &program, int ranks) {
  return {std::make_unique<CpuBackend>(program, BackendOptions{ranks, 1, {}, {}, {}}), ranks};
}
inline Side gpuSide(const Program &program, int ranks, bool eachOwn = false) {
  std::vector<int> devices;
  for (int rank = 0; eachOwn && rank < ranks; ++rank)
    devices.push_back(rank);
  return {makeBackend(program, {ranks, 1, devices, {}, {}}), ranks};
}

/// An array on a device.
class Array {
public:
  Array(Device &device, const void *data, size_t bytes)
      : device(device), bytes(bytes), memory(device.allocate(bytes, "an array")) {
    device.upload(memory.get(), data, bytes);
  }
  template <typename T>
  Array(Device &device, const std::vector<T> &data) : Array(device, data.data(), data.size() * sizeof(T)) {}
  void *get() const { return memory.get(); }
  Bytes read() const {
    Bytes result(bytes);
    device.download(result.data(), memory.get(), bytes);
    return result;
  }

private:
  Device &device;
  size_t bytes;
  std::shared_ptr<std::byte> memory;
};

inline Bytes operator+(Bytes a, const Bytes &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Numbers of a type, the same for the same seed.
inline Bytes someData(DType dtype, int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  Bytes result(static_cast<size_t>(count) * sizeOf(dtype));
  for (int64_t i = 0; i < count; ++i) {
    auto *to = result.data() + static_cast<size_t>(i) * sizeOf(dtype);
    float x = normal(random);
    double wide = x * 1.000001;
    int64_t integer = static_cast<int64_t>(x * 1e8) * 1'000'003;
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    auto half = static_cast<uint16_t>(bits >> 16);
    auto f16 = static_cast<_Float16>(x);
    switch (dtype) {
    case DType::F32:
      std::memcpy(to, &x, 4);
      break;
    case DType::F64:
      std::memcpy(to, &wide, 8);
      break;
    case DType::BF16:
      std::memcpy(to, &half, 2);
      break;
    case DType::F16:
      std::memcpy(to, &f16, 2);
      break;
    default:
      std::memcpy(to, &integer, sizeOf(dtype));
    }
  }
  return result;
}

class Checks {
public:
  /// Those whose names begin with `only`, and, unless it is empty, not with `without`.
  Checks(const Program &program, bool eachOwn, std::string only, std::string without)
      : program(program), eachOwn(eachOwn), only(std::move(only)), without(std::move(without)) {}
  bool failed = false;
  const Program &program;

  /// NCCL on several GPUs, but not the test's double, adds in an order of its own, which matters from three ranks on.
  bool addsInAnyOrder(int ranks) const { return eachOwn && ranks > 2 && !std::getenv("CAAT_CUDA_DRIVER"); }

  /// `work` on both sides, with `ranks` ranks; fp32 results may differ by `tolerance` of the largest value.
  template <typename F> void compare(const std::string &name, int ranks, F &&work, double tolerance = 0) {
    report(name + " N=" + std::to_string(ranks), [&] {
      std::vector<Bytes> want = cpuSide(program, ranks).run(work), got = gpuSide(program, ranks, eachOwn).run(work);
      for (size_t rank = 0; rank < want.size(); ++rank)
        if (tolerance == 0 && !isSame(want[rank], got[rank]))
          failRun("rank ", rank, " differs, ", firstDifference(want[rank], got[rank]));
        else if (double difference = tolerance == 0 ? 0 : differenceOf(want[rank], got[rank]);
                 !(difference <= tolerance))
          failRun("rank ", rank, " differs by ", difference, " of the largest value, ", tolerance, " is allowed");
    });
  }

  template <typename F> void report(const std::string &name, F &&check) {
    if (!name.starts_with(only) || (!without.empty() && name.starts_with(without)))
      return;
    try {
      check();
      std::cout << "ok      " << name << std::endl;
    } catch (const std::exception &e) {
      failed = true;
      std::cout << "FAILED  " << name << ": " << e.what() << std::endl;
    }
  }

private:
  static std::string firstDifference(const Bytes &want, const Bytes &got) {
    size_t at = 0;
    while (at < want.size() && at < got.size() && want[at] == got[at])
      ++at;
    return "from byte " + std::to_string(at) + " of " + std::to_string(want.size()) + " on";
  }
  /// The same bits, but for those of fp32 values that are no numbers.
  static bool isSame(const Bytes &want, const Bytes &got) {
    if (want.size() != got.size())
      return false;
    size_t words = want.size() / 4 * 4;
    for (size_t i = 0; i < words; i += 4) {
      float x, y;
      std::memcpy(&x, want.data() + i, 4);
      std::memcpy(&y, got.data() + i, 4);
      if (std::memcmp(&x, &y, 4) != 0 && !(std::isnan(x) && std::isnan(y)))
        return false;
    }
    return std::equal(want.begin() + static_cast<std::ptrdiff_t>(words), want.end(),
                      got.begin() + static_cast<std::ptrdiff_t>(words));
  }
  static double differenceOf(const Bytes &want, const Bytes &got) {
    double most = 0, largest = 1e-30;
    if (want.size() != got.size())
      return INFINITY;
    for (size_t i = 0; i + 4 <= want.size(); i += 4) {
      float x, y;
      std::memcpy(&x, want.data() + i, 4);
      std::memcpy(&y, got.data() + i, 4);
      if (!std::isfinite(y))
        return INFINITY;
      most = std::max(most, std::abs(static_cast<double>(x) - y));
      largest = std::max(largest, std::abs(static_cast<double>(x)));
    }
    return most / largest;
  }

  bool eachOwn; // device for each rank
  std::string only, without;
};

/// How long a call takes, in seconds, of many.
template <typename F> double secondsOf(Device &device, int calls, F &&run) {
  for (int i = 0; i < 3; ++i)
    run();
  device.synchronize();
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i)
    run();
  device.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
}

inline void say(const std::string &name, double value, const char *unit) {
  std::cout << "time    " << name << ": " << std::fixed << std::setprecision(2) << value << ' ' << unit << std::endl;
}

void checkAttention(Checks &checks);
void checkBlocks(Checks &checks);
void checkGates(Checks &checks);
void checkGatedRows(Checks &checks);
void measureAttention(const Program &program);

} // namespace caat::test

#endif
