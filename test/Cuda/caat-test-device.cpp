// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compares what a GPU's device and communicators do with what the CPU's do: copies and exchanges to the bit, sums over
// ranks too, products closely. Usage: caat-test-device PROGRAM [--times] [--devices=COUNT] [--only=TEXT]
// [--without=TEXT], PROGRAM a program for the GPU (its kernels are not run), TEXT the beginning of the checks' names.
// Ranks share a device, or with --devices have one each; then sums over ranks are compared closely. Prints a line for
// each check; the exit code is 1 where one failed.
#include "DeviceChecks.h"

using namespace caat::runtime;
using namespace caat::test;

namespace {

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
  // Over memory that the ranks share, where they do: in rank order there, so to the bit. One after the other, so that
  // each way and size follows each.
  for (DType dtype : {DType::F32, DType::BF16, DType::F16})
    checks.compare(
        detail::concat("sums in all ways, ", nameOf(dtype)), ranks,
        [=](Device &d, Communicator &c) {
          Bytes results;
          for (int64_t count : {int64_t{1}, int64_t{1003}, int64_t{40'000}, int64_t{1003}, int64_t{262'144}})
            for (int way : {1, 2, 1, 1, 2, 2}) {
              Array data(d, someData(dtype, count, static_cast<unsigned>(c.rank() + 10 * way)));
              c.setSumWay(c.sumWays(count * static_cast<int64_t>(sizeOf(dtype))).size() > 1 ? way : -1);
              for (int turn = 0; turn < 2; ++turn)
                c.allReduce(call(CollectiveKind::AllReduce, dtype, count), data.get());
              Bytes got = data.read();
              results.insert(results.end(), got.begin(), got.end());
            }
          c.setSumWay(-1);
          return results;
        },
        tolerance > 0 ? tolerance * 10 : 0);
  // Two under way, of which one is large enough to go beside the work, and a collective meanwhile.
  checks.compare(
      "all-reduces that are started", ranks,
      [=](Device &d, Communicator &c) {
        auto rank = static_cast<unsigned>(c.rank());
        constexpr int64_t large = 100'003, small = 50;
        Array a(d, someData(DType::F32, large, rank)), b(d, someData(DType::F32, small, rank + 9));
        Array other(d, someData(DType::F32, 1000, rank + 5)), copy(d, Bytes(large * 4));
        auto sum = [](int64_t count) { return call(CollectiveKind::AllReduce, DType::F32, count); };
        for (int turn = 0; turn < 3; ++turn) {
          c.startAllReduce(sum(large), a.get());
          c.startAllReduce(sum(small), b.get());
          c.allReduce(sum(1000), other.get());
          c.finishAllReduce(sum(large), a.get());
          d.copy(copy.get(), a.get(), large * 4);
          c.finishAllReduce(sum(small), b.get());
        }
        return copy.read() + b.read() + other.read();
      },
      tolerance);
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
                  d.linear({0, x.get(), xType, m, y.get(), yType, accumulate});
                d.synchronize();
                Bytes narrow = y.read();
                Tensor wide = converted(Tensor::view(yType, {m, n}, narrow.data()), DType::F32);
                results = results + Bytes(wide.data.get(), wide.data.get() + wide.bytes());
              }
              return results;
            },
            tolerance);
}

/// Biases of both types and every activation, of few rows and of many, with a number of columns that 16 bytes hold
/// whole and with one that they do not. Rows are zero but for their first elements, so that sums are where activations
/// bend.
void checkEpilogues(Checks &checks) {
  struct Types {
    DType weight, x, y;
    double tolerance;
  };
  for (auto [dtype, xType, yType, tolerance] : {Types{DType::F32, DType::F32, DType::F32, 5e-6},
                                                {DType::BF16, DType::F32, DType::F32, 5e-6},
                                                {DType::BF16, DType::BF16, DType::BF16, 8e-3},
                                                {DType::F16, DType::F16, DType::F16, 1e-3}})
    for (int activation = CAAT_UNCHANGED; activation <= CAAT_SWISH; ++activation)
      for (int64_t n : {40, 33})
        checks.compare(
            detail::concat("epilogue ", activation, " of a product of ", nameOf(xType), " rows with a weight of ",
                           nameOf(dtype), " and ", n, " columns to ", nameOf(yType)),
            1,
            [=](Device &d, Communicator &) {
              constexpr int64_t k = 96, most = 17;
              ParameterSpec spec{"w", dtype, {n, k}, true, true, {}};
              Bytes weight = someData(dtype, n * k, 1), results;
              HostParameter given{&spec, weight.data(), weight.size(), {}};
              d.load({&given, 1});
              Bytes rows = someData(xType, most * k, 2);
              size_t size = sizeOf(xType);
              for (size_t row = 0; row < most; ++row)
                std::fill_n(rows.begin() + static_cast<std::ptrdiff_t>((row * k + 2) * size), (k - 2) * size,
                            std::byte());
              Array x(d, rows), wide(d, someData(DType::F32, n, 4)), own(d, someData(yType, n, 5));
              for (int64_t m : {1, 8, 9, 17}) {
                Array y(d, someData(yType, m * n, 3));
                for (auto [bias, type] :
                     {std::pair<void *, DType>{nullptr, DType::F32}, {wide.get(), DType::F32}, {own.get(), yType}})
                  for (bool accumulate : {false, true}) {
                    Epilogue epilogue{bias, type, static_cast<caat_activation>(activation),
                                      activation == CAAT_SWISH ? 1.702f : 1.0f};
                    d.linear({0, x.get(), xType, m, y.get(), yType, accumulate, epilogue});
                    d.synchronize();
                    Bytes narrow = y.read();
                    Tensor values = converted(Tensor::view(yType, {m, n}, narrow.data()), DType::F32);
                    results = results + Bytes(values.data.get(), values.data.get() + values.bytes());
                  }
              }
              return results;
            },
            tolerance);
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
  // The first steps behind a point at which the host waits are a graph of their own, which works while the host asks
  // for the rest.
  checks.compare("graphs of the first steps", 1, [](Device &d, Communicator &) {
    constexpr int steps = 40, runs = 5;
    Array data(d, someData(DType::F32, steps, 2));
    auto *first = static_cast<std::byte *>(data.get());
    for (int run = 0; run < runs; ++run) {
      d.beginRun();
      for (int part = 0; part < 2; ++part) {
        for (int i = 0; i < steps; ++i)
          d.storeElement(first + 4 * i, DType::I32, run * i + part);
        if (d.loadElement(first + 4, DType::I32) != run + part)
          failRun("a step is missing");
      }
    }
    if (!d.isHost() && d.graphs() != 4 * (runs - 2))
      failRun(d.graphs(), " graphs in ", runs, " runs, of which the first two are recorded");
    return data.read();
  });
  // What a graph holds back still needs memory that a later, larger step replaces.
  checks.compare("memory that grows behind steps of a graph", 1, [](Device &d, Communicator &) {
    Array data(d, someData(DType::F32, 5000, 3));
    auto *first = static_cast<std::byte *>(data.get());
    for (int run = 0; run < 4; ++run) {
      d.beginRun();
      for (int i = 0; i < 6; ++i)
        d.storeElement(first + 4 * i, DType::I32, run + i);
      d.copy(first + 8, first, 1000); // overlap: by way of other memory
      if (run == 3)
        d.copy(first + 80, first, 15'000);
      d.synchronize();
    }
    return data.read();
  });
  checks.compare("conditions", 1, [](Device &d, Communicator &) {
    Array array(d, Bytes{std::byte{1}, std::byte{0}, std::byte{0}});
    const auto *at = static_cast<const std::byte *>(array.get());
    auto firstFailed = [&](std::initializer_list<int64_t> numbers) {
      d.beginRun();
      std::optional<int64_t> failed;
      for (int64_t number : numbers)
        if (!d.check(at + number, number) && !failed)
          failed = number;
      d.synchronize();
      return std::byte(failed ? *failed : d.failedCheck().value_or(9));
    };
    return Bytes{firstFailed({0, 2, 1}), firstFailed({0}), firstFailed({0, 1, 2})};
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
    AskedCandidates asked = d.askBest(static_cast<float *>(array.get()), rows, pitch, runs, 1);
    d.synchronize();
    std::vector<Candidate> found = asked();
    Bytes result(found.size() * sizeof(Candidate));
    for (Candidate &candidate : found)
      if (candidate.notFinite)
        candidate = noCandidate;
    std::memcpy(result.data(), found.data(), result.size());
    return result;
  });
  for (int64_t count : {2, 50, 300, 1024})
    checks.compare("the best logits, " + std::to_string(count), 1, [count](Device &d, Communicator &) {
      constexpr int64_t rows = 5, pitch = 9 * 1000;
      Bytes logits = someData(DType::F32, rows * pitch, 4);
      auto *x = reinterpret_cast<float *>(logits.data());
      for (int64_t i = 0; i < pitch; ++i) { // many equal ones, zeros of both signs among them
        x[pitch + i] = static_cast<float>(i % 7);
        x[2 * pitch + i] = i % 2 ? 0.0f : -0.0f;
      }
      x[11] = NAN;
      x[3 * pitch + 900] = INFINITY;
      std::fill_n(x + 4 * pitch + 20, pitch - 20, -INFINITY);
      Array array(d, logits);
      std::vector<ShardRun> runs = {{50000, 0, 4000}, {100, 4500, 3499}};
      // Two, before either is read.
      AskedCandidates asked = d.askBest(static_cast<float *>(array.get()), rows, pitch, runs, count);
      AskedCandidates other = d.askBest(static_cast<float *>(array.get()) + pitch, 1, pitch, runs, count);
      d.synchronize();
      std::vector<Candidate> found = asked(), second = other();
      found.insert(found.end(), second.begin(), second.end());
      for (Candidate &candidate : found)
        candidate.logit += 0.0f;
      Bytes result(found.size() * sizeof(Candidate));
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

void measure(const Program &program) {
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
    return Bytes();
  });
  measureAttention(program);
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
    std::cerr << "usage: caat-test-device PROGRAM [--times] [--devices=COUNT] [--only=TEXT] [--without=TEXT]\n";
    return 2;
  }
  try {
    Program program(argv[1]);
    int devices = 0;
    bool times = false;
    std::string only, without;
    for (std::string_view option : std::span(argv + 2, static_cast<size_t>(argc - 2))) {
      times = times || option == "--times";
      if (option.starts_with("--devices="))
        devices = std::atoi(option.data() + std::strlen("--devices="));
      if (option.starts_with("--only="))
        only = option.substr(std::strlen("--only="));
      if (option.starts_with("--without="))
        without = option.substr(std::strlen("--without="));
    }
    Checks checks(program, devices > 0, only, without);
    if (devices > 0)
      setenv("CAAT_CUDA_NCCL", "1", 1);
    if (devices == 0) {
      checkMemory(checks);
      checkProducts(checks);
      checkEpilogues(checks);
      checkGates(checks);
      checkAttention(checks);
      checkBlocks(checks);
      checkGatedRows(checks);
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
