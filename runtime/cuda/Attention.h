// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention in one kernel, of many tokens and of few: what the kernels take. For the host's code and for the kernels;
// so without any header.
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

/// Attention of few tokens: keys of a KV head are divided among `splits` blocks for each 16 of its rows. Where there
/// are several, each leaves what it has, and the last of them to arrive puts it together.
struct FewTokensArguments {
  AttentionArguments attention;
  float *parts;      // [tiles of rows, splits, rows of a tile, head size of the kernel]: sums of weighted values
  float *tops;       // [tiles of rows, splits, rows of a tile, 2]: the largest score and the sum of the exponentials
  unsigned *arrived; // [tiles of rows]: zeros before and after
  int splits;
};

struct FewTokensShape {
  static constexpr int rows = 16, warps = attentionThreads / 32;
  /// Of a tile, which is a warp's, and of all warps.
  static constexpr int keys = 16, keysOfBlock = keys * warps;
  /// Tiles that a warp has in shared memory. Of large heads one must do: chips like sm_86 have 99 KiB a block.
  int stages;
  constexpr explicit FewTokensShape(int size) : stages(size <= 128 ? 2 : 1) {}
  constexpr int stageBytes(int size) const { return 2 * keys * AttentionShape::pitch(size); }
  constexpr int topsAt(int size) const {
    return rows * AttentionShape::pitch(size) + warps * stages * stageBytes(size);
  }
  constexpr int sharedBytes(int size) const { return topsAt(size) + rows * warps * 8; }

  static constexpr int tiles(int rowCount) { return (rowCount + rows - 1) / rows; }

  /// How many blocks share a tile's keys, of which rows see `span` at most, where there are `tiles` in all: as many as
  /// give every multiprocessor of today's chips two blocks (the sums' order, so their last bits, must not depend on the
  /// chip), none with less than a tile a warp, and no more than what they leave is read by one block in about a
  /// microsecond.
  static constexpr int splits(long long tiles, int rowCount, long long span, int size) {
    constexpr long long enoughBlocks = 256, mostBytes = 128 << 10, most = 64;
    auto least = [](long long x, long long y) { return x < y ? x : y; };
    long long result = least(enoughBlocks / tiles, (span + keysOfBlock - 1) / keysOfBlock);
    result = least(result, mostBytes / (least(rowCount, rows) * size * 4));
    result = least(result, most);
    return static_cast<int>(result < 1 ? 1 : result);
  }

  /// Whether this kernel is to compute `rowCount` rows (tokens times heads of a group) of each of `pairs` (batch row,
  /// KV head). It reads keys and values again for every 16 rows. The one for many tokens reads them once for
  /// AttentionShape::rows(), but has no more blocks than that gives, so only their share of the memory's speed.
  static constexpr bool suits(long long rowCount, long long pairs, int size) {
    constexpr long long multiprocessors = 128;
    long long large = (rowCount + AttentionShape(size).rows() - 1) / AttentionShape(size).rows();
    return rowCount <= rows || (rowCount + rows - 1) / rows * large * pairs <= multiprocessors;
  }
};

} // namespace caat::runtime::cuda

#endif
