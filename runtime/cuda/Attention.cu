// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention of many tokens in one kernel, on tensor cores: scores never leave the registers. A block has some rows of
// one KV head, a row being (token, query head of the group), and goes through the keys that they see, tile by tile: the
// scores of a tile, their exponentials relative to the largest score so far, and these times the values. While it
// computes scores, the tile's values are on their way to shared memory, and while it adds up values, the next keys.
#include "Attention.h"
#include "Warp.h"

#ifdef __CUDA__
#define KERNEL extern "C" __attribute__((global, launch_bounds(attentionThreads, 2)))
#define UNROLL _Pragma("unroll")
#else
#define KERNEL extern "C"
#define UNROLL
#endif

using namespace caat::runtime::cuda;

namespace {

constexpr float log2E = 1.4426950408889634f, infinity = __builtin_inff();
/// By so much (a power of two) a score may exceed the largest of earlier tiles before what was added up is scaled anew.
constexpr float slack = 8;
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

/// A block's work for heads of up to Size elements. Pair is the 16-bit type.
template <typename Pair, int Size> struct Attention {
  static constexpr AttentionShape shape{Size};
  static constexpr int rows = shape.rows(), keys = shape.keys, pitch = AttentionShape::pitch(Size);
  static constexpr int rowTiles = shape.rowsOfWarp / 16, keyTiles = keys / 8, valueTiles = Size / 8;
  static constexpr int chunks = Size / 8; // of 16 bytes, in a row
  static constexpr unsigned queryAt = 0, keyAt = rows * pitch, valueAt = keyAt + keys * pitch;

  const AttentionArguments &a;

  /// What a block, and a thread in it, has. Found anew where it is needed: registers are scarce.
  struct Place {
    int batch, kvHead, firstRow, rowCount, group, warp, lane;

    CAAT_DEVICE explicit Place(const AttentionArguments &a) : rowCount(a.tokens * a.group), group(a.group) {
      // Heavy blocks first: where cause limits the keys, those of the last tokens.
      int block = opaque(blockNumber()), thread = opaque(threadNumber()), pairs = a.batch * a.kvHeads;
      int tiles = (rowCount + rows - 1) / rows, pair = block % pairs;
      batch = pair / a.kvHeads;
      kvHead = pair % a.kvHeads;
      firstRow = (tiles - 1 - block / pairs) * rows;
      warp = thread / 32;
      lane = thread % 32;
    }

    /// The row of which this thread has scores.
    CAAT_DEVICE int row(int m, int h) const { return firstRow + warp * shape.rowsOfWarp + m * 16 + h * 8 + lane / 4; }
    CAAT_DEVICE int token(int row) const { return row / group; }
    CAAT_DEVICE int head(int row) const { return kvHead * group + row % group; }
  };

  /// The block's rows of the query. A thread has one column of some rows.
  CAAT_DEVICE void loadQuery(const Place &place, unsigned shared) const {
    constexpr int rowsAtOnce = attentionThreads / chunks, atOnce = 4;
    int first = threadNumber() / chunks, column = threadNumber() % chunks * 8;
    if (attentionThreads % chunks != 0 && first == rowsAtOnce)
      return;
    unsigned to = shared + queryAt + first * pitch + column * 2;
    auto at = [&](int row) {
      return place.batch * a.queryBatch + place.token(row) * a.queryToken + place.head(row) * a.queryHead;
    };
    if (!a.queryIsF32 && a.queryIsAligned && a.size % 8 == 0) {
      const unsigned short *query = static_cast<const unsigned short *>(a.query);
      UNROLL for (int n = 0; n < rows; n += rowsAtOnce) if (rows % rowsAtOnce == 0 || first + n < rows) {
        int row = place.firstRow + first + n;
        bool valid = row < place.rowCount && column < a.size;
        copyToShared(to + n * pitch, valid ? query + at(row) + column : query, valid);
      }
      return;
    }
    for (int n = 0; n < rows; n += atOnce * rowsAtOnce) { // some loads under way at a time
      Bits128 bits[atOnce] = {};
      UNROLL for (int i = 0; i < atOnce; ++i) {
        int row = place.firstRow + first + n + i * rowsAtOnce;
        if (row < place.rowCount)
          bits[i] = loadAsPairs<Pair>(a, at(row), column);
      }
      UNROLL for (int i = 0; i < atOnce; ++i) if (first + n + i * rowsAtOnce < rows)
          storeShared(to + (n + i * rowsAtOnce) * pitch, bits[i]);
    }
  }

  /// `keys` rows from `first` on. A thread has one column of some rows.
  CAAT_DEVICE void startLoad(unsigned to, const unsigned short *from, long long step, int size, int first) const {
    constexpr int rowsAtOnce = attentionThreads / chunks;
    int thread = opaque(threadNumber()), row = thread / chunks, column = thread % chunks;
    if (attentionThreads % chunks != 0 && row == rowsAtOnce)
      return;
    const unsigned short *source = from + (first + row) * step + column * 8;
    to += row * pitch + column * 16;
    int left = column * 8 < size ? a.total - first - row : 0;
    UNROLL for (int n = 0; n < keys; n += rowsAtOnce) {
      if (keys % rowsAtOnce == 0 || row + n < keys)
        copyToShared(to + n * pitch, left > n ? source : from, left > n);
      source += rowsAtOnce * step;
    }
  }

  CAAT_DEVICE void run() const {
    Place place(a);
    unsigned shared = sharedBase();
    Visible visible = visibleTo(a, place.batch);
    int firstToken = place.token(place.firstRow);
    int lastToken = place.token(least(place.firstRow + rows, place.rowCount) - 1);
    // All rows see keys [sure, certain); none sees any outside of [begin, end).
    int begin = beginFor(a, visible, firstToken), end = endFor(a, visible, lastToken);
    int sure = beginFor(a, visible, lastToken), certain = endFor(a, visible, firstToken);
    begin = begin / keys * keys;

    const unsigned short *keysFrom =
        static_cast<const unsigned short *>(a.keys) + place.batch * a.keyBatch + place.kvHead * a.keyHead;
    const unsigned short *valuesFrom =
        static_cast<const unsigned short *>(a.values) + place.batch * a.valueBatch + place.kvHead * a.valueHead;

    if (begin < end)
      startLoad(shared + keyAt, keysFrom, a.keyToken, a.size, begin);
    loadQuery(place, shared);

    bool general = a.mask || a.softcap > 0 || !(a.scale > 0);
    float factor = general ? 1.0f : a.scale * log2E;
    int lane = place.lane;
    unsigned queryLane = shared + queryAt + (place.warp * shape.rowsOfWarp + lane % 16) * pitch + lane / 16 * 16;
    unsigned keyLane = shared + keyAt + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 16;
    unsigned valueLane = shared + valueAt + lane % 16 * pitch + lane / 16 * 16;

    float sums[rowTiles][valueTiles][4] = {};
    float base[rowTiles][2], total[rowTiles][2]; // minus the largest score, scaled; of the exponentials relative to it
    UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
      base[m][h] = nothing;
      total[m][h] = 0;
    }

    for (int first = begin; first < end; first += keys) {
      waitForCopies();
      synchronizeBlock();
      startLoad(shared + valueAt, valuesFrom, a.valueToken, a.valueSize, first);

      float scores[rowTiles][keyTiles][4] = {};
      UNROLL for (int k = 0; k < Size / 16; ++k) {
        unsigned q[rowTiles][4];
        UNROLL for (int m = 0; m < rowTiles; ++m) loadMatrices(q[m], queryLane + m * 16 * pitch + k * 32);
        UNROLL for (int n = 0; n < keyTiles; n += 2) {
          unsigned key[4];
          loadMatrices(key, keyLane + n * 8 * pitch + k * 32);
          UNROLL for (int m = 0; m < rowTiles; ++m) {
            multiplyAdd(scores[m][n], q[m], key[0], key[1], Pair());
            multiplyAdd(scores[m][n + 1], q[m], key[2], key[3], Pair());
          }
        }
      }
      waitForCopies();
      synchronizeBlock();
      if (first + keys < end)
        startLoad(shared + keyAt, keysFrom, a.keyToken, a.size, first + keys);

      if (general)
        finish(scores, first);
      if (first < sure || first + keys > certain)
        hide(scores, visible, first);

      float newBase[rowTiles][2];
      bool grows = false;
      UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
        float x = larger(scores[m][0][2 * h], scores[m][0][2 * h + 1]);
        UNROLL for (int n = 1; n < keyTiles; ++n)
          x = larger(x, larger(scores[m][n][2 * h], scores[m][n][2 * h + 1]));
        x = larger(x, shuffleXor(x, 1));
        x = larger(x, shuffleXor(x, 2)) * factor;
        newBase[m][h] = -larger(x, -base[m][h]);
        grows = grows || x + base[m][h] > slack;
      }
      if (anyInWarp(grows)) {
        UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
          float shrink = exponential2(newBase[m][h] - base[m][h]);
          base[m][h] = newBase[m][h];
          total[m][h] *= shrink;
          UNROLL for (int n = 0; n < valueTiles; ++n) {
            sums[m][n][2 * h] *= shrink;
            sums[m][n][2 * h + 1] *= shrink;
          }
        }
      }

      UNROLL for (int k = 0; k < keys / 16; ++k) {
        unsigned weights[rowTiles][4];
        UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int i = 0; i < 4; ++i) {
          int h = i % 2;
          const float(&score)[4] = scores[m][2 * k + i / 2];
          float x = exponential2(__builtin_fmaf(score[2 * h], factor, base[m][h]));
          float y = exponential2(__builtin_fmaf(score[2 * h + 1], factor, base[m][h]));
          total[m][h] += x + y;
          weights[m][i] = pack(x, y, Pair());
        }
        UNROLL for (int n = 0; n < valueTiles; n += 2) {
          unsigned value[4];
          loadTransposed(value, valueLane + k * 16 * pitch + n * 16);
          UNROLL for (int m = 0; m < rowTiles; ++m) {
            multiplyAdd(sums[m][n], weights[m], value[0], value[1], Pair());
            multiplyAdd(sums[m][n + 1], weights[m], value[2], value[3], Pair());
          }
        }
      }
    }

    Place last(a);
    UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
      float x = total[m][h];
      x += shuffleXor(x, 1);
      x += shuffleXor(x, 2);
      float inverse = x == 0 ? 0.0f : 1 / x; // a row that sees nothing is 0
      int row = last.row(m, h);
      if (row >= last.rowCount)
        continue;
      long long at = last.batch * a.outBatch + last.token(row) * a.outToken + last.head(row) * a.outHead;
      UNROLL for (int n = 0; n < valueTiles; ++n) storePair<Pair>(
          a, at, n * 8 + last.lane % 4 * 2, sums[m][n][2 * h] * inverse, sums[m][n][2 * h + 1] * inverse);
    }
  }

  /// Scale, soft-cap and mask, in powers of two.
  CAAT_DEVICE void finish(float (&scores)[rowTiles][keyTiles][4], int first) const {
    Place place(a);
    UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
      int row = least(place.row(m, h), place.rowCount - 1);
      const float *mask =
          a.mask + place.batch * a.maskBatch + place.head(row) * a.maskHead + place.token(row) * a.maskToken;
      UNROLL for (int n = 0; n < keyTiles; ++n) UNROLL for (int i = 0; i < 2; ++i) {
        float x = scores[m][n][2 * h + i] * a.scale;
        if (a.softcap > 0) // c tanh(x / c)
          x = a.softcap * (1 - 2 * reciprocal(1 + exponential2(x * (2 * log2E) / a.softcap)));
        int key = first + n * 8 + place.lane % 4 * 2 + i;
        if (a.mask && key < a.total) {
          x += mask[key * a.maskKey];
          x = x < masked && x > -infinity ? masked : x;
        }
        scores[m][n][2 * h + i] = x * log2E;
      }
    }
  }

  /// -inf where a row does not see a key.
  CAAT_DEVICE void hide(float (&scores)[rowTiles][keyTiles][4], const Visible &visible, int first) const {
    Place place(a);
    UNROLL for (int m = 0; m < rowTiles; ++m) UNROLL for (int h = 0; h < 2; ++h) {
      int token = place.token(place.row(m, h));
      int begin = beginFor(a, visible, token) - first, end = endFor(a, visible, token) - first;
      UNROLL for (int n = 0; n < keyTiles; ++n) UNROLL for (int i = 0; i < 2; ++i) {
        int key = n * 8 + place.lane % 4 * 2 + i;
        if (key < begin || key >= end)
          scores[m][n][2 * h + i] = -infinity;
      }
    }
  }
};

template <typename Pair, int Size> CAAT_DEVICE void attend(const AttentionArguments &a) {
  Attention<Pair, Size>{a}.run();
}

} // namespace

#define CAAT_ATTENTION_KERNEL(TYPE, PAIR, SIZE)                                                                        \
  KERNEL void caat_attention_##TYPE##_##SIZE(AttentionArguments a) { attend<PAIR, SIZE>(a); }
#ifdef CAAT_ATTENTION_SIZE // one to a module, which is loaded when it is used
#define CAAT_ATTENTION(TYPE, PAIR, SIZE) CAAT_ATTENTION_KERNEL(TYPE, PAIR, SIZE)
#ifdef CAAT_ATTENTION_BF16
CAAT_ATTENTION(bf16, BFloat16Pair, CAAT_ATTENTION_SIZE)
#else
CAAT_ATTENTION(f16, HalfPair, CAAT_ATTENTION_SIZE)
#endif
#else
#define CAAT_ATTENTION(SIZE)                                                                                           \
  CAAT_ATTENTION_KERNEL(bf16, BFloat16Pair, SIZE)                                                                      \
  CAAT_ATTENTION_KERNEL(f16, HalfPair, SIZE)
CAAT_ATTENTION_SIZES(CAAT_ATTENTION)
#endif
