// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's own kernels.
#include "Device.cuh"

// Sums over ranks.

template <typename Type> DEVICE void sum(const SumArguments &a) {
  using Stored = typename Type::Stored;
  long long width = a.end - a.begin;
  GRID(n, a.outer * width) {
    long long o = a.outer == 1 ? 0 : n / width, i = a.begin + n - o * width, from = a.inOffset + o * a.inPitch + i;
    typename Type::Sum total = Type::load(static_cast<const Stored *>(a.in.at[0])[from]);
    for (long long s = 1; s < a.sources; ++s)
      total += Type::load(static_cast<const Stored *>(a.in.at[s])[from]);
    for (long long t = 0; t < a.targets; ++t)
      static_cast<Stored *>(a.out.at[t])[o * a.outPitch + i] = Type::store(total);
  }
}

KERNEL void caat_sum_f32(SumArguments a) { sum<Native<float>>(a); }
KERNEL void caat_sum_f64(SumArguments a) { sum<Native<double>>(a); }
KERNEL void caat_sum_bf16(SumArguments a) { sum<BFloat16>(a); }
KERNEL void caat_sum_f16(SumArguments a) { sum<Half>(a); }
KERNEL void caat_sum_i32(SumArguments a) { sum<Native<UInt>>(a); } // unsigned: sums wrap round
KERNEL void caat_sum_i64(SumArguments a) { sum<Native<ULong>>(a); }

// Copies of several ranks' memory.

template <typename Unit> DEVICE void gather(const GatherArguments &a) {
  GRID(n, a.sources * a.outer * a.row) {
    long long i = n % a.row, o = n / a.row % a.outer, s = n / a.row / a.outer;
    static_cast<Unit *>(a.out)[s * a.outStep + o * a.outPitch + i] =
        static_cast<const Unit *>(a.in.at[s])[a.inOffset + o * a.inPitch + i];
  }
}

KERNEL void caat_gather_1(GatherArguments a) { gather<Byte>(a); }
KERNEL void caat_gather_4(GatherArguments a) { gather<UInt>(a); }

// Products that the library does not take: whatever strides, integers.

template <typename T> DEVICE void product(const MatMulArguments &p) {
  GRID(number, p.batch * p.m * p.n) {
    long long column = number % p.n, row = number / p.n % p.m, batch = number / p.n / p.m;
    const T *a = static_cast<const T *>(p.a) + batch * p.aBatch + row * p.aRow;
    const T *b = static_cast<const T *>(p.b) + batch * p.bBatch + column * p.bCol;
    T *c = static_cast<T *>(p.c) + batch * p.cBatch + row * p.cRow + column;
    T total = 0;
    for (long long k = 0; k < p.k; ++k)
      total += a[k * p.aCol] * b[k * p.bRow];
    *c = static_cast<T>(p.alpha) * total + (p.beta == 0.0f ? T(0) : static_cast<T>(p.beta) * *c);
  }
}

KERNEL void caat_product_f32(MatMulArguments p) { product<float>(p); }
KERNEL void caat_product_f64(MatMulArguments p) { product<double>(p); }
KERNEL void caat_product_i32(MatMulArguments p) { product<UInt>(p); }
KERNEL void caat_product_i64(MatMulArguments p) { product<ULong>(p); }

KERNEL void caat_round_bf16(RoundArguments a) {
  LET_NEXT_START;
  GRID(i, a.count) a.y[i] = BFloat16::store(a.x[i]);
}
KERNEL void caat_round_f16(RoundArguments a) {
  LET_NEXT_START;
  GRID(i, a.count) reinterpret_cast<_Float16 *>(a.y)[i] = Half::store(a.x[i]);
}

template <typename From, typename F> DEVICE void narrow(const NarrowArguments &a, F store) {
  GRID(n, a.batch * a.heads * a.tokens * (a.padded / 8)) {
    long long column = n % (a.padded / 8) * 8, row = n / (a.padded / 8);
    long long token = row % a.tokens, head = row / a.tokens % a.heads, batch = row / a.tokens / a.heads;
    const From *from = static_cast<const From *>(a.from) + batch * a.batchStride + head * a.headStride +
                       token * a.tokenStride + column;
    for (long long i = 0; i < 8; ++i)
      a.to[row * a.padded + column + i] = column + i < a.size ? store(from[i]) : 0;
  }
}

KERNEL void caat_narrow_bf16(NarrowArguments a) {
  narrow<float>(a, [](float x) { return BFloat16::store(x); });
}
KERNEL void caat_narrow_f16(NarrowArguments a) {
  narrow<float>(a, [](float x) { return __builtin_bit_cast(unsigned short, static_cast<_Float16>(x)); });
}
KERNEL void caat_narrow_copy(NarrowArguments a) {
  narrow<unsigned short>(a, [](unsigned short x) { return x; });
}

template <bool IsHalf> struct ChooseType {
  using Type = BFloat16;
};
template <> struct ChooseType<true> {
  using Type = Half;
};
template <bool IsHalf> using Choose = typename ChooseType<IsHalf>::Type;

#include "BlockWeights.cuh"
#include "Epilogue.cuh"
#include "EpilogueRows.cuh"
#include "FewRows.cuh"
#include "PeerSum.cuh"

KERNEL void caat_read(ReadArguments a) {
  constexpr int loads = readBytes / 16 / kernelThreads;
  const Words *from = static_cast<const Words *>(a.from) + BLOCK * loads * kernelThreads + THREAD;
  Words all = from[0];
  for (int i = 1; i < loads; ++i)
    all ^= from[i * kernelThreads];
  if ((all[0] ^ all[1] ^ all[2] ^ all[3]) == 0x9e3779b9u)
    *a.never = 1;
}

KERNEL void caat_store(StoreArguments a) {
  PARALLEL(i, BLOCK == 0 ? a.bytes : 0) static_cast<Byte *>(a.to)[i] = static_cast<Byte>(a.bits >> (8 * i));
}

KERNEL void caat_check(CheckArguments a) {
  if (BLOCK == 0 && THREAD == 0 && !*a.condition && !*a.failed)
    *a.failed = a.number;
}

template <typename Type> DEVICE void random(const RandomArguments &a) {
  GRID(i, a.count) {
    float uniform = static_cast<float>(hashOf(i, a.seed) >> 8) / 8388608.0f - 1.0f;
    static_cast<typename Type::Stored *>(a.to)[i] = Type::store(uniform * a.scale + a.offset);
  }
}

KERNEL void caat_random_f32(RandomArguments a) { random<Native<float>>(a); }
KERNEL void caat_random_bf16(RandomArguments a) { random<BFloat16>(a); }
KERNEL void caat_random_f16(RandomArguments a) { random<Half>(a); }

template <typename Type> DEVICE void compare(const CompareArguments &a) {
  using Stored = typename Type::Stored;
  constexpr UInt noNumber = 0x7f800000u; // infinity
  UInt difference = 0, largest = 0;
  GRID(i, a.batch * a.tokens * a.heads * a.size) {
    long long head = i / a.size, token = head / a.heads, batch = token / a.tokens;
    long long at = batch * a.batchStride + token % a.tokens * a.tokenStride + head % a.heads * a.headStride + i % a.size;
    float x = Type::load(reinterpret_cast<const Stored *>(a.x)[at]);
    float y = Type::load(reinterpret_cast<const Stored *>(a.y)[at]);
    bool isX = (bitsOf(x) & noNumber) != noNumber, isY = (bitsOf(y) & noNumber) != noNumber;
    UInt off = isX && isY ? bitsOf(x - y) & 0x7fffffffu : isX == isY ? 0 : noNumber;
    UInt size = isX ? bitsOf(x) & 0x7fffffffu : 0;
    difference = off > difference ? off : difference;
    largest = size > largest ? size : largest;
  }
  ATOMIC_MAX(&a.found[0], difference);
  ATOMIC_MAX(&a.found[1], largest);
}

KERNEL void caat_compare_bf16(CompareArguments a) { compare<BFloat16>(a); }
KERNEL void caat_compare_f16(CompareArguments a) { compare<Half>(a); }

// The best logit.

struct BestPlace {
  BestCandidate of[kernelThreads];
};

DEVICE bool isBetter(float x, long long token, const BestCandidate &than) {
  return x > than.logit || (x == than.logit && token < than.token);
}

KERNEL void caat_best(BestArguments a) {
  SHARED BestPlace place;
  long long row = BLOCK / bestParts, part = BLOCK % bestParts;
  const float *logits = a.first + row * a.pitch;
  const float infinity = floatOf(0x7f800000u);
  BestCandidate mine{-infinity, 0, 0x7fffffffffffffffLL};
  for (long long r = 0; r < a.runs; ++r) {
    long long length = a.run[r].length, begin = length * part / bestParts, end = length * (part + 1) / bestParts;
    PARALLEL(i, end - begin) {
      float x = logits[a.run[r].local + begin + i];
      long long token = a.run[r].global + begin + i;
      mine.notFinite |= !(x < infinity); // NaN too
      if (isBetter(x, token, mine)) {
        mine.logit = x;
        mine.token = token;
      }
    }
  }
  place.of[THREAD] = mine;
  SYNCHRONIZE;
  if (THREAD != 0)
    return;
  for (long long i = 1; i < THREADS; ++i) {
    mine.notFinite |= place.of[i].notFinite;
    if (isBetter(place.of[i].logit, place.of[i].token, mine)) {
      mine.logit = place.of[i].logit;
      mine.token = place.of[i].token;
    }
  }
  a.out[BLOCK] = mine;
}

// The best logits of a part, by the digits of numbers that are in their order and all different.

constexpr int digitBits = 8, digits = 1 << digitBits, digitGroup = 16;

struct TopPlace {
  int bins[digits], groups[digits / digitGroup];
  int left, found, notFinite; // left: how many of those that begin with `prefix` belong to the best
  ULong prefix;
};

/// A larger number is a better candidate; NaN is the worst.
DEVICE ULong rankOf(float x, long long token) {
  UInt bits = bitsOf(x + 0.0f); // zeros are equal
  UInt order = x != x ? 0 : bits >> 31 ? ~bits : bits | 1u << 31;
  return static_cast<ULong>(order) << 32 | static_cast<UInt>(~token);
}

KERNEL void caat_top(TopArguments a) {
  SHARED TopPlace place;
  const BestArguments &of = a.of;
  long long row = BLOCK / bestParts, part = BLOCK % bestParts;
  const float *logits = of.first + row * of.pitch;
  BestCandidate *out = of.out + BLOCK * a.count;
  const float infinity = floatOf(0x7f800000u);
  if (THREAD == 0) {
    place.left = static_cast<int>(a.count);
    place.found = place.notFinite = 0;
    place.prefix = 0;
  }
  PARALLEL(i, a.count) out[i] = BestCandidate{-infinity, 0, 0x7fffffffffffffffLL};

  // The place of a run's part, whose element is X and whose number is RANK.
#define EACH(X, TOKEN, RANK)                                                                                           \
  for (long long r = 0; r < of.runs; ++r)                                                                              \
    for (long long begin = of.run[r].length * part / bestParts, end = of.run[r].length * (part + 1) / bestParts,       \
                   i = begin + THREAD;                                                                                 \
         i < end; i += THREADS)                                                                                        \
      if (float X = logits[of.run[r].local + i]; true)                                                                 \
        if (long long TOKEN = of.run[r].global + i; true)                                                              \
          if (ULong RANK = rankOf(X, TOKEN); true)

  for (int shift = 64 - digitBits; shift >= 0; shift -= digitBits) {
    PARALLEL(i, digits) place.bins[i] = 0;
    SYNCHRONIZE;
    ULong prefix = place.prefix;
    EACH(x, token, rank) {
      if (shift == 64 - digitBits && !(x < infinity))
        place.notFinite = 1;
      if (shift == 64 - digitBits || rank >> (shift + digitBits) == prefix)
        ATOMIC_ADD(&place.bins[rank >> shift & (digits - 1)], 1);
    }
    SYNCHRONIZE;
    PARALLEL(g, digits / digitGroup) {
      int sum = 0;
      for (int i = 0; i < digitGroup; ++i)
        sum += place.bins[g * digitGroup + i];
      place.groups[g] = sum;
    }
    SYNCHRONIZE;
    // The digit down to which all belong to the best, but perhaps not all of that digit's; 0 where there are too few.
    if (THREAD == 0) {
      int group = digits / digitGroup - 1, left = place.left;
      for (; group > 0 && place.groups[group] < left; --group)
        left -= place.groups[group];
      int digit = group * digitGroup + digitGroup - 1;
      for (; digit > group * digitGroup && place.bins[digit] < left; --digit)
        left -= place.bins[digit];
      place.left = left;
      place.prefix = prefix << digitBits | static_cast<ULong>(digit);
    }
    SYNCHRONIZE;
  }

  ULong least = place.prefix;
  EACH(x, token, rank) {
    if (rank >= least && x == x)
      out[ATOMIC_ADD(&place.found, 1)] = BestCandidate{x, 0, token};
  }
  SYNCHRONIZE;
  if (THREAD == 0)
    out[0].notFinite = place.notFinite;
#undef EACH
}

// Quantised all-reduce: the arithmetic of comm/Quantize.cpp, bit for bit (no fused multiply-adds: -ffp-contract=off).
// One block for each piece.

constexpr int maxPiece = 1024; // elements
constexpr int codeShift = 23 - 3;
constexpr int codeOffset = (127 - 12) << 3;
constexpr int lastCode = 254;
constexpr UInt noNumber = 255;

DEVICE Byte encodeLargest(UInt pattern, long long bits) {
  if (pattern == 0)
    return 0;
  UInt up = bits == 8 ? (1u << codeShift) - 1 : 1u << (codeShift - 1);
  int code = static_cast<int>(((pattern < 0x7f800000u ? pattern : 0x7f800000u) + up) >> codeShift) - codeOffset;
  return code > lastCode ? noNumber : static_cast<Byte>(code < 1 ? 1 : code);
}

DEVICE float decodeLargest(UInt code) {
  if (code == noNumber)
    return floatOf(0x7f800000u | 1u << 22);
  return code ? floatOf((code + codeOffset) << codeShift) : 0.0f;
}

/// What the threads of a block share.
struct QuantizedPlace {
  float total[maxPiece], values[maxPiece], rounded[maxPiece];
  UInt largest[maxPiece / 8];
  signed char q[maxPiece];
};

/// A piece's parts of a message.
struct Parts {
  Byte *scales, *codes, *exact;
};

DEVICE Parts partsOf(const QuantizedArguments &a, const QuantizedPiece &piece, void *message) {
  auto *bytes = static_cast<Byte *>(message);
  long long blocks = (a.channels + a.block - 1) / a.block, codeBytes = (a.channels + 7) / 8 * a.bits;
  return {bytes + piece.row * blocks + piece.block,
          bytes + a.rows * blocks + piece.row * codeBytes + piece.begin / 8 * a.bits,
          bytes + a.rows * (blocks + codeBytes) + (piece.row * a.exacts + piece.exactBegin) * 4};
}

DEVICE void copyFloat(Byte *to, float x) {
  UInt bits = bitsOf(x);
  for (int i = 0; i < 4; ++i)
    to[i] = static_cast<Byte>(bits >> (8 * i));
}

DEVICE float floatAt(const Byte *from) {
  UInt bits = 0;
  for (int i = 0; i < 4; ++i)
    bits |= static_cast<UInt>(from[i]) << (8 * i);
  return floatOf(bits);
}

/// Rounds x into a message; p.rounded becomes Q(x).
DEVICE void roundPiece(const QuantizedArguments &a, const QuantizedPiece &piece, const float *x, const Parts &parts,
                       QuantizedPlace &p) {
  long long eighth = (piece.length + 7) / 8, blocks = (piece.length + a.block - 1) / a.block;
  PARALLEL(i, maxPiece) p.values[i] = i < piece.length ? x[i] : 0.0f;
  PARALLEL(i, blocks) p.largest[i] = 0;
  SYNCHRONIZE;
  PARALLEL(i, piece.exacts) {
    long long channel = a.exact[piece.exactBegin + i] - piece.begin;
    copyFloat(parts.exact + 4 * i, x[channel]);
    p.values[channel] = 0;
  }
  SYNCHRONIZE;
  PARALLEL(i, piece.length) ATOMIC_MAX(&p.largest[i / a.block], bitsOf(p.values[i]) & 0x7fffffffu);
  SYNCHRONIZE;
  int limit = (1 << (a.bits - 1)) - 1;
  PARALLEL(i, blocks) parts.scales[i] = encodeLargest(p.largest[i], a.bits);
  PARALLEL(i, 8 * eighth) {
    long long block = i / a.block;
    UInt code = block < blocks ? encodeLargest(p.largest[block], a.bits) : 0;
    bool isNumber = code != 0 && code != noNumber;
    float most = decodeLargest(code), scale = most / static_cast<float>(limit);
    float inverse = isNumber ? static_cast<float>(limit) / most : 0.0f;
    constexpr float magic = 12582912.0f; // 1.5 * 2^23: what is added to it loses its fraction
    int bound = isNumber ? limit : 0;
    float scaled = p.values[i] * inverse;
    // Unsigned: what is no number may overflow.
    int value = static_cast<int>(bitsOf(scaled + magic) - bitsOf(magic));
    value = value < -bound ? -bound : value > bound ? bound : value;
    p.q[i] = static_cast<signed char>(value);
    p.rounded[i] = static_cast<float>(value) * scale;
  }
  SYNCHRONIZE;
  if (a.bits == 8) {
    PARALLEL(i, 8 * eighth) parts.codes[i] = static_cast<Byte>(p.q[i]);
  } else if (a.bits == 4) {
    PARALLEL(i, 4 * eighth) parts.codes[i] = static_cast<Byte>((p.q[i] & 15) | p.q[i + 4 * eighth] << 4);
  } else {
    PARALLEL(i, eighth) {
      UInt word = 0;
      for (int k = 0; k < 8; ++k)
        word |= static_cast<UInt>(p.q[i + k * eighth] & 7) << (3 * k);
      parts.codes[i] = static_cast<Byte>(word);
      parts.codes[i + eighth] = static_cast<Byte>(word >> 8);
      parts.codes[i + 2 * eighth] = static_cast<Byte>(word >> 16);
    }
  }
  PARALLEL(i, piece.exacts) {
    long long channel = a.exact[piece.exactBegin + i] - piece.begin;
    p.rounded[channel] = x[channel];
  }
  SYNCHRONIZE;
}

/// Integer i of a piece.
DEVICE int codeAt(const Byte *codes, long long length, long long bits, long long i) {
  long long eighth = (length + 7) / 8;
  if (bits == 8)
    return static_cast<signed char>(codes[i]);
  if (bits == 4) {
    UInt nibble = i < 4 * eighth ? codes[i] & 15u : codes[i - 4 * eighth] >> 4;
    return static_cast<int>(nibble ^ 8) - 8;
  }
  long long j = i % eighth, k = i / eighth;
  UInt word = codes[j] | static_cast<UInt>(codes[j + eighth]) << 8 | static_cast<UInt>(codes[j + 2 * eighth]) << 16;
  return static_cast<int>((word >> (3 * k) & 7) ^ 4) - 4;
}

/// to[i] becomes, or has added to it, what a message holds.
DEVICE void unpackPiece(const QuantizedArguments &a, const QuantizedPiece &piece, void *message, float *to,
                        QuantizedPlace &p, bool add) {
  Parts parts = partsOf(a, piece, message);
  auto limit = static_cast<float>((1 << (a.bits - 1)) - 1);
  PARALLEL(i, piece.length) {
    float scale = decodeLargest(parts.scales[i / a.block]) / limit;
    p.values[i] = static_cast<float>(codeAt(parts.codes, piece.length, a.bits, i)) * scale;
  }
  SYNCHRONIZE;
  PARALLEL(i, piece.exacts) p.values[a.exact[piece.exactBegin + i] - piece.begin] = floatAt(parts.exact + 4 * i);
  SYNCHRONIZE;
  PARALLEL(i, piece.length) to[i] = add ? to[i] + p.values[i] : p.values[i];
  SYNCHRONIZE;
}

KERNEL void caat_quantized_encode(QuantizedArguments a) {
  SHARED QuantizedPlace place;
  const QuantizedPiece piece = a.pieces[BLOCK];
  long long at = piece.row * a.channels + piece.begin;
  roundPiece(a, piece, a.data + at, partsOf(a, piece, a.messages.at[0]), place);
  if (a.error)
    PARALLEL(i, piece.length) a.error[at + i] = a.data[at + i] - place.rounded[i];
}

KERNEL void caat_quantized_sum(QuantizedArguments a) {
  SHARED QuantizedPlace place;
  const QuantizedPiece piece = a.pieces[BLOCK];
  long long at = piece.row * a.channels + piece.begin;
  for (long long rank = 0; rank < a.ranks; ++rank)
    unpackPiece(a, piece, a.messages.at[rank], place.total, place, rank > 0);
  roundPiece(a, piece, place.total, partsOf(a, piece, a.result), place);
  PARALLEL(i, piece.length) {
    if (a.error)
      a.error[at + i] += place.total[i] - place.rounded[i];
    a.data[at + i] = place.rounded[i];
  }
}

KERNEL void caat_quantized_decode(QuantizedArguments a) {
  SHARED QuantizedPlace place;
  const QuantizedPiece piece = a.pieces[BLOCK];
  unpackPiece(a, piece, a.messages.at[0], a.data + piece.row * a.channels + piece.begin, place, false);
}
