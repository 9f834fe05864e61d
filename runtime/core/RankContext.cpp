// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RankContext.h"
#include "Nvtx.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace caat::runtime {

/// Adds the time of the device's work during its life to one or two sums, and to the trace as an event. A profiler is
/// told too.
class RankContext::Timer {
public:
  Timer(RankContext &context, double &sum, Trace::Event event, double *also = nullptr)
      : context(context), range(event.row, event.kind, event.name),
        stretch{event, context.device.now(), {}, {&sum, also, nullptr}} {}
  /// It was something else.
  void cancel() { isCancelled = true; }
  ~Timer() {
    if (isCancelled)
      return;
    stretch.end = context.device.now();
    if (stretch.event.kind == "product")
      context.lastProduct = {stretch.isKnown() ? seconds(stretch.begin.time, stretch.end.time) : 0,
                             stretch.isKnown() ? std::nullopt : std::optional(context.open.size())};
    context.add(stretch);
  }

private:
  static double seconds(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
  }
  RankContext &context;
  ProfilerRange range;
  Stretch stretch;
  bool isCancelled = false;
};

void RankContext::add(Stretch &stretch) {
  if (stretch.isKnown())
    count(stretch);
  else
    open.push_back(stretch); // until the times are known
}

void RankContext::count(Stretch &stretch) {
  Interval &time = stretch.event.time;
  time = {device.timeOf(stretch.begin), device.timeOf(stretch.end)};
  for (double *sum : stretch.sums)
    if (sum)
      *sum += std::chrono::duration<double>(time.end - time.begin).count();
  if (stretch.hidden) {
    auto begin = std::max(time.begin, device.timeOf(stretch.workBegin));
    auto end = std::min(time.end, device.timeOf(stretch.workEnd));
    *stretch.hidden += std::max(0.0, std::chrono::duration<double>(end - begin).count());
  }
  if (trace)
    trace->add(stretch.event);
}

StopRank StopRank::fromEnvironment() {
  StopRank stop;
  const char *value = std::getenv("CAAT_TEST_STOP_RANK");
  const char *at = value ? std::strchr(value, '@') : nullptr;
  if (!value)
    return stop;
  if (!at || std::from_chars(value, at, stop.rank).ptr != at)
    failInput("CAAT_TEST_STOP_RANK='", value, "' is not RANK@COLLECTIVE");
  stop.collective = at + 1;
  if (size_t number = stop.collective.find('#'); number != std::string::npos) {
    stop.turns = std::atoi(stop.collective.c_str() + number + 1);
    stop.collective.resize(number);
  }
  return stop;
}

RankContext::RankContext(const Program &program, Communicator &communicator, Device &device, Trace::Track *trace)
    : sites(program.manifest(), communicator, device), program(program), communicator(communicator), device(device),
      trace(trace), stop(StopRank::fromEnvironment()) {
  if (!program.manifest().rotations.empty())
    rings = std::make_unique<Rings>(program.manifest(), device, communicator);
  profile.collectives.resize(program.manifest().collectives.size());
  profile.rotations.resize(program.manifest().rotations.size());
}

void RankContext::fail(const std::string &text) {
  if (!error.empty())
    return;
  error = text.empty() ? "unknown error" : text;
  communicator.abort(error);
}

void RankContext::begin() {
  error.clear();
  open.clear();
  turned.clear();
  started.clear();
  lastProduct = {};
  device.beginRun();
}

void RankContext::finish() {
  if (!error.empty())
    failRun(error);
  try {
    device.synchronize();
  } catch (const Error &) {
    communicator.checkAborted(); // which may be why
    throw;
  }
  communicator.checkAborted();
  for (Stretch &stretch : open)
    count(stretch);
  open.clear();
  if (rings)
    rings->finishRun();
}

const CollectiveSpec &RankContext::collective(int64_t index, CollectiveKind kind) {
  const auto &all = program.manifest().collectives;
  if (index < 0 || static_cast<size_t>(index) >= all.size())
    failRun("the code calls collective ", index, ", the manifest has ", all.size());
  const CollectiveSpec &spec = all[static_cast<size_t>(index)];
  if (spec.kind != kind)
    failRun("the code calls collective ", index, " ('", spec.name, "') as ", nameOf(kind), ", the manifest says ",
            nameOf(spec.kind));
  return spec;
}

void RankContext::stopWhereAsked(const std::string &name) {
  if (communicator.rank() == stop.rank && name == stop.collective && --stop.turns <= 0)
    while (!communicator.aborted())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

std::string_view RankContext::groupOf(size_t parameter) const {
  const Manifest &manifest = program.manifest();
  std::optional<size_t> rotation = manifest.parameters[parameter].rotation;
  return rotation ? std::string_view(manifest.rotations[*rotation].name) : std::string_view();
}

RankContext::Rotation RankContext::rotation(int64_t number) {
  const auto &rotations = program.manifest().rotations;
  if (number < 0 || static_cast<size_t>(number) >= rotations.size())
    failRun("the code turns rotation ", number, ", the manifest has ", rotations.size());
  auto group = static_cast<size_t>(number);
  // Numbered below the runtime's own calls.
  return {group,
          {-2 - number, rotations[group].name.c_str(), CollectiveKind::Permute, DType::UI8,
           static_cast<int64_t>(rings->bytes(group)), 1},
          profile.rotations[group]};
}

void RankContext::beginRotation(const Rotation &rotation) {
  stopWhereAsked(rotation.call.name);
  ++rotation.stats.calls;
  rotation.stats.bytes += rotation.call.count;
}

/// Of a rotation that was started, the start and the wait are the rank's work, and the transfer goes on beside it.
void RankContext::startRotation(int64_t number) {
  Rotation turn = rotation(number);
  beginRotation(turn);
  {
    Timer timer(*this, turn.stats.seconds, {Trace::Row::Compute, "start", turn.call.name, {}, {}},
                &profile.communication);
    rings->start(turn.group, turn.call);
  }
  turned.push_back(device.now());
}

void RankContext::finishRotation(int64_t number) {
  Rotation turn = rotation(number);
  if (turned.empty())
    failRun("'", turn.call.name, "' is waited for, but was not turned");
  Stretch transfer{{Trace::Row::Transfer, "permute", turn.call.name, {}, {}, turn.call.count}, {}, {}, {}};
  transfer.workBegin = turned.front();
  transfer.workEnd = device.now();
  transfer.hidden = &turn.stats.hidden;
  turned.pop_front();
  {
    Timer timer(*this, turn.stats.seconds, {Trace::Row::Compute, "wait", turn.call.name, {}, {}},
                &profile.communication);
    auto [begin, end] = rings->finish(turn.group, turn.call);
    transfer.begin = begin;
    transfer.end = end;
  }
  add(transfer);
}

void RankContext::rotateInPlace(int64_t number) {
  Rotation turn = rotation(number);
  beginRotation(turn);
  Timer timer(*this, turn.stats.seconds,
              {Trace::Row::Communication, "permute", turn.call.name, {}, {}, turn.call.count}, &profile.communication);
  rings->rotateInPlace(turn.group, turn.call);
}

/// Times and counts a collective, and stops there where a test asks for it.
template <typename F>
void RankContext::exchange(int64_t index, CollectiveKind kind, int64_t count, int64_t extra, F &&run) {
  const CollectiveSpec &spec = collective(index, kind);
  exchange(spec, index, count, count * static_cast<int64_t>(sizeOf(spec.dtype)), extra, run);
}

CollectiveStats &RankContext::beginExchange(const CollectiveSpec &spec, int64_t index, int64_t count) {
  if (count < 0)
    failRun(nameOf(spec.kind), " '", spec.name, "' of ", count, " elements");
  stopWhereAsked(spec.name);
  CollectiveStats &stats = profile.collectives[static_cast<size_t>(index)];
  stats.product += lastProduct.seconds;
  if (lastProduct.open)
    open[*lastProduct.open].sums[2] = &stats.product;
  lastProduct = {};
  return stats;
}

/// Of a sum that was started, the start and the wait are the rank's work, and the sum itself is what goes on beside it.
void RankContext::startSum(int64_t index, void *data, int64_t count, bool leaves) {
  const CollectiveSpec &spec = collective(index, CollectiveKind::AllReduce);
  StartedSum sum{{index, spec.name.c_str(), spec.kind, spec.dtype, count, 0}, data};
  if (count == 0) { // a part without rows
    started.push_back(sum);
    return;
  }
  CollectiveStats &stats = beginExchange(spec, index, count);
  sum.isLeft = leaves || communicator.leavesToKernel(sum.call, data);
  if (!sum.isLeft) {
    Timer timer(*this, stats.seconds, {Trace::Row::Compute, "start", spec.name, {}, {}}, &profile.communication);
    communicator.startAllReduce(sum.call, data);
  }
  sum.work = device.now();
  started.push_back(sum);
  ++stats.calls;
  stats.bytes += sum.bytes();
}

/// Waits for the sum that was started first.
void RankContext::finishSum() {
  if (started.empty())
    failRun("the code waits for a sum that was not started");
  StartedSum sum = started.front();
  started.pop_front();
  if (sum.call.count == 0)
    return;
  CollectiveStats &stats = profile.collectives[static_cast<size_t>(sum.call.index)];
  Trace::Event event{Trace::Row::Communication, nameOf(sum.call.kind), sum.call.name, {}, {}, sum.bytes()};
  if (sum.isLeft) {
    Timer timer(*this, stats.seconds, event, &profile.communication);
    communicator.allReduce(sum.call, sum.data);
    return;
  }
  Stretch stretch{event, {}, {}, {}};
  stretch.workBegin = sum.work;
  stretch.workEnd = device.now();
  stretch.hidden = &stats.hidden;
  {
    Timer timer(*this, stats.seconds, {Trace::Row::Compute, "wait", sum.call.name, {}, {}}, &profile.communication);
    auto [begin, end] = communicator.finishAllReduce(sum.call, sum.data);
    stretch.begin = begin;
    stretch.end = end;
  }
  add(stretch);
}

KernelLaunch RankContext::kernelLaunch(int64_t kernel, int64_t grid, void *buffers, int64_t numBuffers, void *dims,
                                       int64_t numDims) const {
  const auto &kernels = program.manifest().kernels;
  if (kernel < 0 || static_cast<size_t>(kernel) >= kernels.size())
    failRun("the code launches kernel ", kernel, ", the manifest has ", kernels.size());
  return {static_cast<size_t>(kernel),
          grid,
          {static_cast<void *const *>(buffers), static_cast<size_t>(numBuffers)},
          {static_cast<const int64_t *>(dims), static_cast<size_t>(numDims)}};
}

void RankContext::launch(const KernelLaunch &launch) {
  if (launch.rows <= 0)
    return;
  Timer timer(*this, profile.kernels,
              {Trace::Row::Compute, "kernel", program.manifest().kernels[launch.kernel], {}, {}});
  device.launch(launch);
}

/// The time of a kernel that begins with a sum is the sum's: it is mostly waiting for the other ranks.
void RankContext::launchBehindSums(int64_t sums, const KernelLaunch &kernel, size_t summing) {
  auto isEmpty = [](const StartedSum &sum) { return sum.call.count == 0; };
  auto last = started.begin() + std::min<std::ptrdiff_t>(sums, std::ssize(started));
  auto first = std::find_if_not(started.begin(), last, isEmpty);
  if (first != last && first->isLeft && kernel.rows > 0 && std::all_of(first + 1, last, isEmpty)) {
    KernelLaunch both = kernel;
    both.kernel = summing;
    Timer timer(*this, profile.collectives[static_cast<size_t>(first->call.index)].seconds,
                {Trace::Row::Communication,
                 nameOf(first->call.kind),
                 first->call.name,
                 program.manifest().kernels[summing],
                 {},
                 first->bytes()},
                &profile.communication);
    if (communicator.sumInKernel(first->call, first->data, both)) {
      started.erase(started.begin(), last);
      return;
    }
    timer.cancel();
  }
  for (int64_t i = 0; i < sums; ++i)
    finishSum();
  launch(kernel);
}

template <typename F>
void RankContext::exchange(const CollectiveSpec &spec, int64_t index, int64_t count, int64_t bytes, int64_t extra,
                           F &&run) {
  CollectiveStats &stats = beginExchange(spec, index, count);
  {
    Timer timer(*this, stats.seconds, {Trace::Row::Communication, nameOf(spec.kind), spec.name, {}, {}, bytes},
                &profile.communication);
    run(CollectiveCall{index, spec.name.c_str(), spec.kind, spec.dtype, count, extra});
  }
  ++stats.calls;
  stats.bytes += bytes;
}

/// The functions of the api table. Each is a step of the program that does nothing after an error.
struct Api {
  template <typename F> static void step(void *ctx, F &&run) {
    auto &context = *static_cast<RankContext *>(ctx);
    if (!context.error.empty() || context.sites.isSkipping())
      return;
    guarded(context, run);
  }

  /// Errors of a step end the run; none may reach the compiled code.
  template <typename F> static void guarded(RankContext &context, F &&run) {
    try {
      run(context);
    } catch (const std::exception &e) {
      context.fail(e.what());
    } catch (...) {
      context.fail("unknown error");
    }
  }

  static void launch(void *ctx, int64_t kernel, int64_t grid, void *buffers, int64_t numBuffers, void *dims,
                     int64_t numDims) {
    step(ctx, [&](RankContext &c) { c.launch(c.kernelLaunch(kernel, grid, buffers, numBuffers, dims, numDims)); });
  }

  static void launch_behind_sums(void *ctx, int64_t sums, int64_t kernel, int64_t summing, int64_t grid, void *buffers,
                                 int64_t numBuffers, void *dims, int64_t numDims) {
    step(ctx, [&](RankContext &c) {
      size_t both = c.kernelLaunch(summing, grid, buffers, numBuffers, dims, numDims).kernel;
      c.launchBehindSums(sums, c.kernelLaunch(kernel, grid, buffers, numBuffers, dims, numDims), both);
    });
  }

  static void linear(void *ctx, int64_t parameter, void *x, int64_t m, void *y, int64_t accumulate) {
    linear_as(ctx, parameter, x, CAAT_F32, m, y, CAAT_F32, accumulate);
  }

  static void linear_as(void *ctx, int64_t parameter, void *x, int64_t xType, int64_t m, void *y, int64_t yType,
                        int64_t accumulate) {
    linear_then(ctx, parameter, x, xType, m, y, yType, accumulate, nullptr, CAAT_F32, CAAT_UNCHANGED, 1);
  }

  static void linear_then(void *ctx, int64_t parameter, void *x, int64_t xType, int64_t m, void *y, int64_t yType,
                          int64_t accumulate, void *bias, int64_t biasType, int64_t activation, float alpha) {
    step(ctx, [&](RankContext &c) {
      const auto &parameters = c.program.manifest().parameters;
      if (parameter < 0 || static_cast<size_t>(parameter) >= parameters.size() ||
          !parameters[static_cast<size_t>(parameter)].linear)
        failRun("the code multiplies with parameter ", parameter, ", which is no linear parameter of the manifest");
      if (m < 0)
        failRun("product with ", m, " rows");
      for (DType type : {elementType(xType), elementType(yType)})
        if (!isConvertible(type))
          failRun("products of ", nameOf(type), " activations with weights are not supported");
      auto index = static_cast<size_t>(parameter);
      std::optional<size_t> rotation = parameters[index].rotation;
      RankContext::Timer timer(c, c.profile.linear,
                               {Trace::Row::Compute, "product", parameters[index].name, c.groupOf(index), {}},
                               rotation ? &c.profile.rotations[*rotation].product : nullptr);
      Epilogue epilogue{bias, elementType(biasType), static_cast<caat_activation>(activation), alpha};
      if (activation < CAAT_UNCHANGED || activation > CAAT_SWISH)
        failRun("product with activation ", activation, ", which this runtime does not know");
      if (bias && epilogue.biasType != DType::F32 && epilogue.biasType != elementType(yType))
        failRun("product with a bias of ", nameOf(epilogue.biasType), ", whose result is ", nameOf(elementType(yType)));
      if (m > 0)
        c.device.linear({index, x, elementType(xType), m, y, elementType(yType), accumulate != 0, epilogue});
    });
  }

  static void matmul(void *ctx, int64_t dtype, int64_t batch, int64_t m, int64_t n, int64_t k, void *a, int64_t aBatch,
                     int64_t aRow, int64_t aCol, void *b, int64_t bBatch, int64_t bRow, int64_t bCol, void *c,
                     int64_t cBatch, int64_t cRow, float alpha, float beta) {
    step(ctx, [&](RankContext &context) {
      DType type = elementType(dtype);
      RankContext::Timer timer(context, context.profile.matmul, {Trace::Row::Compute, "product", "matmul", {}, {}});
      context.device.matmul(
          {type, batch, m, n, k, a, aBatch, aRow, aCol, b, bBatch, bRow, bCol, c, cBatch, cRow, alpha, beta});
    });
  }

  static void attention(void *ctx, void *buffers, void *sizes, float scale, float softcap) {
    step(ctx, [&](RankContext &c) {
      Attention a =
          attentionOf(static_cast<void *const *>(buffers), static_cast<const int64_t *>(sizes), scale, softcap);
      RankContext::Timer timer(c, c.profile.matmul, {Trace::Row::Compute, "product", "attention", {}, {}});
      if (a.batch > 0 && a.tokens > 0 && a.heads > 0 && a.valueSize > 0)
        c.device.attention(a);
    });
  }

  static void copy(void *ctx, void *destination, void *source, int64_t bytes) {
    step(ctx, [&](RankContext &c) {
      if (bytes < 0)
        failRun("copy of ", bytes, " bytes");
      RankContext::Timer timer(c, c.profile.kernels, {Trace::Row::Compute, "kernel", "copy", {}, {}});
      c.device.copy(destination, source, static_cast<size_t>(bytes));
    });
  }

  static void all_reduce(void *ctx, int64_t collective, void *data, int64_t count) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::AllReduce, count, 0,
                 [&](const CollectiveCall &call) { c.communicator.allReduce(call, data); });
    });
  }

  static void all_reduce_start(void *ctx, int64_t collective, void *data, int64_t count) {
    step(ctx, [&](RankContext &c) { c.startSum(collective, data, count, false); });
  }

  static void all_reduce_leave(void *ctx, int64_t collective, void *data, int64_t count) {
    step(ctx, [&](RankContext &c) { c.startSum(collective, data, count, true); });
  }

  static void all_reduce_wait(void *ctx, int64_t collective, void *data, int64_t count) {
    step(ctx, [&](RankContext &c) {
      const CollectiveSpec &spec = c.collective(collective, CollectiveKind::AllReduce);
      if (c.started.empty() || c.started.front().call.index != collective || c.started.front().call.count != count)
        failRun("all_reduce '", spec.name, "' is waited for, but was not started");
      c.finishSum();
    });
  }

  static void all_gather(void *ctx, int64_t collective, void *in, void *out, int64_t outer, int64_t inner) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::AllGather, outer * inner, inner,
                 [&](const CollectiveCall &call) { c.communicator.allGather(call, in, out, outer, inner); });
    });
  }

  static void reduce_scatter(void *ctx, int64_t collective, void *in, void *out, int64_t outer, int64_t inner) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::ReduceScatter, outer * inner * c.communicator.size(), inner,
                 [&](const CollectiveCall &call) { c.communicator.reduceScatter(call, in, out, outer, inner); });
    });
  }

  static void all_to_all(void *ctx, int64_t collective, void *in, void *out, int64_t count) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::AllToAll, count * c.communicator.size(), 0,
                 [&](const CollectiveCall &call) { c.communicator.allToAll(call, in, out, count); });
    });
  }

  static void permute(void *ctx, int64_t collective, void *in, void *out, int64_t count, int64_t shift) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::Permute, count, shift,
                 [&](const CollectiveCall &call) { c.communicator.permute(call, in, out, count, shift); });
    });
  }

  static void broadcast(void *ctx, int64_t collective, void *data, int64_t count, int64_t root) {
    step(ctx, [&](RankContext &c) {
      c.exchange(collective, CollectiveKind::Broadcast, count, root, [&](const CollectiveCall &call) {
        c.communicator.broadcast(call, data, count, static_cast<int>(root));
      });
    });
  }

  static void quantized_all_reduce(void *ctx, int64_t collective, void *data, void *error, int64_t rows) {
    step(ctx, [&](RankContext &c) {
      const CollectiveSpec &spec = c.collective(collective, CollectiveKind::QuantizedAllReduce);
      const WireFormat &wire = spec.wire;
      c.exchange(spec, collective, rows * wire.channels, rows * wire.rowBytes(), wire.bits,
                 [&](const CollectiveCall &call) {
                   c.communicator.quantizedAllReduce(call, wire, static_cast<float *>(data),
                                                     static_cast<float *>(error), rows);
                 });
    });
  }

  static int64_t ring_shard(void *ctx, int64_t stepNumber) {
    const auto &rings = static_cast<RankContext *>(ctx)->rings;
    return rings ? rings->shardAt(stepNumber) : 0;
  }

  static void sync_point(void *ctx, int64_t site, void *buffers, void *sizes, int64_t live) {
    auto &context = *static_cast<RankContext *>(ctx);
    if (!context.error.empty())
      return;
    guarded(context, [&](RankContext &c) {
      const auto &all = c.program.manifest().sites;
      std::string_view name; // lives as long as the manifest
      if (site >= 0 && static_cast<size_t>(site) < all.size())
        name = all[static_cast<size_t>(site)].name;
      RankContext::Timer timer(c, c.profile.communication, {Trace::Row::Communication, "sync_point", name, {}, {}});
      c.stopWhereAsked(std::string(name));
      c.sites.run(static_cast<size_t>(site), static_cast<void *const *>(buffers), static_cast<const int64_t *>(sizes),
                  live);
    });
  }

  static void rotate_start(void *ctx, int64_t rotation) {
    step(ctx, [&](RankContext &c) { c.startRotation(rotation); });
  }

  static void rotate_wait(void *ctx, int64_t rotation) {
    step(ctx, [&](RankContext &c) { c.finishRotation(rotation); });
  }

  static void rotate(void *ctx, int64_t rotation) {
    step(ctx, [&](RankContext &c) { c.rotateInPlace(rotation); });
  }

  static int64_t load_element(void *ctx, void *from, int64_t dtype) {
    int64_t bits = 0;
    step(ctx, [&](RankContext &c) { bits = c.device.loadElement(from, elementType(dtype)); });
    return bits;
  }

  static void store_element(void *ctx, void *to, int64_t dtype, int64_t bits) {
    step(ctx, [&](RankContext &c) { c.device.storeElement(to, elementType(dtype), bits); });
  }

  static DType elementType(int64_t dtype) {
    if (dtype < 0 || dtype >= numDTypes)
      failRun("element type ", dtype, " is unknown");
    return static_cast<DType>(dtype);
  }

  static int64_t rank(void *ctx) { return static_cast<RankContext *>(ctx)->communicator.rank(); }

  static void check(void *ctx, int64_t condition, int64_t message) {
    if (condition)
      return;
    step(ctx, [&](RankContext &c) {
      const auto &messages = c.program.manifest().messages;
      bool known = message >= 0 && static_cast<size_t>(message) < messages.size();
      failRun(known ? messages[static_cast<size_t>(message)] : "check " + std::to_string(message) + " failed");
    });
  }
};

const void *const *RankContext::api() {
  static const void *const table[CAAT_API_COUNT] = {
#define CAAT_ENTRYPOINT(INDEX, NAME, RESULT, ...)                                                                      \
  reinterpret_cast<const void *>(static_cast<caat_api_##NAME##_fn>(&Api::NAME)),
#include "caat/runtime/Entrypoints.def"
  };
  return table;
}

} // namespace caat::runtime
