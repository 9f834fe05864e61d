// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention on a GPU against the CPU's plain loops, and how long it takes.
#include "DeviceChecks.h"
#include <array>

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
  } with = {};
};

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

/// The result, as f32. It must be the same bits every time.
Bytes attend(const Case &p, Device &d) {

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
  Array again = array(p.with.out, p.batch * p.tokens * heads * valuePitch, 4);
  a.out = again.get();
  d.attention(a);
  if (out.read() != again.read())
    failRun("other bits the second time");
  return asFloats(out.read(), p.with.out);
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

} // namespace

void measureAttention(Device &d) {
  const std::string model = ", 32 heads of 128, causal, bf16";
  for (int64_t tokens : {512, 2048, 8192}) {
    double seconds = secondsOfAttention(d, 1, tokens, tokens, 1);
    say(detail::concat("attention of ", tokens, " tokens", model), 1e6 * seconds, "us");
    say("  that is", 2e-12 * static_cast<double>(tokens) * static_cast<double>(tokens) * 32 * 128 / seconds, "TFLOP/s");
  }
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
  unsetenv("CAAT_CUDA_FEW_TOKENS");
}

} // namespace caat::test
