// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Floats of weights in blocks of few bits, for products of many rows.
#include "BlockWeights.h"
#include "Device.cuh"

/// A factor of a weight: its scale or minimum.
DEVICE float factorOf(const BlockWeight &w, const void *factors, long long at) {
  return w.hasWideScales ? static_cast<const float *>(factors)[at]
                         : Half::load(static_cast<const _Float16 *>(factors)[at]);
}

template <typename Type, int Width> struct alignas(sizeof(typename Type::Stored) * Width) Unpacked {
  typename Type::Stored at[Width];
};

/// A thread for each 16 bytes of codes. Of a row of the weight it has runs of `Run` that follow each other.
template <typename Type, int Bits, int Run> DEVICE void unpackBlocks(const UnpackArguments &a) {
  constexpr int chunk = BlockWeight::chunkOf(Bits), runs = chunk / 4 / Run, perWord = 32 / Bits;
  const BlockWeight &w = a.from;
  const auto chunks = static_cast<UInt>(w.chunks()); // no divisions of 64 bits for what has 32
  const int sizeBits = w.sizeBits();
  const long long blocks = w.blocks(), firstTile = a.first / w.tileRows;
  const auto *all = reinterpret_cast<const Words *>(w.codes) + firstTile * chunks * w.lanes;
  GRID(i, (a.rows + w.tileRows - 1) / w.tileRows * chunks * w.lanes) {
    auto lane = static_cast<int>(i % w.lanes), g = lane / 4, t = lane % 4;
    auto number = static_cast<UInt>(i / w.lanes), firstK = number % chunks * chunk;
    long long tile = number / chunks;
    Words words = all[i];
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int run = 0; run < runs; ++run) {
        auto k = static_cast<int>(firstK) + run * (4 * Run) + t * Run;
        long long row = tile * w.tileRows + g + 8 * half;
        if (row >= a.rows || k >= w.k)
          continue;
        long long place = (((firstTile + tile) * blocks + (k >> sizeBits)) * 8 + g) * 2 + half;
        float scale = factorOf(w, w.scales, place), zero = 0, minimum = 0;
        if (w.offset == BlockWeight::Minimum)
          minimum = factorOf(w, w.offsets, place);
        else
          zero = w.offset == BlockWeight::Zeros ? static_cast<float>(static_cast<const Byte *>(w.offsets)[place])
                                                : static_cast<float>(1 << (Bits - 1));
        Unpacked<Type, Run> to;
#pragma unroll
        for (int j = 0; j < Run; ++j) { // the reverse of placeOf
          int product = run * (Run / 4) + j / 4, part = j % 4 / 2 * 2 + half;
          int word = Bits == 4 ? product : product * 2 + part / 2;
          int code = Bits == 4 ? j % 2 * 4 + part : part % 2 * 2 + j % 2;
          UInt q = words[word] >> (code * Bits) & ((1u << Bits) - 1);
          to.at[j] = Type::store((static_cast<float>(q) - zero) * scale + minimum);
        }
        static_assert(perWord * 4 == 2 * runs * Run);
        *reinterpret_cast<Unpacked<Type, Run> *>(static_cast<typename Type::Stored *>(a.to) + row * w.k + k) = to;
      }
  }
}

template <typename Type, int Bits> DEVICE void unpack(const UnpackArguments &a) {
  if (a.from.span() == 16)
    unpackBlocks<Type, Bits, 4>(a);
  else
    unpackBlocks<Type, Bits, 8>(a);
}

#define CAAT_BLOCK_UNPACK(BITS, NAME, TYPE)                                                                            \
  KERNEL void caat_blocks_unpack_##BITS##_##NAME(UnpackArguments a) { unpack<TYPE, BITS>(a); }
#define CAAT_BLOCK_UNPACK_BITS(NAME, TYPE) CAAT_BLOCK_UNPACK(4, NAME, TYPE) CAAT_BLOCK_UNPACK(8, NAME, TYPE)

// On the GPU each type is a module, which is loaded when it is needed.
#if !defined(__CUDA__) || defined(CAAT_BLOCK_F32)
CAAT_BLOCK_UNPACK_BITS(f32, Native<float>)
#endif
#if !defined(__CUDA__) || defined(CAAT_BLOCK_BF16)
CAAT_BLOCK_UNPACK_BITS(bf16, BFloat16)
#endif
#if !defined(__CUDA__) || defined(CAAT_BLOCK_F16)
CAAT_BLOCK_UNPACK_BITS(f16, Half)
#endif
