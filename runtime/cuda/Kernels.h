// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's own kernels: their names and what they take. For the host's code, for the kernels, and for a driver
// that runs them on the host in tests; so without any header.
#ifndef CAAT_RUNTIME_CUDA_KERNELS_H
#define CAAT_RUNTIME_CUDA_KERNELS_H

namespace caat::runtime::cuda {

/// Ranks that share a device.
constexpr int maxLocalRanks = 32;
constexpr int kernelThreads = 256;

struct Pointers {
  void *at[maxLocalRanks];
};

/// out[t][o * outPitch + i] = sum over the sources s of in[s][inOffset + o * inPitch + i], in elements, for i in
/// [begin, end): in the order of the sources, 16-bit types in fp32 with one rounding at the end.
struct SumArguments {
  Pointers in, out;
  long long sources, targets;
  long long outer, begin, end;
  long long inOffset, inPitch, outPitch;
};

/// out[s * outStep + o * outPitch + i] = in[s][inOffset + o * inPitch + i] for i in [0, row), in units.
struct GatherArguments {
  Pointers in;
  void *out;
  long long sources, outer, row;
  long long inOffset, inPitch, outStep, outPitch;
};

/// Memory that the ranks read of each other: control, then four places of peerBytes, for parts and sums.
constexpr int peerBlocks = 32, maxPeers = 8;
constexpr long long peerBytes = 1 << 20;
struct PeerControl {
  unsigned long long flags[peerBlocks][maxPeers]; // of each rank's block: how far it is, and in what call
  unsigned turns[peerBlocks];                     // sums that this rank's block has made
};
/// data[count] becomes the sum over the ranks; it lies at a multiple of 16 bytes and has at most peerBytes. Always
/// peerBlocks blocks.
struct PeerSumArguments {
  Pointers memory; // of the ranks
  void *data;
  long long count;
  int rank, ranks, isOneShot;
  unsigned call; // what is summed: the same on all ranks
  unsigned *stop,
      *differs; // in the host's memory: waiting ends where not 0; becomes 1 where a rank sums something else
};

/// The same for a kernel of a program that begins with a sum of the rows that it reads (SumRows.cuh). Programs are
/// compiled for this form of it; behind it are two places of rowBytes for each block.
constexpr int rowsVersion = 1, rowBlocks = 64;
constexpr long long rowBytes = 64 << 10;
struct alignas(16) PeerRows {
  unsigned long long flags[rowBlocks][maxPeers]; // of each rank's block: how far it is, and in what call
  unsigned turns[rowBlocks];                     // sums that this rank's block has made
  PeerRows *members[maxPeers];                   // of the ranks, as this one reaches them
  int rank, ranks;
  unsigned *stop, *differs; // as above
};

/// As MatMul says; strides in elements.
struct MatMulArguments {
  const void *a, *b;
  void *c;
  long long batch, m, n, k;
  long long aBatch, aRow, aCol, bBatch, bRow, bCol, cBatch, cRow;
  float alpha, beta;
};

struct RoundArguments {
  const float *x;
  unsigned short *y; // bf16 or f16
  long long count;
};

/// f(x + bias), with a bias for each column or without (null).
struct EpilogueOf {
  enum { Unchanged, Relu, Gelu, GeluTanh, Swish }; // numbers as in caat_activation
  const void *bias;
  int isBiasWide; // f32, else of the type of the elements
  int activation;
  float alpha;
};
/// Of y[rows, columns], in place; it lies at a multiple of 16 bytes, its rows `pitch` elements apart.
struct EpilogueArguments {
  void *y;
  long long rows, columns, pitch;
  EpilogueOf epilogue;
};

/// A gated product's columns are two halves of n: a gate, and what f of it is multiplied with. Their first columns.
enum Gate { Ungated, GateFirst, GateSecond }; // numbers as in caat_gate
constexpr long long gateColumn(int gate, long long n) { return gate == GateSecond ? n : 0; }
constexpr long long factorColumn(int gate, long long n) { return gate == GateSecond ? 0 : n; }

/// y[rows, n] of the halves x[rows, 2 n], both dense and at a multiple of 16 bytes; the bias has 2 n columns.
struct GateArguments {
  const void *x;
  void *y;
  long long rows, n;
  int gate;
  EpilogueOf epilogue;
};

/// y[m, n] = f((y +) x[m, k] w[n, k] + bias), x and w of the kernel's 16-bit type; k is a multiple of 8, w and x lie at
/// multiples of 16 bytes. With a gate w and the bias have 2 n rows, and nothing is accumulated. Block b computes tile b
/// of at most 8 rows: what 16 rows of w are for, 16 columns of y or with a gate 8.
struct FewRowsArguments {
  const void *w, *x;
  void *y;
  long long m, n, k;
  int isWide; // y is f32, else of the 16-bit type
  int accumulate;
  EpilogueOf epilogue;
  int gate;

  constexpr int columns() const { return gate ? 8 : 16; } // of y, in a tile
  constexpr long long tiles() const { return gate ? (n + 7) / 8 : (n + 15) / 16; }
  /// A tile has 8 rows of w from here on for each `half`, 0 (of the gate) and 1; behind the last column fewer.
  constexpr long long firstRow(long long tile, int half) const {
    return gate ? (half ? factorColumn(gate, n) : gateColumn(gate, n)) + tile * 8 : tile * 16 + half * 8;
  }
  constexpr int rowsOf(long long tile, int half) const {
    long long left = n - (gate ? tile * 8 : tile * 16 + half * 8);
    return left < 0 ? 0 : left < 8 ? static_cast<int>(left) : 8;
  }
  constexpr long long lastRow() const { return (gate ? 2 * n : n) - 1; }
};
constexpr int mostFewRows = 8; // more take the library less time

/// to[c * pitch + r] = from[r * columns + c]: a block for each 32 x 32.
struct TransposeArguments {
  const unsigned short *from;
  unsigned short *to;
  long long rows, columns, pitch;
};

/// Block b reads bytes [b * readBytes, (b + 1) * readBytes), to measure how fast that is.
constexpr int readBytes = 32 << 10;
struct ReadArguments {
  const void *from;
  unsigned *never; // written where the bytes make an unlikely sum
};

/// Rows [batch, heads, tokens, size] in a 16-bit type, one behind the other and filled up with zeros to `padded`, a
/// multiple of 8. Strides in elements.
struct NarrowArguments {
  const void *from;
  unsigned short *to;
  long long batch, heads, tokens, size, padded;
  long long batchStride, headStride, tokenStride;
};

/// found[0] becomes the largest difference of two arrays [batch, tokens, heads, size] of a 16-bit type that lie alike,
/// infinite where one has a number and the other none, and found[1] the largest size of x: as bits of floats, which are
/// zeros before. Strides in elements.
struct CompareArguments {
  const unsigned short *x, *y;
  unsigned *found;
  long long batch, tokens, heads, size;
  long long batchStride, tokenStride, headStride;
};

/// The lowest bytes of a number.
struct StoreArguments {
  void *to;
  unsigned long long bits;
  long long bytes;
};

/// Where `condition` is 0, `failed` becomes `number`, unless it is one already: memory of the host.
struct CheckArguments {
  const unsigned char *condition;
  unsigned *failed;
  unsigned number; // not 0
};

/// Uniform numbers in [-scale, scale) + offset, the same for the same seed.
struct RandomArguments {
  void *to;
  long long count;
  float scale, offset;
  unsigned seed;
};

/// The best logit of each part of each row: block r * bestParts + p has part p of row r. Of equal ones that of the
/// lowest token.
constexpr int bestParts = 32, mostRuns = 32;
struct BestCandidate {
  float logit;
  int notFinite;
  long long token;
};
struct BestArguments {
  const float *first;
  BestCandidate *out;
  long long pitch, runs;
  struct {
    long long global, local, length;
  } run[mostRuns];
};

/// The best `count` of each part of each row, in no order, at `out` + count * block; of fewer the rest is filled up.
/// The first says whether anything of the part is not finite.
struct TopArguments {
  BestArguments of;
  long long count;
};

/// A piece of a row in a quantised message, as WirePiece says.
struct QuantizedPiece {
  long long row, block, begin, length, exactBegin, exacts;
};

/// For pieces [first, first + grid): the three steps of a quantised all-reduce. `error` may be null.
struct QuantizedArguments {
  Pointers messages; // of the ranks; encode and decode use the first alone
  void *result;      // sum: a message too
  float *data, *error;
  const QuantizedPiece *pieces;
  const long long *exact; // channels
  long long ranks, rows, channels, bits, block, exacts;
};

} // namespace caat::runtime::cuda

#endif
