// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights in blocks of few bits as they lie in a device's memory, and what kernels that read them take. For the host's
// code, for the kernels, and for a driver that runs them on the host in tests; so without any header but its like.
#ifndef CAAT_RUNTIME_CUDA_BLOCKWEIGHTS_H
#define CAAT_RUNTIME_CUDA_BLOCKWEIGHTS_H

#include "Kernels.h"

namespace caat::runtime::cuda {

/// A weight [n, k] of codes of `bits` bits, in blocks of `size` along k: a weight is (code - zero) * scale, or
/// code * scale + minimum. In three parts, each of tiles of 16 rows, filled up with zeros:
///
/// - codes: chunks of 512 bytes, [tile, chunk, thread of a warp, 4 words]. What a thread loads at once is what it needs
///   for products on tensor cores (mma.m16n8k16, whose A is the weight): thread 4g + t has codes of rows g and g + 8.
/// - scales: [tile, block, g, 2], those of rows g and g + 8 side by side.
/// - offsets: the same, a byte each for zeros, a minimum of the scales' type, or nothing.
struct BlockWeight {
  enum Offset { Middle, Zeros, Minimum }; // middle: zero is half of the codes
  const unsigned *codes;
  const void *scales, *offsets;
  long long n, k;
  int bits, size;
  int hasWideScales; // f32, else f16
  int offset;

  static constexpr int tileRows = 16, lanes = 32, words = 4;
  /// Codes of a row in a chunk: 256 bits. Like a block's they are a power of two, so that kernels need not divide.
  static constexpr int chunkOf(int bits) { return bits == 4 ? 64 : 32; }
  constexpr int chunk() const { return chunkOf(bits); }
  constexpr long long tiles() const { return (n + tileRows - 1) / tileRows; }
  constexpr long long chunks() const { return (k + chunk() - 1) >> (bits == 4 ? 6 : 5); }
  constexpr int sizeBits() const { return __builtin_ctz(static_cast<unsigned>(size)); }
  /// Of a row, with those that fill up its last chunk.
  constexpr long long blocks() const { return chunks() * chunk() >> sizeBits(); }
  /// Codes that have one scale and follow each other in a row of x: what a warp multiplies at once.
  constexpr int span() const { return size == 16 ? 16 : 32; }

  constexpr long long codeWords() const { return tiles() * chunks() * (lanes * words); }
  constexpr long long scaleCount() const { return tiles() * blocks() * tileRows; }
  constexpr int scaleBytes() const { return hasWideScales ? 4 : 2; }
  constexpr int offsetBytes() const { return offset == Middle ? 0 : offset == Zeros ? 1 : scaleBytes(); }
  constexpr long long bytes() const { return codeWords() * 4 + scaleCount() * (scaleBytes() + offsetBytes()); }

  /// Where a code belongs: in a tile and a chunk, that of number `code`, from the lowest bits on, in a thread's word.
  struct Place {
    int row, k;
  };
  constexpr Place placeOf(int lane, int word, int code) const {
    int t = lane % 4;
    // Of the thread's words for a product: register 0 to 3 of A, and which half of it.
    int product = bits == 4 ? word : word / 2;
    int part = bits == 4 ? code % 4 : word % 2 * 2 + code / 2, half = bits == 4 ? code / 4 : code % 2;
    // A sum may take k in any order: so a thread's codes follow each other, and what it needs of x is one load.
    int mine = part / 2 * 2 + half;
    int k = span() == 16 ? product * 16 + t * 4 + mine : product / 2 * 32 + t * 8 + product % 2 * 4 + mine;
    return {lane / 4 + part % 2 * 8, k};
  }
};

/// From the form of a file, `rows` rows of `rowBytes` bytes: codes (of 4 bits the lower ones first), from `scalesAt` on
/// scales, from `offsetsAt` on offsets. They become those from row `first` on, a multiple of 16; behind the last ones
/// the tile is filled up.
struct RepackArguments {
  BlockWeight to;
  const unsigned char *from;
  long long rows, rowBytes, scalesAt, offsetsAt, first;
};

/// Codes that are all equally likely, for weights in [-scale, scale).
struct RandomBlocksArguments {
  BlockWeight to;
  float scale;
  unsigned seed;
};

/// to[rows, k] becomes the weight's rows from `first` on, a multiple of 16.
struct UnpackArguments {
  BlockWeight from;
  void *to;
  long long first, rows;
};

/// Each row of x in three of bf16 whose sum it is, to the bit: y[rows, 3, k].
constexpr int splitParts = 3;
struct SplitArguments {
  const float *x;
  unsigned short *y;
  long long rows, k;
};

/// y[m, n] = f((y +) x[m, k] w[n, k] + bias). x is [m, parts, k] of the kernel's 16-bit type, and lies at a multiple of
/// 16 bytes: a row is the sum of its parts. Block b computes 16 columns, tile b / groups, of rowsOf(parts) rows.
struct BlockRowsArguments {
  BlockWeight w;
  const void *x;
  void *y;
  long long m;
  int parts, groups;
  int isWide; // y is f32, else of the 16-bit type
  int accumulate;
  EpilogueOf epilogue;

  static constexpr int rowsOf(int parts) { return 8 / parts; }
};
constexpr int blockRowsThreads = 256, blockRowsShared = blockRowsThreads / 32 * 16 * 8 * 4;
/// Of blocks for the same weights, each of which reads and converts them: from the L2 cache, where all goes well, and
/// in about 4 instructions a code of 4 bits. Unpacking takes as long as ten of them.
constexpr int mostBlockGroups = 8;

} // namespace caat::runtime::cuda

#endif
