// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Attention.h"
#include "caat/runtime/Error.h"

namespace caat::runtime {

Attention attentionOf(void *const *buffers, const int64_t *sizes, float scale, float softcap) {
  auto next = [&] { return *sizes++; };
  auto type = [&](bool (*fits)(DType)) {
    int64_t code = next();
    if (code < 0 || code >= numDTypes || !fits(static_cast<DType>(code)))
      failRun("attention with element type ", code);
    return static_cast<DType>(code);
  };
  auto isNarrow = [](DType t) { return t == DType::BF16 || t == DType::F16; };
  auto isIndex = [](DType t) { return t == DType::I32 || t == DType::I64; };
  Attention a{};
  a.via = type(isNarrow);
  a.queryType = type(isConvertible);
  a.keyType = type(isConvertible);
  a.lengthType = buffers[4] ? type(isIndex) : (next(), DType::I64);
  a.outType = type(isConvertible);
  for (int64_t *size : {&a.batch, &a.tokens, &a.total, &a.past, &a.heads, &a.kvHeads, &a.size, &a.valueSize})
    *size = next();
  a.left = next();
  a.right = next();
  a.causal = next() != 0;
  a.appendsByRow = next() != 0;
  for (int64_t *stride :
       {&a.queryBatch, &a.queryToken, &a.queryHead, &a.keyBatch, &a.keyHead, &a.keyToken, &a.valueBatch, &a.valueHead,
        &a.valueToken, &a.maskBatch, &a.maskHead, &a.maskToken, &a.maskKey, &a.outBatch, &a.outToken, &a.outHead})
    *stride = next();
  a.query = buffers[0];
  a.keys = buffers[1];
  a.values = buffers[2];
  a.mask = static_cast<const float *>(buffers[3]);
  a.lengths = buffers[4];
  a.out = buffers[5];
  a.scale = scale;
  a.softcap = softcap;

  // What is counted fits 32 bits.
  for (int64_t size : {a.batch, a.tokens, a.total, a.past, a.heads, a.size, a.valueSize})
    if (size < 0 || size > INT32_MAX / 4)
      failRun("attention with a size of ", size);
  if (a.kvHeads <= 0 || a.heads % a.kvHeads != 0)
    failRun("attention of ", a.heads, " heads with ", a.kvHeads, " heads of keys");
  if (a.tokens * (a.heads / a.kvHeads) > INT32_MAX / 4)
    failRun("attention of ", a.tokens, " tokens: too many");
  return a;
}

} // namespace caat::runtime
