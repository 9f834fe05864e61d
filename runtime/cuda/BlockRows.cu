// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of a few rows with a weight in blocks of few bits: what they take is reading the weight, so a code must cost
// few instructions, and many loads must be under way.
//
// A block computes 16 outputs for up to 8 rows of x; its warps share out k and add up at the end. A warp multiplies on
// tensor cores: A are 16 rows of codes, as integers of a 16-bit type, which holds them exactly; B 8 rows of x. So the
// products are exact and their sums fp32, and a scale is applied to the sum of a span of codes that share it. Rows of
// x in fp32 come as three of bf16 each, whose sums are put together at the end.
//
// Codes become numbers by bits: 128 + q is 0x4300 | q in bf16 and 1024 + q is 0x6400 | q in f16, from which as much and
// the zero are taken; 256 and more has no room in bf16, so 8 bits go by way of 2^23 + q in fp32.
#include "BlockWeights.h"
#include "Device.cuh"
#include "Epilogue.cuh"
#include "Warp.h"

template <typename Pair> struct Numbers;
template <> struct Numbers<BFloat16Pair> {
  using Element = BFloat16;
  static constexpr unsigned ones = 0x3f803f80, base = 0x43004300; // 128
};
template <> struct Numbers<HalfPair> {
  using Element = Half;
  static constexpr unsigned ones = 0x3c003c00, base = 0x64006400; // 1024
};

namespace {

/// Of rows g and g + 8.
template <bool Wide> struct Factors;
template <> struct Factors<false> {
  unsigned bits;
  CAAT_DEVICE float at(int half) const {
    return Half::load(__builtin_bit_cast(_Float16, static_cast<unsigned short>(bits >> (16 * half))));
  }
};
template <> struct alignas(8) Factors<true> {
  float both[2];
  CAAT_DEVICE float at(int half) const { return both[half]; }
};

CAAT_DEVICE int least(int x, int y) { return x < y ? x : y; }

/// A block's work. Pair is the 16-bit type that is multiplied, Span as in BlockWeight.
template <int Bits, typename Pair, int Span, bool WideScales, bool HasMinima> struct BlockRows {
  using Element = typename Numbers<Pair>::Element;
  static constexpr int chunk = BlockWeight::chunkOf(Bits), warps = blockRowsThreads / 32;
  /// Codes of a row that a warp has under way twice: while it multiplies with some, the next ones come.
  static constexpr int step = 2 * chunk < 4 * Span ? 2 * chunk : 4 * Span, spans = step / Span, loads = step / chunk;
  /// Of a code, by way of a number that it is added to: Bits and 16-bit types as above.
  static constexpr bool goesByFloats = Bits == 8 && Numbers<Pair>::base == Numbers<BFloat16Pair>::base;

  struct Fetched {
    Bits128 codes[loads];
    Factors<WideScales> scales[spans], minima[spans];
    unsigned short zeros[spans]; // a byte each for rows g and g + 8
  };

  const BlockRowsArguments &a;
  const BlockWeight &w = a.w;
  int k = static_cast<int>(w.k), sizeBits = w.sizeBits();
  int lane = threadNumber() % 32, warp = threadNumber() / 32, g = lane / 4, t = lane % 4;
  long long tile = blockNumber() / a.groups;
  int firstRow = blockNumber() % a.groups * a.rowsOf(a.parts);

  /// What begins at code `at` of each row. Behind the end of a row, codes are zeros, and so is what they are multiplied
  /// with; scales are the last ones.
  CAAT_DEVICE void fetch(Fetched &to, int at) const {
    const unsigned *codes = w.codes + (tile * w.chunks() * 32 + lane) * 4;
    UNROLL for (int i = 0; i < loads; ++i)
      to.codes[i] = loadOnce(codes + (at / chunk + i) * (32 * 4), at + i * chunk < k);
    long long firstFactor = tile * w.blocks() * 8 + g;
    int places[spans];
    UNROLL for (int i = 0; i < spans; ++i) places[i] = (least(at + i * Span, k - 1) >> sizeBits) * 8;
    const auto *scales = static_cast<const Factors<WideScales> *>(w.scales) + firstFactor;
    UNROLL for (int i = 0; i < spans; ++i) to.scales[i] = scales[places[i]];
    if constexpr (HasMinima) {
      const auto *minima = static_cast<const Factors<WideScales> *>(w.offsets) + firstFactor;
      UNROLL for (int i = 0; i < spans; ++i) to.minima[i] = minima[places[i]];
    } else {
      UNROLL for (int i = 0; i < spans; ++i) to.zeros[i] = static_cast<unsigned short>(0x0101 << (Bits - 1));
      const auto *zeros = static_cast<const unsigned short *>(w.offsets) + firstFactor;
      if (w.offset == BlockWeight::Zeros)
        UNROLL for (int i = 0; i < spans; ++i) to.zeros[i] = zeros[places[i]];
    }
  }

  /// What is taken from the number that a code has become, for its row's zero, as what is to be added.
  CAAT_DEVICE static unsigned negated(unsigned zero) {
    if constexpr (goesByFloats)
      return 0xcb000000 | zero; // - 2^23 - zero
    else
      return Numbers<Pair>::base | 0x80008000 | zero | zero << 16;
  }

  /// A of product `number` of a chunk, for rows g and g + 8.
  CAAT_DEVICE static void unpack(unsigned (&to)[4], const Bits128 &codes, int number, const unsigned (&negatives)[2]) {
    UNROLL for (int i = 0; i < 4; ++i) {
      unsigned negative = negatives[i % 2];
      if constexpr (Bits == 4) {
        unsigned two = codes.at[number] >> (4 * i) & 0x000f000f;
        to[i] = add(two | Numbers<Pair>::base, negative, Pair());
      } else {
        unsigned word = codes.at[number * 2 + i / 2];
        if constexpr (goesByFloats) {
          float low = floatOf(selectBytes(word, 0x4b, i % 2 ? 0x4552 : 0x4550)) + floatOf(negative);
          float high = floatOf(selectBytes(word, 0x4b, i % 2 ? 0x4553 : 0x4551)) + floatOf(negative);
          to[i] = selectBytes(bitsOf(low), bitsOf(high), 0x7632); // up to 8 bits: the lower halves are zeros
        } else {
          to[i] = add(selectBytes(word, 0x64, i % 2 ? 0x4342 : 0x4140), negative, Pair());
        }
      }
    }
  }

  /// This thread's part of a row of x, for the products of a span.
  struct Rows {
    unsigned at[Span / 8];
  };
  CAAT_DEVICE Rows rowsAt(const unsigned short *x, int first) const {
    struct alignas(Span / 2) Words {
      Rows rows;
    };
    return x && first < k ? reinterpret_cast<const Words *>(x + first + t * (Span / 4))->rows : Rows{};
  }

  CAAT_DEVICE void multiply(float (&sums)[4], const Fetched &with, const Rows (&rows)[spans]) const {
    UNROLL for (int i = 0; i < spans; ++i) {
      unsigned negatives[2];
      UNROLL for (int half = 0; half < 2; ++half)
        negatives[half] = negated(HasMinima ? 0 : with.zeros[i] >> (8 * half) & 0xff);
      float part[4] = {}, plain[4] = {}; // of codes, of x alone
      UNROLL for (int j = 0; j < Span / 16; ++j) {
        int number = i * (Span / 16) + j;
        unsigned codes[4], low = rows[i].at[2 * j], high = rows[i].at[2 * j + 1];
        unpack(codes, with.codes[number / (chunk / 16)], number % (chunk / 16), negatives);
        multiplyAdd(part, codes, low, high, Pair());
        if constexpr (HasMinima) {
          constexpr unsigned one = Numbers<Pair>::ones;
          const unsigned ones[4] = {one, one, one, one};
          multiplyAdd(plain, ones, low, high, Pair());
        }
      }
      UNROLL for (int j = 0; j < 4; ++j) {
        sums[j] = __builtin_fmaf(with.scales[i].at(j / 2), part[j], sums[j]);
        if constexpr (HasMinima)
          sums[j] = __builtin_fmaf(with.minima[i].at(j / 2), plain[j], sums[j]);
      }
    }
  }

  CAAT_DEVICE void run() const {
    letNextStart();
    int row = firstRow * a.parts + g; // of x
    bool isThere = g < a.rowsOf(a.parts) * a.parts && row < a.m * a.parts;
    const unsigned short *x = isThere ? static_cast<const unsigned short *>(a.x) + row * w.k : nullptr;
    float sums[4] = {};
    Fetched now, next;
    int at = warp * step;
    fetch(now, at); // no kernel writes weights
    waitForBefore();
    for (; at < k; at += warps * step) {
      Rows rows[spans];
      UNROLL for (int i = 0; i < spans; ++i) rows[i] = rowsAt(x, at + i * Span);
      fetch(next, at + warps * step);
      multiply(sums, now, rows);
      now = next;
    }
    // [warp, output, part of a row]
    unsigned shared = sharedBase();
    UNROLL for (int half = 0; half < 2; ++half)
      storeShared(shared + ((warp * 16 + g + 8 * half) * 8 + 2 * t) * 4, sums[2 * half], sums[2 * half + 1]);
    synchronizeBlock();
    if (threadNumber() < a.rowsOf(a.parts) * 16)
      finish(shared, threadNumber() / 16, threadNumber() % 16);
  }

  CAAT_DEVICE void finish(unsigned shared, int rowOfGroup, int output) const {
    long long row = firstRow + rowOfGroup, column = tile * 16 + output, at = row * w.n + column;
    if (row >= a.m || column >= w.n)
      return;
    float sum = 0;
    for (int part = a.parts - 1; part >= 0; --part)
      for (int of = 0; of < warps; ++of)
        sum += loadSharedFloat(shared + ((of * 16 + output) * 8 + rowOfGroup * a.parts + part) * 4);
    storeResult<Element>(a, at, column, sum);
  }
};

} // namespace

#define CAAT_BLOCK_ROWS(BITS, TYPE, PAIR, SPAN, SCALES, IS_WIDE, FORM, HAS_MINIMA)                                     \
  CAAT_KERNEL(blockRowsThreads, 2) void caat_block_rows_##BITS##_##TYPE##_##SPAN##_##SCALES##_##FORM(                  \
      BlockRowsArguments a) {                                                                                          \
    BlockRows<BITS, PAIR, SPAN, IS_WIDE, HAS_MINIMA>{a}.run();                                                         \
  }
#define CAAT_BLOCK_FORMS(...) CAAT_BLOCK_ROWS(__VA_ARGS__, zeros, false) CAAT_BLOCK_ROWS(__VA_ARGS__, minima, true)
#define CAAT_BLOCK_SCALES(...) CAAT_BLOCK_FORMS(__VA_ARGS__, f16, false) CAAT_BLOCK_FORMS(__VA_ARGS__, f32, true)
#define CAAT_BLOCK_SPANS(...) CAAT_BLOCK_SCALES(__VA_ARGS__, 16) CAAT_BLOCK_SCALES(__VA_ARGS__, 32)

// On the GPU each is a module, which is loaded when it is needed.
#if !defined(__CUDA__) || (CAAT_BLOCK_BITS == 4 && defined(CAAT_BLOCK_BF16))
CAAT_BLOCK_SPANS(4, bf16, BFloat16Pair)
#endif
#if !defined(__CUDA__) || (CAAT_BLOCK_BITS == 4 && defined(CAAT_BLOCK_F16))
CAAT_BLOCK_SPANS(4, f16, HalfPair)
#endif
#if !defined(__CUDA__) || (CAAT_BLOCK_BITS == 8 && defined(CAAT_BLOCK_BF16))
CAAT_BLOCK_SPANS(8, bf16, BFloat16Pair)
#endif
#if !defined(__CUDA__) || (CAAT_BLOCK_BITS == 8 && defined(CAAT_BLOCK_F16))
CAAT_BLOCK_SPANS(8, f16, HalfPair)
#endif
