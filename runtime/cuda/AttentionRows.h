// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the kernels of attention share: which keys a token sees, its row of the query, its scores and its result.
#ifndef CAAT_RUNTIME_CUDA_ATTENTIONROWS_H
#define CAAT_RUNTIME_CUDA_ATTENTIONROWS_H

#include "Attention.h"
#include "Warp.h"

namespace caat::runtime::cuda {

constexpr float log2E = 1.4426950408889634f, infinity = __builtin_inff();
/// Minus the largest score where there is none yet, and the least number that a mask makes of a score: what is masked
/// by large numbers, not by -inf, counts where a row has nothing else.
constexpr float nothing = 1e30f, masked = -1e29f;

/// The tokens' place among the keys of a batch row.
struct Visible {
  int first; // of token 0, among the keys
  int end;   // of the valid keys
};

CAAT_DEVICE int least(int x, int y) { return x < y ? x : y; }
CAAT_DEVICE int most(int x, int y) { return x > y ? x : y; }

CAAT_DEVICE Visible visibleTo(const AttentionArguments &a, int batch) {
  if (!a.lengths)
    return {a.past, a.total};
  int length = a.lengthsAre64 ? static_cast<int>(static_cast<const long long *>(a.lengths)[batch])
                              : static_cast<const int *>(a.lengths)[batch];
  if (!a.appendsByRow) // a cache that others fill: the tokens are the last of the valid ones
    return {length - a.tokens, most(least(length, a.total), 0)};
  int first = least(most(length - a.tokens, 0), a.past);
  return {first, first + a.tokens};
}

CAAT_DEVICE int endFor(const AttentionArguments &a, const Visible &v, int token) {
  int position = v.first + token, end = v.end;
  if (a.causal)
    end = least(end, position + 1);
  if (a.right >= 0)
    end = least(end, position + a.right + 1);
  return most(end, 0);
}

CAAT_DEVICE int beginFor(const AttentionArguments &a, const Visible &v, int token) {
  return a.left < 0 ? 0 : most(0, v.first + token - a.left);
}

template <typename Pair> CAAT_DEVICE Bits128 loadAsPairs(const AttentionArguments &a, long long at, int column) {
  Bits128 bits{};
  if (a.queryIsF32) {
    float x[8] = {};
    const float *from = static_cast<const float *>(a.query) + at + column;
    if (a.queryIsAligned && column + 8 <= a.size) {
      __builtin_memcpy(x, __builtin_assume_aligned(from, 16), 32);
    } else {
      UNROLL for (int i = 0; i < 8; ++i) x[i] = column + i < a.size ? from[i] : 0;
    }
    UNROLL for (int i = 0; i < 4; ++i) bits.at[i] = pack(x[2 * i], x[2 * i + 1], Pair());
    return bits;
  }
  const unsigned short *from = static_cast<const unsigned short *>(a.query) + at + column;
  if (a.queryIsAligned && column + 8 <= a.size)
    return *reinterpret_cast<const Bits128 *>(from);
  unsigned short x[8];
  UNROLL for (int i = 0; i < 8; ++i) x[i] = column + i < a.size ? from[i] : 0;
  UNROLL for (int i = 0; i < 4; ++i) bits.at[i] = x[2 * i] | static_cast<unsigned>(x[2 * i + 1]) << 16;
  return bits;
}

template <typename Pair>
CAAT_DEVICE void storePair(const AttentionArguments &a, long long at, int column, float x, float y) {
  at += column;
  if (a.outIsF32) {
    float *to = static_cast<float *>(a.out) + at;
    if (a.outIsAligned && column + 2 <= a.valueSize) {
      float both[2] = {x, y};
      __builtin_memcpy(__builtin_assume_aligned(to, 8), both, 8);
      return;
    }
    if (column < a.valueSize)
      to[0] = x;
    if (column + 1 < a.valueSize)
      to[1] = y;
    return;
  }
  unsigned bits = pack(x, y, Pair());
  unsigned short *to = static_cast<unsigned short *>(a.out) + at;
  if (a.outIsAligned && column + 2 <= a.valueSize) {
    *reinterpret_cast<unsigned *>(to) = bits;
    return;
  }
  if (column < a.valueSize)
    to[0] = static_cast<unsigned short>(bits);
  if (column + 1 < a.valueSize)
    to[1] = static_cast<unsigned short>(bits >> 16);
}

/// `Rows` rows of a KV head, from `firstRow` on, to shared memory: row r is token r / group, query head r % group. A
/// thread has one column of some rows.
template <typename Pair, int Size, int Rows>
CAAT_DEVICE void loadQuery(const AttentionArguments &a, int batch, int kvHead, int firstRow, unsigned to) {
  constexpr int chunks = Size / 8, pitch = AttentionShape::pitch(Size); // chunks of 16 bytes
  constexpr int rowsAtOnce = attentionThreads / chunks, atOnce = Rows / rowsAtOnce < 4 ? 1 : 4;
  int first = threadNumber() / chunks, column = threadNumber() % chunks * 8, count = a.tokens * a.group;
  if (attentionThreads % chunks != 0 && first == rowsAtOnce)
    return;
  to += first * pitch + column * 2;
  auto at = [&](int row) {
    return batch * a.queryBatch + row / a.group * a.queryToken + (kvHead * a.group + row % a.group) * a.queryHead;
  };
  if (!a.queryIsF32 && a.queryIsAligned && a.size % 8 == 0) {
    const unsigned short *query = static_cast<const unsigned short *>(a.query);
    UNROLL for (int n = 0; n < Rows; n += rowsAtOnce) if (Rows % rowsAtOnce == 0 || first + n < Rows) {
      int row = firstRow + first + n;
      bool valid = row < count && column < a.size;
      copyToShared(to + n * pitch, valid ? query + at(row) + column : query, valid);
    }
    return;
  }
  for (int n = 0; n < Rows; n += atOnce * rowsAtOnce) { // some loads under way at a time
    Bits128 bits[atOnce] = {};
    UNROLL for (int i = 0; i < atOnce; ++i) {
      int row = firstRow + first + n + i * rowsAtOnce;
      if (row < count)
        bits[i] = loadAsPairs<Pair>(a, at(row), column);
    }
    UNROLL for (int i = 0; i < atOnce; ++i) if (first + n + i * rowsAtOnce < Rows)
        storeShared(to + (n + i * rowsAtOnce) * pitch, bits[i]);
  }
}

/// Whether scores need more than the scale.
CAAT_DEVICE bool isGeneral(const AttentionArguments &a) { return a.mask || a.softcap > 0 || !(a.scale > 0); }

CAAT_DEVICE const float *maskOf(const AttentionArguments &a, int batch, int head, int token) {
  return a.mask + batch * a.maskBatch + head * a.maskHead + token * a.maskToken;
}

/// Scale, soft-cap and mask of a score, in powers of two. `mask` is its row's.
CAAT_DEVICE float finishScore(const AttentionArguments &a, float x, const float *mask, int key) {
  x *= a.scale;
  if (a.softcap > 0) // c tanh(x / c)
    x = a.softcap * (1 - 2 * reciprocal(1 + exponential2(x * (2 * log2E) / a.softcap)));
  if (a.mask && key < a.total) {
    x += mask[key * a.maskKey];
    x = x < masked && x > -infinity ? masked : x;
  }
  return x * log2E;
}

} // namespace caat::runtime::cuda

/// Makes kernels by CAAT_ATTENTION_KERNEL(TYPE, PAIR, SIZE): the one of a module, which is loaded when it is used, or
/// all of them on the host.
#define CAAT_ATTENTION_MAKE(TYPE, PAIR, SIZE) CAAT_ATTENTION_KERNEL(TYPE, PAIR, SIZE) // with the number of SIZE
#ifndef CAAT_ATTENTION_SIZE
#define CAAT_ATTENTION_OF_SIZE(SIZE)                                                                                   \
  CAAT_ATTENTION_MAKE(bf16, BFloat16Pair, SIZE)                                                                        \
  CAAT_ATTENTION_MAKE(f16, HalfPair, SIZE)
#define CAAT_ATTENTION_KERNELS CAAT_ATTENTION_SIZES(CAAT_ATTENTION_OF_SIZE)
#elif defined(CAAT_ATTENTION_BF16)
#define CAAT_ATTENTION_KERNELS CAAT_ATTENTION_MAKE(bf16, BFloat16Pair, CAAT_ATTENTION_SIZE)
#else
#define CAAT_ATTENTION_KERNELS CAAT_ATTENTION_MAKE(f16, HalfPair, CAAT_ATTENTION_SIZE)
#endif

#endif
