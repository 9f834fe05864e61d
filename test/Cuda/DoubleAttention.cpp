// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's kernels for attention, thread by thread on the host, and what they read and write.
#include "Double.h"
#include "WarpEmulator.h"
#include "cuda/Attention.cu"
#include "cuda/Attention.h"
#include "cuda/AttentionFew.cu"

namespace caat::test {

namespace {

/// [batch, heads, rows] of `size` elements each. Rows that follow each other are one range.
void add(std::vector<Access> &all, const void *data, int64_t batch, int64_t batchStride, int64_t heads, int64_t stride,
         int64_t rows, int64_t rowStride, int64_t size, int64_t elementSize, bool writes) {
  auto range = [&](int64_t begin, int64_t end) {
    auto address = reinterpret_cast<uint64_t>(data);
    all.push_back({address + static_cast<uint64_t>(begin * elementSize),
                   address + static_cast<uint64_t>(end * elementSize), writes});
  };
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t at = b * batchStride + h * stride;
      if (rowStride == size)
        range(at, at + rows * size);
      else
        for (int64_t row = 0; row < rows; ++row)
          range(at + row * rowStride, at + row * rowStride + size);
    }
}

void accessesOf(const AttentionArguments &a, std::vector<Access> &all) {
  int64_t heads = a.kvHeads * a.group;
  add(all, a.query, a.batch, a.queryBatch, heads, a.queryHead, a.tokens, a.queryToken, a.size, a.queryIsF32 ? 4 : 2,
      false);
  add(all, a.keys, a.batch, a.keyBatch, a.kvHeads, a.keyHead, a.total, a.keyToken, a.size, 2, false);
  add(all, a.values, a.batch, a.valueBatch, a.kvHeads, a.valueHead, a.total, a.valueToken, a.valueSize, 2, false);
  add(all, a.out, a.batch, a.outBatch, heads, a.outHead, a.tokens, a.outToken, a.valueSize, a.outIsF32 ? 4 : 2, true);
  if (a.mask)
    for (int64_t b = 0; b < (a.maskBatch ? a.batch : 1); ++b)
      add(all, a.mask + b * a.maskBatch, 1, 0, a.maskHead ? heads : 1, a.maskHead, a.maskToken ? a.tokens : 1,
          a.maskToken, a.maskKey ? a.total : 1, 4, false);
  if (a.lengths)
    add(all, a.lengths, 1, 0, 1, 0, a.batch, 1, 1, a.lengthsAre64 ? 8 : 4, false);
}

void accessesOf(const FewTokensArguments &f, unsigned blocks, int size, std::vector<Access> &all) {
  const AttentionArguments &a = f.attention;
  accessesOf(a, all);
  if (f.splits == 1)
    return;
  int64_t tiles = blocks / f.splits, parts = int64_t{blocks} * least(FewTokensShape::rows, a.tokens * a.group);
  add(all, f.parts, 1, 0, 1, 0, 1, 0, parts * size, 4, true);
  add(all, f.tops, 1, 0, 1, 0, 1, 0, parts * 2, 4, true);
  add(all, f.arrived, 1, 0, 1, 0, 1, 0, tiles, 4, true);
}

} // namespace

bool runAttention(const std::string &name, unsigned blocks, void **arguments, std::vector<Access> &accesses, bool run) {
  auto many = [&](const char *kernelName, auto kernel, int size) {
    if (name != kernelName)
      return false;
    const auto &a = *static_cast<const AttentionArguments *>(arguments[0]);
    if (run)
      runBlocks([&] { kernel(a); }, blocks, attentionThreads,
                static_cast<size_t>(AttentionShape(size).sharedBytes(size)));
    else
      accessesOf(a, accesses);
    return true;
  };
  auto few = [&](const char *kernelName, auto kernel, int size) {
    if (name != kernelName)
      return false;
    const auto &f = *static_cast<const FewTokensArguments *>(arguments[0]);
    if (run)
      runBlocks([&] { kernel(f); }, blocks, attentionThreads,
                static_cast<size_t>(FewTokensShape(size).sharedBytes(size)));
    else
      accessesOf(f, blocks, size, accesses);
    return true;
  };
#define CAAT_ATTEMPT(SIZE)                                                                                             \
  many("caat_attention_bf16_" #SIZE, caat_attention_bf16_##SIZE, SIZE) ||                                              \
      many("caat_attention_f16_" #SIZE, caat_attention_f16_##SIZE, SIZE) ||                                            \
      few("caat_attention_few_bf16_" #SIZE, caat_attention_few_bf16_##SIZE, SIZE) ||                                   \
      few("caat_attention_few_f16_" #SIZE, caat_attention_few_f16_##SIZE, SIZE) ||
  return CAAT_ATTENTION_SIZES(CAAT_ATTEMPT) false;
#undef CAAT_ATTEMPT
}

} // namespace caat::test
