// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compares what a GPU's device and communicators do with what the CPU's do: copies and exchanges to the bit, sums over
// ranks too, products closely. Usage: caat-test-device PROGRAM [--times] [--devices=COUNT], PROGRAM a program for the
// GPU (its kernels are not run). Ranks share a device, or with --devices have one each; then sums over ranks are
// compared closely. Prints a line for each check; the exit code is 1 where one failed.
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

using namespace caat::runtime;

namespace {

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

Side cpuSide(const Program &program, int ranks) {
  return {std::make_unique<CpuBackend>(program, BackendOptions{ranks, 1, {}, {}, {}}), ranks};
}
Side gpuSide(const Program &program, int ranks, bool eachOwn = false) {
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

Bytes operator+(Bytes a, const Bytes &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Numbers of a type, the same for the same seed.
Bytes someData(DType dtype, int64_t count, unsigned seed) {
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
  Checks(const Program &program, bool eachOwn) : program(program), eachOwn(eachOwn) {}
  bool failed = false;

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

  const Program &program;
  bool eachOwn; // device for each rank
};

CollectiveCall call(CollectiveKind kind, DType dtype, int64_t count, int64_t extra = 0) {
  return {0, "check", kind, dtype, count, extra};
}

void checkCollectives(Checks &checks, int ranks) {
  double tolerance = checks.addsInAnyOrder(ranks) ? 2e-6 : 0;
  for (DType dtype : {DType::F32, DType::F64, DType::BF16, DType::F16, DType::I32, DType::I64})
    for (int64_t count : {int64_t{1}, int64_t{1000}, int64_t{300'001}}) {
      bool isInteger = dtype == DType::I32 || dtype == DType::I64;
      if (tolerance > 0 && !isInteger && dtype != DType::F32)
        continue;
      checks.compare(
          detail::concat("all-reduce ", count, " ", nameOf(dtype)), ranks,
          [=](Device &d, Communicator &c) {
            Array data(d, someData(dtype, count, static_cast<unsigned>(c.rank())));
            for (int turn = 0; turn < 3; ++turn)
              c.allReduce(call(CollectiveKind::AllReduce, dtype, count), data.get());
            return data.read();
          },
          isInteger ? 0 : tolerance);
    }
  for (auto [outer, inner] : {std::pair<int64_t, int64_t>{1, 7}, {5, 12}, {300, 1021}}) {
    checks.compare(detail::concat("all-gather ", outer, "x", inner), ranks, [=](Device &d, Communicator &c) {
      Bytes mine = someData(DType::F32, outer * inner, static_cast<unsigned>(c.rank()));
      Array in(d, mine), out(d, Bytes(mine.size() * static_cast<size_t>(c.size())));
      c.allGather(call(CollectiveKind::AllGather, DType::F32, outer * inner, inner), in.get(), out.get(), outer, inner);
      Array odd(d, Bytes(mine.begin(), mine.begin() + 7)), all(d, Bytes(7 * static_cast<size_t>(c.size())));
      c.allGather(call(CollectiveKind::AllGather, DType::UI8, 7, 7), odd.get(), all.get(), 1, 7);
      return out.read() + all.read();
    });
    auto scatter = [=](Device &d, Communicator &c) {
      Array in(d, someData(DType::F32, outer * inner * c.size(), static_cast<unsigned>(c.rank())));
      Array out(d, Bytes(static_cast<size_t>(outer * inner) * 4));
      c.reduceScatter(call(CollectiveKind::ReduceScatter, DType::F32, outer * inner * c.size(), inner), in.get(),
                      out.get(), outer, inner);
      return out.read();
    };
    checks.compare(detail::concat("reduce-scatter ", outer, "x", inner), ranks, scatter, tolerance);
    int64_t count = outer * inner;
    checks.compare(detail::concat("all-to-all, permute, broadcast ", count), ranks, [=](Device &d, Communicator &c) {
      Bytes mine = someData(DType::F32, count * c.size(), static_cast<unsigned>(c.rank()));
      Array in(d, mine), out(d, Bytes(mine.size())), sent(d, mine), place(d, mine), root(d, mine);
      c.allToAll(call(CollectiveKind::AllToAll, DType::F32, count * c.size()), in.get(), out.get(), count);
      c.permute(call(CollectiveKind::Permute, DType::F32, count, 1), in.get(), sent.get(), count, 1);
      c.permute(call(CollectiveKind::Permute, DType::F32, count, -1), place.get(), place.get(), count, -1);
      c.broadcast(call(CollectiveKind::Broadcast, DType::F32, count, c.size() - 1), root.get(), count, c.size() - 1);
      return out.read() + sent.read() + place.read() + root.read();
    });
  }
  for (int64_t bits : {8, 4, 3})
    for (auto [channels, rows] : {std::pair<int64_t, int64_t>{96, 3}, {1100, 2}, {2049, 400}}) {
      WireFormat wire{channels, bits, bits == 3 ? 16 : 32, {0, 33, channels - 1}};
      checks.compare(detail::concat("all-reduce in ", bits, " bits, ", rows, "x", channels), ranks,
                     [&](Device &d, Communicator &c) {
                       Bytes mine = someData(DType::F32, rows * channels, static_cast<unsigned>(c.rank()));
                       float special[] = {INFINITY, NAN, 1e-20f, 2e6f};
                       std::memcpy(mine.data() + 4 * 40, special, c.rank() == 0 ? sizeof special : 0);
                       Array data(d, mine), error(d, Bytes(mine.size()));
                       CollectiveCall what =
                           call(CollectiveKind::QuantizedAllReduce, DType::F32, rows * channels, bits);
                       for (int turn = 0; turn < 3; ++turn)
                         c.quantizedAllReduce(what, wire, static_cast<float *>(data.get()),
                                              static_cast<float *>(error.get()), rows);
                       return data.read() + error.read();
                     });
    }
}

/// Row-major, transposed, strided and broadcast operands, as attention has them.
void checkProducts(Checks &checks) {
  struct Case {
    const char *name;
    DType dtype;
    int64_t batch, m, n, k, aBatch, aRow, aCol, bBatch, bRow, bCol, cBatch, cRow;
  };
  for (const Case &p : {
           Case{"plain", DType::F32, 1, 33, 17, 65, 0, 65, 1, 0, 17, 1, 0, 17},
           Case{"transposed", DType::F32, 1, 33, 17, 65, 0, 1, 33, 0, 1, 65, 0, 17},
           Case{"one row", DType::F32, 1, 1, 300, 128, 0, 128, 1, 0, 1, 128, 0, 300},
           Case{"heads", DType::F32, 6, 10, 11, 16, 16, 96, 1, 16, 1, 96, 110, 11},
           Case{"shared heads", DType::F32, 4, 10, 16, 11, 110, 11, 1, 0, 16, 1, 160, 16},
           Case{"wide rows of c", DType::F32, 3, 5, 4, 7, 35, 7, 1, 28, 4, 1, 4, 12},
           Case{"any strides", DType::F32, 2, 5, 4, 7, 100, 14, 2, 100, 9, 2, 40, 8},
           Case{"reversed", DType::F32, 1, 5, 4, 7, 0, 2, 3, 0, 2, 5, 0, 4},
           Case{"nothing to sum", DType::F32, 1, 5, 4, 0, 0, 1, 1, 0, 4, 1, 0, 4},
           Case{"odd place", DType::F32, 2, 8, 8, 8, 65, 8, 1, 67, 8, 1, 71, 8},
           Case{"i64", DType::I64, 2, 3, 4, 5, 15, 5, 1, 20, 4, 1, 12, 4},
       })
    for (float beta : {0.0f, 0.5f})
      checks.compare(
          detail::concat("product, ", p.name, ", beta ", beta), 1,
          [&](Device &d, Communicator &) {
            Array a(d, someData(p.dtype, 4000, 1)), b(d, someData(p.dtype, 40000, 2)), c(d, someData(p.dtype, 4000, 3));
            bool whole = p.dtype != DType::F32;
            d.matmul({p.dtype, p.batch, p.m, p.n, p.k, a.get(), p.aBatch, p.aRow, p.aCol, b.get(), p.bBatch, p.bRow,
                      p.bCol, c.get(), p.cBatch, p.cRow, whole ? 1.0f : 0.25f, whole && beta != 0 ? 1.0f : beta});
            d.synchronize();
            return c.read();
          },
          p.dtype == DType::F32 ? 2e-6 : 0);
  struct Types {
    DType weight, x, y;
    double tolerance; // of fp32 results the last bits, which tensor cores cut off sums of fp16, else a unit of the type
  };
  for (auto [dtype, xType, yType, tolerance] : {Types{DType::F32, DType::F32, DType::F32, 5e-6},
                                                {DType::BF16, DType::F32, DType::F32, 5e-6},
                                                {DType::BF16, DType::BF16, DType::F32, 5e-6},
                                                {DType::BF16, DType::BF16, DType::BF16, 8e-3},
                                                {DType::F16, DType::F32, DType::F32, 1e-3},
                                                {DType::F16, DType::F16, DType::F32, 2e-5},
                                                {DType::F16, DType::F16, DType::F16, 1e-3}})
    for (bool transposed : {false, true})
      for (auto [k, n] : {std::pair{96, 40}, std::pair{1000, 33}, std::pair{4104, 17}})
        checks.compare(
            detail::concat("product of ", nameOf(xType), " rows with a weight [", k, ", ", n, "] of ", nameOf(dtype),
                           " to ", nameOf(yType), transposed ? ", transposed" : ""),
            1,
            [=](Device &d, Communicator &) {
              constexpr int64_t most = 17;
              ParameterSpec spec{"w", dtype, transposed ? Shape{n, k} : Shape{k, n}, true, transposed, {}};
              Bytes weight = someData(dtype, n * k, 1), results;
              HostParameter given{&spec, weight.data(), weight.size(), {}};
              d.load({&given, 1});
              Array x(d, someData(xType, most * k, 2));
              for (int64_t m : {1, 5, 8, 9, 16, 17}) {
                Array y(d, someData(yType, m * n, 3));
                for (bool accumulate : {false, true})
                  d.linear(0, x.get(), xType, m, y.get(), yType, accumulate);
                d.synchronize();
                Bytes narrow = y.read();
                Tensor wide = converted(Tensor::view(yType, {m, n}, narrow.data()), DType::F32);
                results = results + Bytes(wide.data.get(), wide.data.get() + wide.bytes());
              }
              return results;
            },
            tolerance);
}

Bytes asFloats(Bytes data, DType type) {
  Tensor narrow = Tensor::view(type, {static_cast<int64_t>(data.size() / sizeOf(type))}, data.data());
  Tensor wide = converted(narrow, DType::F32);
  return {wide.data.get(), wide.data.get() + wide.bytes()};
}

/// Against the CPU's plain loops, with the kernel's rounding to 16 bits as tolerance.
void checkAttention(Checks &checks) {
  struct Case {
    const char *name;
    int64_t batch, tokens, past, kvHeads, group, size, valueSize;
    struct Options {
      bool causal = true;
      int64_t left = -1, right = -1;
      float softcap = 0, scale = 0.04f;
      int mask = 0;    // how many of its dimensions are not repeated, from the last one on
      int lengths = 0; // 1: i64, of a cache that others fill; 2: i32, appended by row
      DType via = DType::BF16, query = DType::F32, keys = DType::BF16, out = DType::F32;
      int64_t room = 0, gap = 0; // behind the keys, between rows
    } with = {};
  };
  for (const Case &p : {
           Case{"one tile", 1, 20, 0, 1, 1, 64, 64},
           Case{"several tiles", 1, 150, 0, 1, 2, 64, 64, {.keys = DType::F32}},
           Case{"a cache", 2, 70, 45, 2, 3, 128, 128, {.query = DType::BF16, .out = DType::BF16, .room = 9}},
           Case{"all keys", 1, 70, 90, 1, 1, 80, 80, {.causal = false, .via = DType::F16, .keys = DType::F16}},
           Case{"in f16",
                1,
                70,
                3,
                1,
                1,
                96,
                96,
                {.via = DType::F16, .query = DType::F16, .keys = DType::F16, .out = DType::F16}},
           Case{"heads of two sizes", 1, 70, 0, 2, 1, 192, 128, {.keys = DType::F32}},
           Case{"heads of 256", 1, 70, 10, 1, 2, 256, 256},
           Case{"odd heads", 1, 70, 10, 2, 2, 18, 23, {.query = DType::BF16, .out = DType::BF16}},
           Case{"odd rows", 1, 70, 10, 2, 2, 64, 64, {.query = DType::BF16, .out = DType::BF16, .gap = 3}},
           Case{"odd f32 heads", 1, 70, 10, 1, 2, 30, 30, {.keys = DType::F32, .gap = 1}},
           Case{"a window", 1, 150, 200, 1, 2, 64, 64, {.left = 40}},
           Case{"a window on both sides", 1, 150, 0, 1, 2, 64, 64, {.causal = false, .left = 30, .right = 20}},
           Case{"a soft cap", 1, 70, 20, 2, 1, 64, 64, {.softcap = 2}},
           Case{"a negative scale", 1, 70, 20, 2, 1, 64, 64, {.scale = -0.03f}},
           Case{"a mask", 2, 70, 20, 2, 2, 64, 64, {.mask = 4}},
           Case{"a mask of tokens and keys", 2, 70, 20, 2, 2, 64, 64, {.causal = false, .softcap = 3, .mask = 2}},
           Case{"a mask of keys", 2, 70, 20, 2, 2, 64, 64, {.causal = false, .mask = 1}},
           Case{"lengths", 3, 40, 60, 1, 2, 64, 64, {.lengths = 1}},
           Case{"lengths, all keys", 3, 40, 60, 1, 2, 64, 64, {.causal = false, .lengths = 1}},
           Case{"appended by row", 3, 40, 60, 1, 2, 64, 64, {.lengths = 2}},
           Case{"a window, appended by row", 3, 40, 60, 1, 2, 64, 64, {.left = 20, .lengths = 2}},
       })
    checks.compare(
        detail::concat("attention, ", p.name), 1,
        [&](Device &d, Communicator &) {
          int64_t heads = p.kvHeads * p.group, total = p.tokens + p.past, room = total + p.with.room;
          int64_t pitch = p.size + p.with.gap, valuePitch = p.valueSize + p.with.gap;
          auto array = [&](DType type, int64_t count, unsigned seed) { return Array(d, someData(type, count, seed)); };
          Array query = array(p.with.query, p.batch * p.tokens * heads * pitch, 1);
          Array keys = array(p.with.keys, p.batch * p.kvHeads * room * pitch, 2);
          Array values = array(p.with.keys, p.batch * p.kvHeads * room * valuePitch, 3);
          Array out = array(p.with.out, p.batch * p.tokens * heads * valuePitch, 4);
          Attention a{};
          a.via = p.with.via;
          a.queryType = p.with.query;
          a.keyType = p.with.keys;
          a.outType = p.with.out;
          a.batch = p.batch;
          a.tokens = p.tokens;
          a.total = total;
          a.past = p.past;
          a.heads = heads;
          a.kvHeads = p.kvHeads;
          a.size = p.size;
          a.valueSize = p.valueSize;
          a.left = p.with.left;
          a.right = p.with.right;
          a.causal = p.with.causal;
          a.appendsByRow = p.with.lengths == 2;
          a.query = query.get();
          a.keys = keys.get();
          a.values = values.get();
          a.out = out.get();
          a.queryBatch = p.tokens * heads * pitch;
          a.queryToken = heads * pitch;
          a.queryHead = pitch;
          a.keyBatch = p.kvHeads * room * pitch;
          a.keyHead = room * pitch;
          a.keyToken = pitch;
          a.valueBatch = p.kvHeads * room * valuePitch;
          a.valueHead = room * valuePitch;
          a.valueToken = valuePitch;
          a.outBatch = p.tokens * heads * valuePitch;
          a.outToken = heads * valuePitch;
          a.outHead = valuePitch;
          a.scale = p.with.scale;
          a.softcap = p.with.softcap;

          // A row of the mask is all -inf, and one all very small numbers.
          std::vector<float> numbers(static_cast<size_t>(p.batch * heads * p.tokens * total));
          std::mt19937 random(5);
          for (float &x : numbers)
            x = random() % 3 ? static_cast<float>(random() % 100) / 50 - 1 : -INFINITY;
          std::fill_n(numbers.begin() + 5 * total, p.with.mask > 1 ? total : 0, -INFINITY);
          std::fill_n(numbers.begin() + 7 * total, p.with.mask > 1 ? total : 0, -3.4e38f);
          Array mask(d, numbers);
          a.mask = p.with.mask ? static_cast<const float *>(mask.get()) : nullptr;
          a.maskKey = p.with.mask > 0 ? 1 : 0;
          a.maskToken = p.with.mask > 1 ? total : 0;
          a.maskHead = p.with.mask > 2 ? total * p.tokens : 0;
          a.maskBatch = p.with.mask > 3 ? total * p.tokens * heads : 0;

          std::vector<int64_t> lengths = {total, p.tokens + 3, p.tokens / 2};
          std::vector<int32_t> narrow(lengths.begin(), lengths.end());
          Array wideLengths(d, lengths), narrowLengths(d, narrow);
          a.lengths = p.with.lengths == 0 ? nullptr : p.with.lengths == 1 ? wideLengths.get() : narrowLengths.get();
          a.lengthType = p.with.lengths == 1 ? DType::I64 : DType::I32;
          d.attention(a);
          return asFloats(out.read(), p.with.out);
        },
        2e-2);
}

void checkMemory(Checks &checks) {
  checks.compare("copies", 1, [](Device &d, Communicator &) {
    Bytes data = someData(DType::F32, 3'000'000, 1);
    Array from(d, data), to(d, Bytes(data.size()));
    d.copy(to.get(), from.get(), data.size());
    d.copy(static_cast<std::byte *>(to.get()) + 100, to.get(), 1'000'000); // overlaps
    d.storeElement(to.get(), DType::I64, -5);
    int64_t read = d.loadElement(to.get(), DType::I64);
    int64_t small = d.loadElement(from.get(), DType::Bool);
    Bytes numbers(16);
    std::memcpy(numbers.data(), &read, 8);
    std::memcpy(numbers.data() + 8, &small, 8);
    return to.read() + numbers;
  });
  checks.compare("best logits", 1, [](Device &d, Communicator &) {
    constexpr int64_t rows = 5, pitch = 3 * 1000;
    Bytes logits = someData(DType::F32, rows * pitch, 4);
    auto *x = reinterpret_cast<float *>(logits.data());
    for (int64_t i : {7, 300, 601}) // equal ones, in several parts
      x[pitch + i] = 50;
    x[2 * pitch + 11] = NAN;
    x[3 * pitch + 900] = INFINITY;
    std::fill_n(x + 4 * pitch, 1000, -INFINITY);
    Array array(d, logits);
    std::vector<ShardRun> runs = {{5000, 0, 400}, {100, 500, 499}};
    std::vector<Candidate> found = d.best(static_cast<float *>(array.get()), rows, pitch, runs);
    Bytes result(found.size() * sizeof(Candidate));
    for (Candidate &candidate : found)
      if (candidate.notFinite)
        candidate = noCandidate;
    std::memcpy(result.data(), found.data(), result.size());
    return result;
  });
  checks.compare("new memory is zero", 1, [](Device &d, Communicator &) {
    Bytes result;
    for (size_t bytes : {size_t{1}, size_t{100'000}}) {
      std::shared_ptr<std::byte> memory = d.allocate(bytes, "zeros");
      Bytes read(bytes, std::byte{1});
      d.download(read.data(), memory.get(), bytes);
      result = result + read;
    }
    return result;
  });
}

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

void measure(const Program &program) {
  auto say = [](const std::string &name, double value, const char *unit) {
    std::cout << "time    " << name << ": " << std::fixed << std::setprecision(2) << value << ' ' << unit << std::endl;
  };
  gpuSide(program, 1).run([&](Device &d, Communicator &) {
    constexpr int64_t size = 4096;
    Array a(d, Bytes(size * size * 4)), b(d, Bytes(size * size * 4)), c(d, Bytes(size * size * 4));
    say("a copy of 4 bytes", 1e6 * secondsOf(d, 1000, [&] { d.copy(c.get(), a.get(), 4); }), "us");
    double copied = secondsOf(d, 20, [&] { d.copy(c.get(), a.get(), size * size * 4); });
    say("copies on the device", 2e-9 * size * size * 4 / copied, "GB/s");
    Bytes host(size * size * 4);
    say("uploads", 1e-9 * size * size * 4 / secondsOf(d, 3, [&] { d.upload(c.get(), host.data(), host.size()); }),
        "GB/s");
    say("downloads", 1e-9 * size * size * 4 / secondsOf(d, 3, [&] { d.download(host.data(), c.get(), host.size()); }),
        "GB/s");
    for (int64_t m : {int64_t{1}, int64_t{16}, size}) {
      MatMul p{DType::F32, 1, m, size, size, a.get(), 0, size, 1, b.get(), 0, 1, size, c.get(), 0, size, 1, 0};
      double seconds = secondsOf(d, 20, [&] { d.matmul(p); });
      say(detail::concat("product ", m, "x4096x4096 f32"), 1e6 * seconds, "us");
      say("  that is", 2e-12 * static_cast<double>(m) * size * size / seconds, "TFLOP/s");
    }
    for (int64_t tokens : {512, 2048, 8192}) {
      constexpr int64_t heads = 32, kvHeads = 8, head = 128;
      auto bytes = static_cast<size_t>(tokens * heads * head * 2);
      Array query(d, Bytes(bytes)), keys(d, Bytes(bytes)), values(d, Bytes(bytes)), out(d, Bytes(bytes));
      Attention p{};
      p.via = p.queryType = p.keyType = p.outType = DType::BF16;
      p.batch = 1;
      p.tokens = p.total = tokens;
      p.heads = heads;
      p.kvHeads = kvHeads;
      p.size = p.valueSize = head;
      p.left = p.right = -1;
      p.causal = true;
      p.query = query.get();
      p.keys = keys.get();
      p.values = values.get();
      p.out = out.get();
      p.queryToken = p.outToken = heads * head;
      p.queryHead = p.outHead = p.keyToken = p.valueToken = head;
      p.keyHead = p.valueHead = tokens * head;
      p.scale = 0.1f;
      double seconds = secondsOf(d, 20, [&] { d.attention(p); });
      say(detail::concat("attention of ", tokens, " tokens, 32 heads of 128, causal, bf16"), 1e6 * seconds, "us");
      say("  that is", 2e-12 * static_cast<double>(tokens) * tokens * heads * head / seconds, "TFLOP/s");
    }
    return Bytes();
  });
  for (int ranks : {2, 4})
    gpuSide(program, ranks).run([&](Device &d, Communicator &c) {
      for (int64_t count : {int64_t{4096}, int64_t{1} << 22}) {
        Array data(d, Bytes(static_cast<size_t>(count) * 4));
        double seconds =
            secondsOf(d, 50, [&] { c.allReduce(call(CollectiveKind::AllReduce, DType::F32, count), data.get()); });
        if (c.rank() == 0)
          say(detail::concat("all-reduce of ", count, " f32, ", ranks, " ranks on one device"), 1e6 * seconds, "us");
      }
      return Bytes();
    });
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    std::cerr << "usage: caat-test-device PROGRAM [--times]\n";
    return 2;
  }
  try {
    Program program(argv[1]);
    int devices = 0;
    bool times = false;
    for (std::string_view option : std::span(argv + 2, static_cast<size_t>(argc - 2))) {
      times = times || option == "--times";
      if (option.starts_with("--devices="))
        devices = std::atoi(option.data() + std::strlen("--devices="));
    }
    Checks checks(program, devices > 0);
    if (devices > 0)
      setenv("CAAT_CUDA_NCCL", "1", 1);
    if (devices == 0) {
      checkMemory(checks);
      checkProducts(checks);
      checkAttention(checks);
    }
    for (int ranks = 1; ranks <= (devices > 0 ? devices : 4); ++ranks)
      checkCollectives(checks, ranks);
    if (times)
      checks.report("times", [&] { measure(program); });
    return checks.failed;
  } catch (const std::exception &e) {
    std::cerr << "caat-test-device: error: " << e.what() << '\n';
    return 1;
  }
}
