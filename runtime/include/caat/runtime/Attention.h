// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_ATTENTION_H
#define CAAT_RUNTIME_ATTENTION_H

#include "caat/runtime/Tensor.h"
#include <cstdint>

namespace caat::runtime {

/// out = softmax(softcap(scale * query keys^T) + mask) values, with products of the type `via`. Strides in elements;
/// the elements of a head lie side by side. Query head h uses key head h / (heads / kvHeads). Token t stands at
/// position past + t among its row's keys, of which [0, total) are valid. Of row b with lengths, only those before
/// lengths[b] are, and token t stands at lengths[b] - tokens + t; or, where new keys were appended by row, at
/// clamp(lengths[b] - tokens, 0, past) + t, and the last token's key is the row's last. A token sees the keys up to
/// itself where `causal`, up to `right` behind itself and from `left` before itself where these are not -1. Where it
/// sees none, its result is 0.
struct Attention {
  DType via, queryType, keyType, lengthType, outType; // keyType: of keys and values
  int64_t batch, tokens, total, past, heads, kvHeads, size, valueSize;
  int64_t left, right;
  bool causal, appendsByRow;
  const void *query, *keys, *values;
  const float *mask;   // to add; may be null
  const void *lengths; // may be null
  void *out;
  int64_t queryBatch, queryToken, queryHead;
  int64_t keyBatch, keyHead, keyToken;
  int64_t valueBatch, valueHead, valueToken;
  int64_t maskBatch, maskHead, maskToken, maskKey;
  int64_t outBatch, outToken, outHead;
  float scale, softcap; // softcap 0: none
};

/// As the entry point of compiled code hands it over. Throws Error (Run) where it makes no sense.
Attention attentionOf(void *const *buffers, const int64_t *sizes, float scale, float softcap);

} // namespace caat::runtime

#endif
