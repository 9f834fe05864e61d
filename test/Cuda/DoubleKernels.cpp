// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's own kernels, as C++ on the host, and what they read and write.
#include "Double.h"
#include "HostBlocks.h"
#include <thread>
#pragma clang fp contract(off)
#include "cuda/BlockUnpack.cu"
#include "cuda/Kernels.cu"

namespace caat::test {

namespace {

using Accesses = std::vector<Access>;

void add(Accesses &all, const void *data, int64_t begin, int64_t end, int64_t size, bool writes) {
  auto address = reinterpret_cast<uint64_t>(data);
  if (begin < end)
    all.push_back({address + static_cast<uint64_t>(begin * size), address + static_cast<uint64_t>(end * size), writes});
}

template <int64_t Size> void of(const SumArguments &a, Accesses &all) {
  for (int64_t o = 0; o < a.outer; ++o) {
    for (int64_t s = 0; s < a.sources; ++s)
      add(all, a.in.at[s], a.inOffset + o * a.inPitch + a.begin, a.inOffset + o * a.inPitch + a.end, Size, false);
    for (int64_t t = 0; t < a.targets; ++t)
      add(all, a.out.at[t], o * a.outPitch + a.begin, o * a.outPitch + a.end, Size, true);
  }
}

template <int64_t Size> void of(const GatherArguments &a, Accesses &all) {
  for (int64_t s = 0; s < a.sources; ++s)
    for (int64_t o = 0; o < a.outer; ++o) {
      int64_t from = a.inOffset + o * a.inPitch, to = s * a.outStep + o * a.outPitch;
      add(all, a.in.at[s], from, from + a.row, Size, false);
      add(all, a.out, to, to + a.row, Size, true);
    }
}

template <int64_t Size> void of(const MatMulArguments &p, Accesses &all) {
  for (int64_t i = 0; i < p.batch; ++i) {
    if (p.k > 0) {
      add(all, p.a, i * p.aBatch, i * p.aBatch + (p.m - 1) * p.aRow + (p.k - 1) * p.aCol + 1, Size, false);
      add(all, p.b, i * p.bBatch, i * p.bBatch + (p.k - 1) * p.bRow + (p.n - 1) * p.bCol + 1, Size, false);
    }
    for (int64_t row = 0; row < p.m; ++row)
      add(all, p.c, i * p.cBatch + row * p.cRow, i * p.cBatch + row * p.cRow + p.n, Size, true);
  }
}

/// A message's bytes of one piece are scattered over it; its scales alone tell whose turn it is.
template <bool DataIsWritten, bool MessageIsWritten>
void ofPieces(const QuantizedArguments &a, unsigned blocks, int64_t messages, Accesses &all) {
  int64_t perRow = (a.channels + a.block - 1) / a.block;
  for (unsigned i = 0; i < blocks; ++i) {
    const QuantizedPiece &piece = a.pieces[i];
    int64_t at = piece.row * a.channels + piece.begin, scale = piece.row * perRow + piece.block;
    int64_t scales = (piece.length + a.block - 1) / a.block;
    add(all, a.data, at, at + piece.length, 4, DataIsWritten);
    if (a.error)
      add(all, a.error, at, at + piece.length, 4, true);
    for (int64_t m = 0; m < messages; ++m)
      add(all, a.messages.at[m], scale, scale + scales, 1, MessageIsWritten);
    if (a.result)
      add(all, a.result, scale, scale + scales, 1, true);
  }
}

template <int64_t Size> void of(const NarrowArguments &a, Accesses &all) {
  for (int64_t b = 0; b < a.batch; ++b)
    for (int64_t h = 0; h < a.heads; ++h)
      for (int64_t t = 0; t < a.tokens; ++t) {
        int64_t from = b * a.batchStride + h * a.headStride + t * a.tokenStride;
        add(all, a.from, from, from + a.size, Size, false);
      }
  add(all, a.to, 0, a.batch * a.heads * a.tokens * a.padded, 2, true);
}

void ofCompare(const CompareArguments &a, Accesses &all) {
  for (int64_t b = 0; b < a.batch; ++b)
    for (int64_t t = 0; t < a.tokens; ++t)
      for (int64_t h = 0; h < a.heads; ++h)
        for (const unsigned short *array : {a.x, a.y}) {
          int64_t at = b * a.batchStride + t * a.tokenStride + h * a.headStride;
          add(all, array, at, at + a.size, 2, false);
        }
  add(all, a.found, 0, 2, 4, true);
}

template <int64_t Size> void of(const RandomArguments &a, Accesses &all) { add(all, a.to, 0, a.count, Size, true); }

template <int64_t Size> void of(const EpilogueArguments &a, Accesses &all) {
  for (int64_t row = 0; row < a.rows; ++row)
    add(all, a.y, row * a.pitch, row * a.pitch + a.columns, Size, true);
  if (a.epilogue.bias)
    add(all, a.epilogue.bias, 0, a.columns, a.epilogue.isBiasWide ? 4 : Size, false);
}

template <int64_t Size> void of(const GateArguments &a, Accesses &all) {
  add(all, a.x, 0, a.rows * 2 * a.n, Size, false);
  add(all, a.y, 0, a.rows * a.n, Size, true);
  if (a.epilogue.bias)
    add(all, a.epilogue.bias, 0, 2 * a.n, a.epilogue.isBiasWide ? 4 : Size, false);
}

void ofTranspose(const TransposeArguments &a, Accesses &all) {
  add(all, a.from, 0, a.rows * a.columns, 2, false);
  for (int64_t c = 0; c < a.columns; ++c)
    add(all, a.to, c * a.pitch, c * a.pitch + a.rows, 2, true);
}

void ofRepack(const RepackArguments &a, Accesses &all) {
  const BlockWeight &w = a.to;
  int64_t tile = a.first / w.tileRows, end = tile + (a.rows + w.tileRows - 1) / w.tileRows;
  int64_t codes = w.codeWords() / w.tiles() * 4, factors = w.scaleCount() / w.tiles();
  add(all, a.from, 0, a.rows * a.rowBytes, 1, false);
  add(all, w.codes, tile * codes, end * codes, 1, true);
  add(all, w.scales, tile * factors, end * factors, w.scaleBytes(), true);
  add(all, w.offsets, tile * factors, end * factors, w.offsetBytes(), true);
}

template <int64_t Size> void of(const UnpackArguments &a, Accesses &all) {
  add(all, a.from.codes, 0, a.from.bytes(), 1, false);
  add(all, a.to, 0, a.rows * a.from.k, Size, true);
}

void ofRows(const BestArguments &a, unsigned blocks, int64_t count, Accesses &all) {
  for (unsigned row = 0; row < blocks / bestParts; ++row)
    for (int64_t r = 0; r < a.runs; ++r) {
      int64_t begin = row * a.pitch + a.run[r].local;
      add(all, a.first, begin, begin + a.run[r].length, 4, false);
    }
  add(all, a.out, 0, blocks * count, sizeof(BestCandidate), true);
}

void ofPeerSum(const PeerSumArguments &a, int64_t size, Accesses &all) { add(all, a.data, 0, a.count, size, true); }

template <typename Arguments, typename Kernel> void runBlocks(Kernel kernel, unsigned blocks, void **arguments) {
  hostBlocks = blocks;
  for (hostBlock = 0; hostBlock < hostBlocks; ++hostBlock)
    kernel(*static_cast<Arguments *>(arguments[0]));
}

/// The blocks of a kernel that waits for those of other ranks, as many threads.
template <typename Arguments, typename Kernel> void runTogether(Kernel kernel, unsigned blocks, void **arguments) {
  std::vector<std::thread> threads;
  for (unsigned block = 0; block < blocks; ++block)
    threads.emplace_back([=] {
      hostBlock = block;
      hostBlocks = blocks;
      kernel(*static_cast<Arguments *>(arguments[0]));
    });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace

bool runOwnKernel(const std::string &name, unsigned blocks, void **arguments, Accesses &accesses, bool run) {
#define CAAT_OWN_BY(RUN, NAME, ARGUMENTS, ACCESSES)                                                                    \
  if (name == #NAME) {                                                                                                 \
    const auto &a = *static_cast<ARGUMENTS *>(arguments[0]);                                                           \
    if (run)                                                                                                           \
      RUN<ARGUMENTS>(NAME, blocks, arguments);                                                                         \
    else                                                                                                               \
      ACCESSES;                                                                                                        \
    return true;                                                                                                       \
  }
#define CAAT_OWN(...) CAAT_OWN_BY(runBlocks, __VA_ARGS__)
  CAAT_OWN(caat_sum_f32, SumArguments, of<4>(a, accesses))
  CAAT_OWN(caat_sum_f64, SumArguments, of<8>(a, accesses))
  CAAT_OWN(caat_sum_bf16, SumArguments, of<2>(a, accesses))
  CAAT_OWN(caat_sum_f16, SumArguments, of<2>(a, accesses))
  CAAT_OWN(caat_sum_i32, SumArguments, of<4>(a, accesses))
  CAAT_OWN(caat_sum_i64, SumArguments, of<8>(a, accesses))
  CAAT_OWN(caat_gather_1, GatherArguments, of<1>(a, accesses))
  CAAT_OWN(caat_gather_4, GatherArguments, of<4>(a, accesses))
  CAAT_OWN(caat_product_f32, MatMulArguments, of<4>(a, accesses))
  CAAT_OWN(caat_product_f64, MatMulArguments, of<8>(a, accesses))
  CAAT_OWN(caat_product_i32, MatMulArguments, of<4>(a, accesses))
  CAAT_OWN(caat_product_i64, MatMulArguments, of<8>(a, accesses))
  CAAT_OWN(caat_best, BestArguments, ofRows(a, blocks, 1, accesses))
  CAAT_OWN(caat_top, TopArguments, ofRows(a.of, blocks, a.count, accesses))
  CAAT_OWN(caat_round_bf16, RoundArguments,
           (add(accesses, a.x, 0, a.count, 4, false), add(accesses, a.y, 0, a.count, 2, true)))
  CAAT_OWN(caat_epilogue_f32, EpilogueArguments, of<4>(a, accesses))
  CAAT_OWN(caat_epilogue_bf16, EpilogueArguments, of<2>(a, accesses))
  CAAT_OWN(caat_epilogue_f16, EpilogueArguments, of<2>(a, accesses))
  CAAT_OWN(caat_gate_f32, GateArguments, of<4>(a, accesses))
  CAAT_OWN(caat_gate_bf16, GateArguments, of<2>(a, accesses))
  CAAT_OWN(caat_gate_f16, GateArguments, of<2>(a, accesses))
  CAAT_OWN(caat_few_rows_bf16, FewRowsArguments, addAccesses(a, accesses))
  CAAT_OWN(caat_few_rows_f16, FewRowsArguments, addAccesses(a, accesses))
  CAAT_OWN(caat_transpose_16, TransposeArguments, ofTranspose(a, accesses))
  CAAT_OWN(caat_read, ReadArguments,
           (add(accesses, a.from, 0, int64_t{blocks} * readBytes, 1, false), add(accesses, a.never, 0, 1, 4, true)))
  CAAT_OWN(caat_round_f16, RoundArguments,
           (add(accesses, a.x, 0, a.count, 4, false), add(accesses, a.y, 0, a.count, 2, true)))
  CAAT_OWN(caat_blocks_repack, RepackArguments, ofRepack(a, accesses))
  CAAT_OWN(caat_blocks_random, RandomBlocksArguments, add(accesses, a.to.codes, 0, a.to.bytes(), 1, true))
  CAAT_OWN(caat_blocks_unpack_4_f32, UnpackArguments, of<4>(a, accesses))
  CAAT_OWN(caat_blocks_unpack_4_bf16, UnpackArguments, of<2>(a, accesses))
  CAAT_OWN(caat_blocks_unpack_4_f16, UnpackArguments, of<2>(a, accesses))
  CAAT_OWN(caat_blocks_unpack_8_f32, UnpackArguments, of<4>(a, accesses))
  CAAT_OWN(caat_blocks_unpack_8_bf16, UnpackArguments, of<2>(a, accesses))
  CAAT_OWN(caat_blocks_unpack_8_f16, UnpackArguments, of<2>(a, accesses))
  CAAT_OWN(caat_split_rows, SplitArguments,
           (add(accesses, a.x, 0, a.rows * a.k, 4, false), add(accesses, a.y, 0, a.rows * a.k * splitParts, 2, true)))
  CAAT_OWN(caat_narrow_bf16, NarrowArguments, of<4>(a, accesses))
  CAAT_OWN(caat_narrow_f16, NarrowArguments, of<4>(a, accesses))
  CAAT_OWN(caat_narrow_copy, NarrowArguments, of<2>(a, accesses))
  CAAT_OWN(caat_compare_bf16, CompareArguments, ofCompare(a, accesses))
  CAAT_OWN(caat_compare_f16, CompareArguments, ofCompare(a, accesses))
  CAAT_OWN(caat_store, StoreArguments, add(accesses, a.to, 0, a.bytes, 1, true))
  CAAT_OWN(caat_check, CheckArguments, add(accesses, a.condition, 0, 1, 1, false))
  CAAT_OWN(caat_random_f32, RandomArguments, of<4>(a, accesses))
  CAAT_OWN(caat_random_bf16, RandomArguments, of<2>(a, accesses))
  CAAT_OWN(caat_random_f16, RandomArguments, of<2>(a, accesses))
  CAAT_OWN_BY(runTogether, caat_peer_sum_f32, PeerSumArguments, ofPeerSum(a, 4, accesses))
  CAAT_OWN_BY(runTogether, caat_peer_sum_bf16, PeerSumArguments, ofPeerSum(a, 2, accesses))
  CAAT_OWN_BY(runTogether, caat_peer_sum_f16, PeerSumArguments, ofPeerSum(a, 2, accesses))
  CAAT_OWN(caat_quantized_encode, QuantizedArguments, (ofPieces<false, true>(a, blocks, 1, accesses)))
  CAAT_OWN(caat_quantized_sum, QuantizedArguments, (ofPieces<true, false>(a, blocks, a.ranks, accesses)))
  CAAT_OWN(caat_quantized_decode, QuantizedArguments, (ofPieces<true, false>(a, blocks, 1, accesses)))
#undef CAAT_OWN
#undef CAAT_OWN_BY
  return runAttention(name, blocks, arguments, accesses, run) || runBlockRows(name, blocks, arguments, accesses, run) ||
         runStreamRows(name, arguments, accesses, run) || runGatedRows(name, arguments, accesses, run);
}

} // namespace caat::test
