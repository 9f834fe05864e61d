// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What compiled code calls.
#include "RankTimer.h"
#include "caat/runtime/Error.h"

namespace caat::runtime {

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
      multiply(c, {numberOf(c, parameter), x, elementType(xType), m, y, elementType(yType), accumulate != 0,
                   epilogueOf(bias, biasType, activation, alpha)});
    });
  }

  static void linear_gated(void *ctx, int64_t parameter, void *x, int64_t xType, int64_t m, void *y, int64_t yType,
                           void *bias, int64_t biasType, int64_t activation, float alpha, int64_t gate) {
    step(ctx, [&](RankContext &c) {
      size_t number = numberOf(c, parameter);
      const ParameterSpec &weight = c.program.manifest().parameters[number];
      if (gate != CAAT_GATE_FIRST && gate != CAAT_GATE_SECOND)
        failRun("product with gate ", gate, ", which this runtime does not know");
      if (weight.n() % 2 != 0)
        failRun("gated product with '", weight.name, "', whose ", weight.n(), " columns are no two halves");
      multiply(c, {number, x, elementType(xType), m, y, elementType(yType), false,
                   epilogueOf(bias, biasType, activation, alpha), static_cast<caat_gate>(gate)});
    });
  }

  static size_t numberOf(const RankContext &c, int64_t parameter) {
    const auto &parameters = c.program.manifest().parameters;
    if (parameter < 0 || static_cast<size_t>(parameter) >= parameters.size() ||
        !parameters[static_cast<size_t>(parameter)].linear)
      failRun("the code multiplies with parameter ", parameter, ", which is no linear parameter of the manifest");
    return static_cast<size_t>(parameter);
  }

  static Epilogue epilogueOf(void *bias, int64_t biasType, int64_t activation, float alpha) {
    if (activation < CAAT_UNCHANGED || activation > CAAT_SWISH)
      failRun("product with activation ", activation, ", which this runtime does not know");
    return {bias, elementType(biasType), static_cast<caat_activation>(activation), alpha};
  }

  static void multiply(RankContext &c, const Linear &l) {
    if (l.m < 0)
      failRun("product with ", l.m, " rows");
    for (DType type : {l.xType, l.yType})
      if (!isConvertible(type))
        failRun("products of ", nameOf(type), " activations with weights are not supported");
    if (l.epilogue.bias && l.epilogue.biasType != DType::F32 && l.epilogue.biasType != l.yType)
      failRun("product with a bias of ", nameOf(l.epilogue.biasType), ", whose result is ", nameOf(l.yType));
    const ParameterSpec &weight = c.program.manifest().parameters[l.parameter];
    RankContext::Timer timer(c, c.profile.linear,
                             {Trace::Row::Compute, "product", weight.name, c.groupOf(l.parameter), {}},
                             weight.rotation ? &c.profile.rotations[*weight.rotation].product : nullptr);
    if (l.m > 0)
      c.device.linear(l);
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
      if (c.half.turns && c.started.empty()) {
        c.startSum(collective, data, count, false);
        return c.finishSum();
      }
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

  static int64_t part_rows(void *ctx, int64_t least) {
    constexpr int64_t all = int64_t(1) << 40; // a multiple of it can be reckoned with
    return static_cast<RankContext *>(ctx)->half.turns ? all : least;
  }

  static int64_t unread_tokens(void *ctx, int64_t tokens) {
    return std::max<int64_t>(tokens - static_cast<RankContext *>(ctx)->readTokens, 0);
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
    step(ctx, [&](RankContext &c) { c.failCheck(message); });
  }

  static void check_later(void *ctx, void *condition, int64_t message) {
    step(ctx, [&](RankContext &c) {
      if (!c.device.check(condition, message))
        c.failCheck(message);
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
