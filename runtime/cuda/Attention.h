// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention of many tokens in one kernel: what it takes. For the host's code and for the kernel; so without any header.
#ifndef CAAT_RUNTIME_CUDA_ATTENTION_H
#define CAAT_RUNTIME_CUDA_ATTENTION_H

namespace caat::runtime::cuda {

constexpr int attentionThreads = 128;
/// The head sizes that there is a kernel for; others are filled up with zeros. X(SIZE), in order.
#define CAAT_ATTENTION_SIZES(X) X(32) X(64) X(80) X(96) X(128) X(192) X(256)

/// Strides in elements. The kernel's 16-bit type is that of keys and values.
struct AttentionArguments {
  const void *query, *keys, *values;
  const float *mask;   // to add, or null
  const void *lengths; // i32 or i64, of each batch row, or null
  void *out;
  long long queryBatch, queryToken, queryHead;
  long long keyBatch, keyHead, keyToken;
  long long valueBatch, valueHead, valueToken;
  long long maskBatch, maskHead, maskToken, maskKey;
  long long outBatch, outToken, outHead;
  int batch, tokens, total, past;
  int kvHeads, group, size, valueSize;
  int left, right; // -1: unlimited
  int causal, appendsByRow;
  int queryIsF32, outIsF32, lengthsAre64;
  int queryIsAligned, outIsAligned; // to 16 bytes at each row, to a pair
  float scale, softcap;
};

/// How the kernel for head sizes up to `size` is cut.
struct AttentionShape {
  int rowsOfWarp, keys;
  constexpr explicit AttentionShape(int size)
      : rowsOfWarp(size <= 128 ? 32 : 16), keys(size > 96 && size <= 128 ? 48 : 64) {}
  constexpr int rows() const { return rowsOfWarp * (attentionThreads / 32); }
  /// Bytes of a row in shared memory: an odd number of 16 bytes, so that 8 rows lie in different banks.
  static constexpr int pitch(int size) { return size * 2 + 16; }
  constexpr int sharedBytes(int size) const { return (rows() + 2 * keys) * pitch(size); }
};

} // namespace caat::runtime::cuda

#endif
