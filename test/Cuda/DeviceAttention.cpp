// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention on a GPU against the CPU's plain loops, and how long it takes.
#include "DeviceChecks.h"
#include <array>
#include <deque>

namespace caat::test {

namespace {

Bytes asFloats(Bytes data, DType type) {
  Tensor narrow = Tensor::view(type, {static_cast<int64_t>(data.size() / sizeOf(type))}, data.data());
  Tensor wide = converted(narrow, DType::F32);
  return {wide.data.get(), wide.data.get() + wide.bytes()};
}

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
    bool fused = false;        // what cuDNN takes
  } with = {};
};

/// With everything in one type, as cuDNN takes it unless `change` does something else.
template <typename F> Case::Options inOneType(DType type, bool fused, F &&change) {
  Case::Options options;
  options.via = options.query = options.keys = options.out = type;
  options.fused = fused;
  change(options);
  return options;
}

const Case cases[] = {
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
    Case{"a token behind many", 1, 1, 700, 2, 4, 128, 128, {.query = DType::BF16, .out = DType::BF16}},
    Case{"a token behind few", 3, 1, 20, 2, 4, 64, 64},
    Case{"some tokens behind very many", 1, 2, 2300, 1, 8, 128, 128},
    Case{"some tokens of large heads behind very many", 1, 2, 1500, 1, 8, 256, 256},
    Case{"a token of many rows", 5, 1, 80, 4, 1, 32, 32, {.query = DType::BF16, .out = DType::BF16}},
    Case{"a token of large heads", 1, 1, 300, 1, 8, 192, 256, {.via = DType::F16, .keys = DType::F16}},
    Case{"some tokens of several tiles", 2, 5, 333, 1, 9, 80, 80},
    Case{"a token in a window", 2, 1, 900, 1, 3, 64, 64, {.left = 130}},
    Case{"a token's mask", 2, 1, 400, 2, 4, 64, 64, {.softcap = 3, .mask = 4}},
    Case{"a token's lengths", 3, 1, 500, 2, 2, 64, 64, {.lengths = 1}},
    Case{"tokens appended by row", 3, 2, 500, 2, 2, 64, 64, {.left = 200, .lengths = 2}},
    Case{"a token of f32 keys", 1, 1, 130, 2, 3, 30, 30, {.keys = DType::F32}},
};

using Options = Case::Options;
constexpr DType bf16 = DType::BF16, f16 = DType::F16;
/// For the choice between cuDNN and the own kernel.
const Case choices[] = {
    Case{"a prompt", 1, 70, 0, 2, 3, 64, 64, inOneType(bf16, true, [](Options &) {})},
    Case{"a cache with room", 1, 40, 45, 2, 2, 128, 128, inOneType(bf16, true, [](Options &o) { o.room = 11; })},
    Case{"a batch in f16", 3, 40, 0, 2, 1, 80, 80, inOneType(f16, true, [](Options &) {})},
    Case{"all keys", 2, 40, 30, 1, 2, 64, 64, inOneType(bf16, true, [](Options &o) { o.causal = false; })},
    Case{"heads of two sizes", 1, 40, 8, 1, 2, 192, 128, inOneType(bf16, true, [](Options &) {})},
    Case{"a window that holds all", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, true, [](Options &o) { o.left = 47; })},
    Case{"rows with gaps", 1, 40, 8, 2, 2, 64, 64, inOneType(bf16, true, [](Options &o) { o.gap = 8; })},
    Case{"one token", 1, 1, 60, 1, 2, 64, 64, inOneType(bf16, true, [](Options &) {})},
    Case{"a window", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.left = 20; })},
    Case{"right", 1, 40, 0, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.causal = false, o.right = 3; })},
    Case{"a soft cap", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.softcap = 2; })},
    Case{"a mask", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.mask = 4; })},
    Case{"lengths", 3, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.lengths = 1; })},
    Case{"no scale", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.scale = -0.1f; })},
    Case{"an f32 query", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.query = DType::F32; })},
    Case{"an f32 result", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.out = DType::F32; })},
    Case{"f32 keys", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.keys = DType::F32; })},
    Case{"odd heads", 1, 40, 8, 1, 2, 60, 60, inOneType(bf16, false, [](Options &) {})},
    Case{"odd rows", 1, 40, 8, 1, 2, 64, 64, inOneType(bf16, false, [](Options &o) { o.gap = 4; })},
};

/// What a case computes with.
class Call {
public:
  Call(const Case &p, Device &d) : p(p), d(d) {
    int64_t heads = p.kvHeads * p.group, total = p.tokens + p.past, room = total + p.with.room;
    int64_t pitch = p.size + p.with.gap, valuePitch = p.valueSize + p.with.gap;
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
    a.query = array(p.with.query, p.batch * p.tokens * heads * pitch, 1).get();
    a.keys = array(p.with.keys, p.batch * p.kvHeads * room * pitch, 2).get();
    a.values = array(p.with.keys, p.batch * p.kvHeads * room * valuePitch, 3).get();
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
    if (p.with.mask)
      a.mask = static_cast<const float *>(arrays.emplace_back(d, numbers).get());
    a.maskKey = p.with.mask > 0 ? 1 : 0;
    a.maskToken = p.with.mask > 1 ? total : 0;
    a.maskHead = p.with.mask > 2 ? total * p.tokens : 0;
    a.maskBatch = p.with.mask > 3 ? total * p.tokens * heads : 0;

    std::vector<int64_t> lengths = {total, p.tokens + 3, p.tokens / 2};
    std::vector<int32_t> narrow(lengths.begin(), lengths.end());
    if (p.with.lengths)
      a.lengths = (p.with.lengths == 1 ? arrays.emplace_back(d, lengths) : arrays.emplace_back(d, narrow)).get();
    a.lengthType = p.with.lengths == 1 ? DType::I64 : DType::I32;
  }

  /// For results, which are asked for by attention().
  Array &makeOut() {
    Array &out = array(p.with.out, p.batch * a.outBatch, 4);
    a.out = out.get();
    return out;
  }
  void attention() { d.attention(a); }
  /// As f32.
  Bytes read(const Array &out) const { return asFloats(out.read(), p.with.out); }

private:
  Array &array(DType type, int64_t count, unsigned seed) { return arrays.emplace_back(d, someData(type, count, seed)); }

  const Case &p;
  Device &d;
  std::deque<Array> arrays;
  Attention a{};
};

/// The result, as f32. It must be the same bits every time.
Bytes attend(const Case &p, Device &d) {
  Call call(p, d);
  Array &out = call.makeOut();
  call.attention();
  Array &again = call.makeOut();
  call.attention();
  if (out.read() != again.read())
    failRun("other bits the second time");
  return call.read(out);
}

/// Of a model with 32 heads of 128 and 8 of keys, in bf16. Its caches are `layers` times as large as one call reads, so
/// that they come from memory.
double secondsOfAttention(Device &d, int64_t batch, int64_t tokens, int64_t total, int64_t layers) {
  constexpr int64_t heads = 32, kvHeads = 8, head = 128;
  auto bytesOf = [&](int64_t rows) { return Bytes(static_cast<size_t>(batch * rows * head * 2)); };
  Array query(d, bytesOf(tokens * heads)), out(d, bytesOf(tokens * heads));
  Array keys(d, bytesOf(layers * total * kvHeads)), values(d, bytesOf(layers * total * kvHeads));
  Attention p{};
  p.via = p.queryType = p.keyType = p.outType = DType::BF16;
  p.batch = batch;
  p.tokens = tokens;
  p.total = total;
  p.past = total - tokens;
  p.heads = heads;
  p.kvHeads = kvHeads;
  p.size = p.valueSize = head;
  p.left = p.right = -1;
  p.causal = true;
  p.query = query.get();
  p.out = out.get();
  p.queryToken = p.outToken = heads * head;
  p.queryBatch = p.outBatch = tokens * heads * head;
  p.queryHead = p.outHead = p.keyToken = p.valueToken = head;
  p.keyHead = p.valueHead = total * head;
  p.keyBatch = p.valueBatch = kvHeads * total * head;
  p.scale = 0.1f;
  return secondsOf(d, 20,
                   [&] {
                     d.beginRun(); // so that they become a graph
                     for (int64_t layer = 0; layer < layers; ++layer) {
                       int64_t offset = layer * batch * kvHeads * total * head * 2;
                       p.keys = static_cast<const std::byte *>(keys.get()) + offset;
                       p.values = static_cast<const std::byte *>(values.get()) + offset;
                       d.attention(p);
                     }
                     d.synchronize();
                   }) /
         static_cast<double>(layers);
}

const std::string model = ", 32 heads of 128, causal, bf16";

} // namespace

static void measureMany(Device &d) {
  for (auto [batch, tokens] : {std::pair<int64_t, int64_t>{1, 512}, {1, 2048}, {1, 8192}, {16, 512}}) {
    double seconds = secondsOfAttention(d, batch, tokens, tokens, 1);
    double operations = 2.0 * static_cast<double>(batch * tokens * tokens) * 32 * 128;
    say(detail::concat("attention of ", batch, " x ", tokens, " tokens", model), 1e6 * seconds, "us");
    say("  that is", 1e-12 * operations / seconds, "TFLOP/s");
  }
  std::cout << "        by " << d.attentionInfo() << std::endl;
}

static void measureFew(Device &d) {
  for (auto [batch, tokens, total] : {std::array<int64_t, 3>{1, 1, 512},
                                      {1, 1, 2048},
                                      {1, 1, 8192},
                                      {16, 1, 512},
                                      {16, 1, 2048},
                                      {1, 4, 2048},
                                      {1, 16, 2048},
                                      {1, 32, 2048}}) {
    double seconds = secondsOfAttention(d, batch, tokens, total, 32);
    say(detail::concat("attention of ", batch, " x ", tokens, " tokens to ", total, " keys", model), 1e6 * seconds,
        "us");
    say("  keys and values at", 1e-9 * static_cast<double>(batch * total * 8 * 128 * 4) / seconds, "GB/s");
  }
}

void measureAttention(const Program &program) {
  auto own = [&](Device &d, Communicator &) {
    measureMany(d);
    measureFew(d);
    return Bytes();
  };
  auto fused = [&](Device &d, Communicator &) {
    measureMany(d);
    return Bytes();
  };
  const char *library = std::getenv("CAAT_CUDNN");
  std::string name = library ? library : "";
  setenv("CAAT_CUDNN", "off", 1);
  gpuSide(program, 1).run(own);
  library ? setenv("CAAT_CUDNN", name.c_str(), 1) : unsetenv("CAAT_CUDNN");
  setenv("CAAT_CUDNN_AFTER", "1", 1);
  gpuSide(program, 1).run(fused); // in pieces
  setenv("CAAT_CUDNN_TOKENS", "8192", 1);
  gpuSide(program, 1).run(fused);
  unsetenv("CAAT_CUDNN_TOKENS");
  unsetenv("CAAT_CUDNN_AFTER");
}

/// By cuDNN where it takes it, from the first call of a shape on: then the result is compared, and later ones may be
/// part of graphs.
static void checkFused(Checks &checks) {
  if (!std::getenv("CAAT_CUDNN"))
    return;
  setenv("CAAT_CUDNN_AFTER", "1", 1);
  for (const Case &p : choices)
    checks.compare(
        detail::concat("attention and cuDNN, ", p.name), 1,
        [&](Device &d, Communicator &) {
          Bytes result = attend(p, d);
          if (std::string info = d.attentionInfo(); !d.isHost() && info.starts_with("cuDNN") != p.with.fused)
            failRun("computed by ", info);
          return result;
        },
        2e-2);
  // A prompt in pieces, of which those have plans that another one had before; what is left is the own kernel's.
  setenv("CAAT_CUDNN_AFTER", "2", 1);
  setenv("CAAT_CUDNN_TOKENS", "24", 1);
  checks.compare(
      "attention and cuDNN, in pieces", 1,
      [&](Device &d, Communicator &) {
        auto prompt = [&](int64_t tokens, int64_t past, int64_t left) { // caches of one size
          return Case{"", 1, tokens, past, 2, 2, 64, 64, inOneType(bf16, true, [&](Options &o) {
                        o.room = 100 - past - tokens;
                        o.left = left;
                      })};
        };
        Bytes results;
        for (const Case &p :
             {prompt(48, 0, -1), prompt(48, 0, -1), prompt(80, 0, -1), prompt(50, 0, -1), prompt(80, 0, 40)}) {
          Call call(p, d);
          Array &out = call.makeOut();
          call.attention();
          results = results + call.read(out);
        }
        // Tokens of pieces: 24 and 24, which get their plans; of 80 these and 24 and 8, which have none; 24 and 26,
        // where 2 alone would be few; and with the window the first 24 alone.
        std::string info = d.attentionInfo(), calls = " (6 calls), own kernels (8 calls)";
        if (!d.isHost() && !(info.starts_with("cuDNN ") && info.find(calls) != std::string::npos))
          failRun("computed by ", info);
        return results;
      },
      2e-2);
  unsetenv("CAAT_CUDNN_TOKENS");
  setenv("CAAT_CUDNN_AFTER", "1", 1);
  checks.compare(
      "attention and cuDNN, in graphs", 1,
      [&](Device &d, Communicator &) {
        std::deque<Call> calls;
        std::vector<Array *> outs;
        for (const Case &p : std::span(choices).first(5))
          outs.push_back(&calls.emplace_back(p, d).makeOut());
        for (int run = 0; run < 5; ++run) {
          d.beginRun();
          for (Call &call : calls)
            call.attention();
          d.synchronize();
        }
        if (!d.isHost() && d.graphs() == 0)
          failRun("no graph was made");
        Bytes results;
        for (size_t i = 0; i < calls.size(); ++i)
          results = results + calls[i].read(*outs[i]);
        return results;
      },
      2e-2);
  unsetenv("CAAT_CUDNN_AFTER");
}

/// With the kernel's rounding to 16 bits as tolerance. Each by the kernel that suits it, and by the one for many
/// tokens.
void checkAttention(Checks &checks) {
  for (bool few : {true, false}) {
    setenv("CAAT_CUDA_FEW_TOKENS", few ? "1" : "0", 1);
    for (const Case &p : cases)
      checks.compare(
          detail::concat("attention, ", p.name, few ? "" : ", as of many tokens"), 1,
          [&](Device &d, Communicator &) { return attend(p, d); }, 2e-2);
  }
  checkFused(checks);
  unsetenv("CAAT_CUDA_FEW_TOKENS");
}

} // namespace caat::test
