// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention of many tokens in one kernel, on tensor cores: scores never leave the registers. A block has some rows of
// one KV head, a row being (token, query head of the group), and goes through the keys that they see, tile by tile: the
// scores of a tile, their exponentials relative to the largest score so far, and these times the values. While it
// computes scores, the tile's values are on their way to shared memory, and while it adds up values, the next keys.
#include "AttentionRows.h"

using namespace caat::runtime::cuda;

namespace {

/// By so much (a power of two) a score may exceed the largest of earlier tiles before what was added up is scaled anew.
constexpr float slack = 8;

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
    loadQuery<Pair, Size, rows>(a, place.batch, place.kvHead, place.firstRow, shared + queryAt);

    bool general = isGeneral(a);
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
      const float *mask = maskOf(a, place.batch, place.head(row), place.token(row));
      UNROLL for (int n = 0; n < keyTiles; ++n) UNROLL for (int i = 0; i < 2; ++i) {
        int key = first + n * 8 + place.lane % 4 * 2 + i;
        scores[m][n][2 * h + i] = finishScore(a, scores[m][n][2 * h + i], mask, key);
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
  CAAT_KERNEL(attentionThreads, 2) void caat_attention_##TYPE##_##SIZE(AttentionArguments a) { attend<PAIR, SIZE>(a); }
CAAT_ATTENTION_KERNELS
#undef CAAT_ATTENTION_KERNEL
