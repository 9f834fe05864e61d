// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention of few tokens in one kernel: what it takes is reading keys and values, so everything serves to have many of
// them on their way at once. A block has 16 rows of a KV head, a row being (token, query head of the group), and a part
// of the keys that they see. Each of its warps goes through tiles of 16 keys for itself, with a largest score and sums
// of its own, while its next tiles are on their way to shared memory; at the end the block adds up its warps. Where
// several blocks share the keys, each leaves its sums in the device's memory, and the one that comes last adds them up,
// in the order of the keys whoever it is.
#include "AttentionRows.h"

using namespace caat::runtime::cuda;

namespace {

/// A block's work for heads of up to Size elements. Pair is the 16-bit type.
template <typename Pair, int Size> struct FewTokens {
  static constexpr FewTokensShape shape{Size};
  static constexpr int rows = shape.rows, keys = shape.keys, stages = shape.stages, warps = shape.warps;
  static constexpr int pitch = AttentionShape::pitch(Size), chunks = Size / 8, steps = Size / 16, valueTiles = Size / 8;
  static constexpr unsigned stageBytes = shape.stageBytes(Size), stageAt = rows * pitch, topsAt = shape.topsAt(Size);
  /// Of a row of sums in shared memory, so that the rows of a warp's product lie in different banks.
  static constexpr unsigned sumPitch = (Size + 8) * 4;
  static constexpr bool keepsQuery = Size <= 128; // in registers
  static_assert(rows * sumPitch <= stages * stageBytes, "a warp's sums lie where its tiles were");
  static_assert(64 * rows * 8 <= warps * stages * stageBytes, "as do the largest scores of all blocks");

  const FewTokensArguments &f;
  const AttentionArguments &a;

  struct Place {
    int batch, kvHead, tile, split, firstRow, rowCount; // rows of this tile
    CAAT_DEVICE explicit Place(const FewTokensArguments &f) {
      const AttentionArguments &a = f.attention;
      // Blocks of the same keys side by side.
      int all = a.tokens * a.group, tiles = shape.tiles(all), block = blockNumber(), pair = block / tiles / f.splits;
      batch = pair / a.kvHeads;
      kvHead = pair % a.kvHeads;
      split = block / tiles % f.splits;
      tile = pair * tiles + block % tiles;
      firstRow = block % tiles * rows;
      rowCount = least(rows, all - firstRow);
    }
  };

  struct Part { // of the keys
    int first, end;
  };
  /// Of those that tokens `firstToken` to `lastToken` see, what this block has.
  CAAT_DEVICE Part partOf(const Visible &visible, int firstToken, int lastToken, int split) const {
    int begin = beginFor(a, visible, firstToken), end = endFor(a, visible, lastToken);
    int step = (most(end - begin, 0) + f.splits - 1) / f.splits;
    step = (step + shape.keysOfBlock - 1) / shape.keysOfBlock * shape.keysOfBlock;
    int first = begin + split * step;
    return {first, least(end, first + step)};
  }

  template <typename Each> CAAT_DEVICE void eachChunk(const Each &each) const {
    UNROLL for (int n = 0; n < keys * chunks / 32; ++n) {
      int chunk = n * 32 + threadNumber() % 32;
      each(chunk / chunks, chunk % chunks);
    }
  }

  /// The keys and the values of a tile, by one warp.
  CAAT_DEVICE void startTile(unsigned to, const unsigned short *keysFrom, const unsigned short *valuesFrom, int first,
                             int end) const {
    if (first < end)
      eachChunk([&](int key, int chunk) {
        auto start = [&](unsigned at, const unsigned short *from, long long step, int size) {
          bool valid = first + key < end && chunk * 8 < size;
          copyToShared(at + key * pitch + chunk * 16, valid ? from + (first + key) * step + chunk * 8 : from, valid);
        };
        start(to, keysFrom, a.keyToken, a.size);
        start(to + keys * pitch, valuesFrom, a.valueToken, a.valueSize);
      });
    endGroupOfCopies();
  }

  CAAT_DEVICE void prefetchTile(const unsigned short *keysFrom, const unsigned short *valuesFrom, int first,
                                int end) const {
    eachChunk([&](int key, int chunk) {
      if (chunk % 4 != 0 || first + key >= end) // 64 bytes
        return;
      if (chunk * 8 < a.size)
        prefetch(keysFrom + (first + key) * a.keyToken + chunk * 8);
      if (chunk * 8 < a.valueSize)
        prefetch(valuesFrom + (first + key) * a.valueToken + chunk * 8);
    });
  }

  CAAT_DEVICE void run() const {
    letNextStart();
    const Place place(f);
    unsigned shared = sharedBase();
    int thread = threadNumber(), lane = thread % 32, warp = thread / 32;
    const unsigned short *keysFrom =
        static_cast<const unsigned short *>(a.keys) + place.batch * a.keyBatch + place.kvHead * a.keyHead;
    const unsigned short *valuesFrom =
        static_cast<const unsigned short *>(a.values) + place.batch * a.valueBatch + place.kvHead * a.valueHead;
    int firstToken = place.firstRow / a.group, lastToken = (place.firstRow + place.rowCount - 1) / a.group;
    if (!a.lengths) { // else it is not known yet which keys
      Part part = partOf({a.past, a.total}, firstToken, lastToken, place.split);
      UNROLL for (int s = 0; s < stages; ++s)
          prefetchTile(keysFrom, valuesFrom, part.first + s * shape.keysOfBlock + warp * keys, part.end);
    }
    waitForBefore();

    loadQuery<Pair, Size, rows>(a, place.batch, place.kvHead, place.firstRow, shared);
    endGroupOfCopies();
    const Visible visible = visibleTo(a, place.batch);
    const Part part = partOf(visible, firstToken, lastToken, place.split);
    const int first = part.first + warp * keys;
    const unsigned mine = shared + stageAt + warp * stages * stageBytes;
    UNROLL for (int s = 0; s < stages; ++s)
        startTile(mine + s * stageBytes, keysFrom, valuesFrom, first + s * shape.keysOfBlock, part.end);
    waitForCopiesBut<stages>();
    synchronizeBlock(); // the query is there

    const unsigned queryLane = shared + lane % 16 * pitch + lane / 16 * 16;
    unsigned query[keepsQuery ? steps : 1][4];
    if (keepsQuery) {
      UNROLL for (int k = 0; k < (keepsQuery ? steps : 1); ++k) loadMatrices(query[k], queryLane + k * 32);
    }

    // Of the two rows of which this thread has scores: the keys that it sees, and its mask.
    int begin[2], end[2];
    const float *mask[2];
    UNROLL for (int h = 0; h < 2; ++h) {
      int row = place.firstRow + least(lane / 4 + h * 8, place.rowCount - 1), token = row / a.group;
      begin[h] = beginFor(a, visible, token);
      end[h] = least(endFor(a, visible, token), part.end);
      mask[h] = maskOf(a, place.batch, place.kvHead * a.group + row % a.group, token);
    }
    const bool general = isGeneral(a);
    const float factor = general ? 1.0f : a.scale * log2E;

    float sums[valueTiles][4] = {};
    float top[2] = {-nothing, -nothing}, total[2] = {}; // the largest score, scaled; of the exponentials relative to it
    unsigned at = mine;
    for (int tile = first; tile < part.end; tile += shape.keysOfBlock) {
      waitForCopiesBut<stages - 1>();
      synchronizeWarp();
      float scores[2][4] = {};
      const unsigned keyLane = at + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 16;
      UNROLL for (int k = 0; k < steps; ++k) {
        unsigned(&q)[4] = query[keepsQuery ? k : 0], key[4];
        if (!keepsQuery)
          loadMatrices(q, queryLane + k * 32);
        loadMatrices(key, keyLane + k * 32);
        multiplyAdd(scores[0], q, key[0], key[1], Pair());
        multiplyAdd(scores[1], q, key[2], key[3], Pair());
      }

      unsigned weights[4];
      float shrink[2];
      bool grows = false;
      UNROLL for (int h = 0; h < 2; ++h) {
        float x[4];
        UNROLL for (int i = 0; i < 4; ++i) {
          int key = tile + i / 2 * 8 + lane % 4 * 2 + i % 2;
          float score = scores[i / 2][2 * h + i % 2];
          score = general ? finishScore(a, score, mask[h], key) : score * factor;
          x[i] = key >= begin[h] && key < end[h] ? score : -infinity;
        }
        float largest = larger(larger(x[0], x[1]), larger(x[2], x[3]));
        largest = larger(largest, shuffleXor(largest, 1));
        largest = larger(larger(largest, shuffleXor(largest, 2)), top[h]);
        grows = grows || largest > top[h];
        shrink[h] = exponential2(top[h] - largest);
        top[h] = largest;
        total[h] *= shrink[h];
        UNROLL for (int i = 0; i < 4; ++i) {
          x[i] = exponential2(x[i] - largest);
          total[h] += x[i];
        }
        weights[h] = pack(x[0], x[1], Pair());
        weights[h + 2] = pack(x[2], x[3], Pair());
      }
      if (anyInWarp(grows)) {
        UNROLL for (int n = 0; n < valueTiles; ++n) UNROLL for (int i = 0; i < 4; ++i) sums[n][i] *= shrink[i / 2];
      }

      const unsigned valueLane = at + keys * pitch + lane % 16 * pitch + lane / 16 * 16;
      UNROLL for (int n = 0; n < valueTiles; n += 2) {
        unsigned value[4];
        loadTransposed(value, valueLane + n * 16);
        multiplyAdd(sums[n], weights, value[0], value[1], Pair());
        multiplyAdd(sums[n + 1], weights, value[2], value[3], Pair());
      }
      synchronizeWarp();
      startTile(at, keysFrom, valuesFrom, tile + stages * shape.keysOfBlock, part.end);
      at = at == mine && stages > 1 ? mine + stageBytes : mine;
    }
    waitForCopies();
    synchronizeWarp();

    UNROLL for (int h = 0; h < 2; ++h) {
      float x = total[h];
      x += shuffleXor(x, 1);
      x += shuffleXor(x, 2);
      int row = lane / 4 + h * 8;
      if (row >= place.rowCount)
        continue;
      if (lane % 4 == 0)
        storeShared(shared + topsAt + (row * warps + warp) * 8, top[h], x);
      UNROLL for (int n = 0; n < valueTiles; ++n) storeShared(mine + row * sumPitch + (n * 8 + lane % 4 * 2) * 4,
                                                              sums[n][2 * h], sums[n][2 * h + 1]);
    }
    synchronizeBlock();
    addWarps(place, shared);
    if (f.splits > 1)
      addBlocks(place, shared);
  }

  /// `put(row, column, four sums, largest score, sum of exponentials)`, of everything that there is; four columns a
  /// thread.
  template <typename Put> CAAT_DEVICE void eachFour(const Place &place, const Put &put) const {
    for (int i = threadNumber(); i < place.rowCount * (Size / 4); i += attentionThreads)
      put(i / (Size / 4), i % (Size / 4) * 4);
  }

  CAAT_DEVICE void finish(const Place &place, int row, int column, const FourFloats &x, float total) const {
    float inverse = total == 0 ? 0.0f : 1 / total; // a row that sees nothing is 0
    row += place.firstRow;
    long long at =
        place.batch * a.outBatch + row / a.group * a.outToken + (place.kvHead * a.group + row % a.group) * a.outHead;
    storePair<Pair>(a, at, column, x.at[0] * inverse, x.at[1] * inverse);
    storePair<Pair>(a, at, column + 2, x.at[2] * inverse, x.at[3] * inverse);
  }

  /// What block `split` leaves of a row of this tile.
  CAAT_DEVICE long long partAt(const Place &place, int split, int row) const {
    return (static_cast<long long>(place.tile) * f.splits + split) * least(rows, a.tokens * a.group) + row;
  }

  CAAT_DEVICE void addWarps(const Place &place, unsigned shared) const {
    eachFour(place, [&](int row, int column) {
      float tops[warps], totals[warps];
      UNROLL for (int w = 0; w < warps; w += 2) {
        FourFloats x = loadShared(shared + topsAt + (row * warps + w) * 8);
        tops[w] = x.at[0];
        totals[w] = x.at[1];
        tops[w + 1] = x.at[2];
        totals[w + 1] = x.at[3];
      }
      float top = larger(larger(tops[0], tops[1]), larger(tops[2], tops[3])), total = 0;
      FourFloats sum{};
      UNROLL for (int w = 0; w < warps; ++w) {
        float weight = exponential2(tops[w] - top);
        FourFloats x = loadShared(shared + stageAt + w * stages * stageBytes + row * sumPitch + column * 4);
        total += weight * totals[w];
        UNROLL for (int i = 0; i < 4; ++i) sum.at[i] += weight * x.at[i];
      }
      if (f.splits == 1)
        return finish(place, row, column, sum, total);
      long long at = partAt(place, place.split, row);
      *reinterpret_cast<FourFloats *>(f.parts + at * Size + column) = sum;
      if (column == 0) {
        f.tops[2 * at] = top;
        f.tops[2 * at + 1] = total;
      }
    });
  }

  CAAT_DEVICE void addBlocks(const Place &place, unsigned shared) const {
    synchronizeBlock();
    if (threadNumber() == 0)
      storeShared(shared + topsAt, isLastToArrive(f.arrived + place.tile, f.splits) ? 1.0f : 0.0f, 0.0f);
    synchronizeBlock();
    if (loadShared(shared + topsAt).at[0] == 0)
      return;
    // Largest scores and sums of exponentials [splits, rows].
    for (int i = threadNumber(); i < f.splits * place.rowCount; i += attentionThreads) {
      const float *from = f.tops + 2 * partAt(place, i / place.rowCount, i % place.rowCount);
      storeShared(shared + stageAt + i * 8, from[0], from[1]);
    }
    synchronizeBlock();
    eachFour(place, [&](int row, int column) {
      auto ofSplit = [&](int split) { return loadSharedPair(shared + stageAt + (split * place.rowCount + row) * 8); };
      float top = -nothing, total = 0;
      for (int split = 0; split < f.splits; ++split)
        top = larger(top, ofSplit(split).at[0]);
      FourFloats sum{};
      const float *from = f.parts + partAt(place, 0, row) * Size + column;
      const long long step = (partAt(place, 1, row) - partAt(place, 0, row)) * Size;
      constexpr int atOnce = 8; // loads under way
      for (int first = 0; first < f.splits; first += atOnce) {
        FourFloats x[atOnce] = {};
        UNROLL for (int i = 0; i < atOnce; ++i) if (first + i < f.splits) x[i] =
            *reinterpret_cast<const FourFloats *>(from + (first + i) * step);
        UNROLL for (int i = 0; i < atOnce; ++i) if (first + i < f.splits) {
          TwoFloats known = ofSplit(first + i);
          float weight = exponential2(known.at[0] - top);
          total += weight * known.at[1];
          UNROLL for (int c = 0; c < 4; ++c) sum.at[c] += weight * x[i].at[c];
        }
      }
      finish(place, row, column, sum, total);
    });
  }
};

template <typename Pair, int Size> CAAT_DEVICE void attendFew(const FewTokensArguments &f) {
  FewTokens<Pair, Size>{f, f.attention}.run();
}

} // namespace

#define CAAT_ATTENTION_KERNEL(TYPE, PAIR, SIZE)                                                                        \
  CAAT_KERNEL(attentionThreads, 2) void caat_attention_few_##TYPE##_##SIZE(FewTokensArguments f) {                     \
    attendFew<PAIR, SIZE>(f);                                                                                          \
  }
CAAT_ATTENTION_KERNELS
#undef CAAT_ATTENTION_KERNEL
