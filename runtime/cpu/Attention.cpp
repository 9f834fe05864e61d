// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention as written down in Attention.h, plainly: programs for the CPU have kernels of their own, so this is what
// tests compare a GPU's with, and what runs a GPU's program on the CPU.
#include "CpuDevice.h"
#include "caat/runtime/Bf16.h"
#include <cmath>
#include <limits>
#include <vector>

namespace caat::runtime {

namespace {

float load(const void *from, int64_t at, DType type) {
  switch (type) {
  case DType::BF16:
    return bf16ToFloat(static_cast<const uint16_t *>(from)[at]);
  case DType::F16:
    return static_cast<float>(static_cast<const _Float16 *>(from)[at]);
  default:
    return static_cast<const float *>(from)[at];
  }
}

void store(void *to, int64_t at, DType type, float value) {
  switch (type) {
  case DType::BF16:
    static_cast<uint16_t *>(to)[at] = floatToBf16(value);
    break;
  case DType::F16:
    static_cast<_Float16 *>(to)[at] = static_cast<_Float16>(value);
    break;
  default:
    static_cast<float *>(to)[at] = value;
  }
}

struct Keys {
  int64_t begin, end;
};

Keys visibleTo(const Attention &a, int64_t batch, int64_t token) {
  int64_t first = a.past, end = a.total;
  if (a.lengths) {
    int64_t length = a.lengthType == DType::I64 ? static_cast<const int64_t *>(a.lengths)[batch]
                                                : static_cast<const int32_t *>(a.lengths)[batch];
    first = length - a.tokens;
    if (a.appendsByRow)
      first = std::clamp<int64_t>(first, 0, a.past);
    end = std::min(end, a.appendsByRow ? first + a.tokens : length);
  }
  int64_t position = first + token;
  if (a.causal)
    end = std::min(end, position + 1);
  if (a.right >= 0)
    end = std::min(end, position + a.right + 1);
  return {a.left >= 0 ? std::max<int64_t>(position - a.left, 0) : 0, std::max<int64_t>(end, 0)};
}

} // namespace

void runAttention(const Attention &a) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  int64_t group = a.heads / a.kvHeads;
  std::vector<float> query(static_cast<size_t>(a.size)), scores, result(static_cast<size_t>(a.valueSize));
  for (int64_t row = 0; row < a.batch * a.tokens * a.heads; ++row) {
    int64_t head = row % a.heads, token = row / a.heads % a.tokens, batch = row / a.heads / a.tokens;
    auto [begin, end] = visibleTo(a, batch, token);
    int64_t from = batch * a.queryBatch + token * a.queryToken + head * a.queryHead;
    for (int64_t d = 0; d < a.size; ++d)
      query[static_cast<size_t>(d)] = load(a.query, from + d, a.queryType);
    scores.clear();
    float largest = lowest;
    for (int64_t key = begin; key < end; ++key) {
      int64_t at = batch * a.keyBatch + head / group * a.keyHead + key * a.keyToken;
      float score = 0;
      for (int64_t d = 0; d < a.size; ++d)
        score += query[static_cast<size_t>(d)] * load(a.keys, at + d, a.keyType);
      score *= a.scale;
      if (a.softcap > 0)
        score = a.softcap * std::tanh(score / a.softcap);
      if (a.mask)
        score += a.mask[batch * a.maskBatch + head * a.maskHead + token * a.maskToken + key * a.maskKey];
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    std::fill(result.begin(), result.end(), 0.0f);
    float sum = 0;
    for (int64_t key = begin; key < end; ++key) {
      float weight = std::exp(scores[static_cast<size_t>(key - begin)] - (largest == lowest ? 0 : largest));
      int64_t at = batch * a.valueBatch + head / group * a.valueHead + key * a.valueToken;
      for (int64_t d = 0; d < a.valueSize; ++d)
        result[static_cast<size_t>(d)] += weight * load(a.values, at + d, a.keyType);
      sum += weight;
    }
    int64_t to = batch * a.outBatch + token * a.outToken + head * a.outHead;
    for (int64_t d = 0; d < a.valueSize; ++d)
      store(a.out, to + d, a.outType, sum == 0 ? 0 : result[static_cast<size_t>(d)] / sum);
  }
}

} // namespace caat::runtime
