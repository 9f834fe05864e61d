// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights in blocks of few bits, from the form of files to that of the device, and made up; rows of f32 for products with
// them. Part of Kernels.cu.
#include "BlockWeights.h"

/// A code of a row in the form of a file.
DEVICE UInt codeIn(const Byte *row, int bits, long long k) {
  return bits == 8 ? row[k] : static_cast<UInt>(row[k / 2] >> (k % 2 * 4)) & 15u;
}

DEVICE UInt *codesOf(const BlockWeight &w) { return const_cast<UInt *>(w.codes); }

/// Bytes of scales or offsets, of `size` each: rows g and g + 8 of a tile side by side.
DEVICE void repackFactors(const RepackArguments &a, Byte *to, long long at, int size) {
  const BlockWeight &w = a.to;
  long long blocks = w.blocks(), tiles = (a.rows + w.tileRows - 1) / w.tileRows;
  to += a.first * blocks * size;
  GRID(i, tiles * blocks * w.tileRows) {
    long long row = i / w.tileRows / blocks * w.tileRows + i % w.tileRows / 2 + i % 2 * 8;
    long long block = i / w.tileRows % blocks;
    bool isThere = row < a.rows && block < w.k / w.size;
    for (int byte = 0; byte < size; ++byte)
      to[i * size + byte] = isThere ? a.from[row * a.rowBytes + at + block * size + byte] : Byte(0);
  }
}

KERNEL void caat_blocks_repack(RepackArguments a) {
  const BlockWeight &w = a.to;
  long long tiles = (a.rows + w.tileRows - 1) / w.tileRows, ofTile = w.chunks() * (w.lanes * w.words);
  UInt *codes = codesOf(w) + a.first / w.tileRows * ofTile;
  GRID(i, tiles * ofTile) {
    auto word = static_cast<int>(i % w.words), lane = static_cast<int>(i / w.words % w.lanes);
    long long chunk = i / (w.words * w.lanes) % w.chunks(), tile = i / ofTile;
    UInt all = 0;
    for (int code = 0; code < 32 / w.bits; ++code) {
      BlockWeight::Place place = w.placeOf(lane, word, code);
      long long row = tile * w.tileRows + place.row, k = chunk * w.chunk() + place.k;
      if (row < a.rows && k < w.k)
        all |= codeIn(a.from + row * a.rowBytes, w.bits, k) << (code * w.bits);
    }
    codes[i] = all;
  }
  repackFactors(a, static_cast<Byte *>(const_cast<void *>(w.scales)), a.scalesAt, w.scaleBytes());
  if (w.offsetBytes() > 0)
    repackFactors(a, static_cast<Byte *>(const_cast<void *>(w.offsets)), a.offsetsAt, w.offsetBytes());
}

/// Of a place, for made-up numbers.
DEVICE UInt hashOf(long long place, UInt seed) {
  UInt x = static_cast<UInt>(place) * 0x9e3779b9u ^ seed;
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

KERNEL void caat_blocks_random(RandomBlocksArguments a) {
  const BlockWeight &w = a.to;
  GRID(i, w.codeWords()) codesOf(w)[i] = hashOf(i, a.seed);
  int middle = 1 << (w.bits - 1);
  float scale = a.scale / static_cast<float>(middle);
  auto fill = [&](const void *to, float x) {
    if (w.hasWideScales)
      GRID(i, w.scaleCount()) static_cast<float *>(const_cast<void *>(to))[i] = x;
    else
      GRID(i, w.scaleCount()) static_cast<_Float16 *>(const_cast<void *>(to))[i] = static_cast<_Float16>(x);
  };
  fill(w.scales, scale);
  if (w.offset == BlockWeight::Minimum)
    fill(w.offsets, -a.scale);
  else if (w.offset == BlockWeight::Zeros)
    GRID(i, w.scaleCount()) static_cast<Byte *>(const_cast<void *>(w.offsets))[i] = static_cast<Byte>(middle);
}

/// Cut off, so that what is left has 8 bits less, and nothing overflows. What is no number is all in the first part.
KERNEL void caat_split_rows(SplitArguments a) {
  LET_NEXT_START;
  GRID(i, a.rows * a.k) {
    unsigned short *to = a.y + i / a.k * splitParts * a.k + i % a.k;
    float left = a.x[i];
    for (int part = 0; part < splitParts; ++part, to += a.k) {
      UInt bits = bitsOf(left), high = bits >> 16;
      bool isNumber = (bits & 0x7f800000u) != 0x7f800000u;
      if (!isNumber && (bits & 0x7fffffu) != 0)
        high |= 0x40;
      *to = static_cast<unsigned short>(high);
      left = isNumber ? left - floatOf(high << 16) : 0.0f;
    }
  }
}
