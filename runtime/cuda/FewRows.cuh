// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of a few rows with a 16-bit weight, y[m, n] = f((y +) x[m, k] w[n, k] + bias): what they take is reading the weight, so
// everything serves to have many bytes under way. Part of Kernels.cu.
//
// A block computes what a tile's 16 rows of the weight are for (FewRowsArguments), for all rows of x, at most 8; its warps share
// out k and add up at the end. A warp multiplies on tensor cores, whose A are the 16 rows of the weight and whose B 8 rows of x.
// A thread of mma.m16n8k16 holds elements k = 2t, 2t+1, 2t+8, 2t+9 of its rows; as a sum may take k in any order, it holds
// 8t ... 8t+3 instead, and 8t+4 ... 8t+7 for the next product: 16 bytes in a row of w as of x, so that each is one load and
// nothing is moved.

struct FewRowsPlace {
  float part[16 /* warps */ * 16 * 8];
};

#ifdef __CUDA__

/// 16 bytes by a load of the given kind; zeros where they are not wanted.
#define LOAD_WANTED(KIND)                                                                                              \
  Words x;                                                                                                             \
  asm volatile("{\n .reg .pred p;\n setp.ne.u32 p, %5, 0;\n mov.u32 %0, 0;\n mov.u32 %1, 0;\n mov.u32 %2, 0;\n"        \
               " mov.u32 %3, 0;\n @p ld.global" KIND ".v4.u32 {%0, %1, %2, %3}, [%4];\n}"                              \
               : "=&r"(x[0]), "=&r"(x[1]), "=&r"(x[2]), "=&r"(x[3])                                                    \
               : "l"(from), "r"(static_cast<UInt>(wanted)));                                                           \
  return x

/// Of a weight, which nobody reads again.
DEVICE Words loadOnce(const unsigned short *from, bool wanted) { LOAD_WANTED(".nc.L1::no_allocate.L2::128B"); }
/// Of x, which every block reads.
DEVICE Words loadOften(const unsigned short *from, bool wanted) { LOAD_WANTED(""); }

#undef LOAD_WANTED

template <bool IsHalf> DEVICE void multiplyTile(float *c, UInt a0, UInt a1, UInt a2, UInt a3, UInt b0, UInt b1) {
  if constexpr (IsHalf)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
                 "%1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Loads that a warp has under way twice: while it multiplies with some, the next ones come.
constexpr int fewRowsLoads = 4, fewRowsStep = 32 * fewRowsLoads;

struct WeightWords {
  Words low[fewRowsLoads], high[fewRowsLoads]; // of rows g and g + 8
};

DEVICE void load(WeightWords &words, const unsigned short *first, const unsigned short *second, long long at,
                 long long k) {
#pragma unroll
  for (int i = 0; i < fewRowsLoads; ++i) {
    bool inside = at + 32 * i < k;
    words.low[i] = loadOnce(first + at + 32 * i, inside);
    words.high[i] = loadOnce(second + at + 32 * i, inside);
  }
}

/// What each warp adds up, into p.
template <bool IsHalf> DEVICE void sumFewRows(const FewRowsArguments &a, FewRowsPlace &p) {
  int lane = static_cast<int>(THREAD) & 31, warp = static_cast<int>(THREAD) >> 5, g = lane >> 2, t = lane & 3;
  long long warps = THREADS >> 5, k = a.k, row = a.firstRow(BLOCK, 0) + g, other = a.firstRow(BLOCK, 1) + g;
  long long last = a.lastRow();
  const auto *w = static_cast<const unsigned short *>(a.w), *x = static_cast<const unsigned short *>(a.x);
  const unsigned short *first = w + (row < last ? row : last) * k, *second = w + (other < last ? other : last) * k;
  float sums[4] = {};
  WeightWords now, next;
  long long at = warp * fewRowsStep + 8 * t, step = warps * fewRowsStep;
  load(now, first, second, at, k); // no kernel writes weights
  WAIT_FOR_BEFORE;
  for (; at - 8 * t < k; at += step) {
    Words rows[fewRowsLoads];
#pragma unroll
    for (int i = 0; i < fewRowsLoads; ++i)
      rows[i] = loadOften(x + g * k + at + 32 * i, g < a.m && at + 32 * i < k);
    load(next, first, second, at + step, k);
#pragma unroll
    for (int i = 0; i < fewRowsLoads; ++i) {
      const Words &low = now.low[i], &high = now.high[i], &b = rows[i];
      multiplyTile<IsHalf>(sums, low[0], high[0], low[1], high[1], b[0], b[1]);
      multiplyTile<IsHalf>(sums, low[2], high[2], low[3], high[3], b[2], b[3]);
    }
    now = next;
  }
  float *part = p.part + warp * 128;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    part[(2 * t + (i & 1)) * 16 + g + 8 * (i >> 1)] = sums[i];
}

#else

template <bool IsHalf> DEVICE void sumFewRows(const FewRowsArguments &a, FewRowsPlace &p) {
  using Type = Choose<IsHalf>;
  using Stored = typename Type::Stored;
  for (long long r = 0; r < 8; ++r)
    for (int i = 0; i < 16; ++i) {
      float sum = 0;
      long long row = a.firstRow(BLOCK, i / 8) + i % 8;
      for (long long k = 0; k < a.k && r < a.m && i % 8 < a.rowsOf(BLOCK, i / 8); ++k)
        sum += Type::load(static_cast<const Stored *>(a.x)[r * a.k + k]) *
               Type::load(static_cast<const Stored *>(a.w)[row * a.k + k]);
      p.part[r * 16 + i] = sum;
    }
}

#endif

template <bool IsHalf> DEVICE void fewRows(const FewRowsArguments &a, FewRowsPlace &p) {
  using Type = Choose<IsHalf>;
  LET_NEXT_START;
  sumFewRows<IsHalf>(a, p);
  SYNCHRONIZE;
  long long warps = (THREADS + 31) / 32;
  PARALLEL(i, 128) {
    long long row = i / 16;
    storeOutput<Type>(a, BLOCK, row, static_cast<int>(i % 16), [&](int output) {
      float sum = 0;
      for (long long warp = 0; warp < warps; ++warp)
        sum += p.part[warp * 128 + row * 16 + output];
      return sum;
    });
  }
}

KERNEL void caat_few_rows_bf16(FewRowsArguments a) {
  SHARED FewRowsPlace place;
  fewRows<false>(a, place);
}
KERNEL void caat_few_rows_f16(FewRowsArguments a) {
  SHARED FewRowsPlace place;
  fewRows<true>(a, place);
}

// A weight [k, n] as [n, k], some of its rows at a time.

struct TransposePlace {
  unsigned short tile[32 * 33];
};

KERNEL void caat_transpose_16(TransposeArguments a) {
  SHARED TransposePlace p;
  long long across = (a.columns + 31) / 32, row = BLOCK / across * 32, column = BLOCK % across * 32;
  PARALLEL(i, 1024) {
    long long r = row + i / 32, c = column + i % 32;
    p.tile[i / 32 * 33 + i % 32] = r < a.rows && c < a.columns ? a.from[r * a.columns + c] : 0;
  }
  SYNCHRONIZE;
  PARALLEL(i, 1024) {
    long long r = row + i % 32, c = column + i / 32;
    if (r < a.rows && c < a.columns)
      a.to[c * a.pitch + r] = p.tile[i % 32 * 33 + i / 32];
  }
}
