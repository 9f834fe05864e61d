// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of a few rows with a 16-bit weight as in FewRows.cuh, for sm_90 and later: the weight streams through a ring
// in shared memory. One warp asks for it ahead, by bulk copies that cost the others nothing, without a pause between
// tiles; and before this kernel may read x, so that the memory is busy while small kernels in front of it run.
//
// Blocks stay for all of their tiles. A warp multiplies on tensor cores, A being 16 rows of the weight, B 8 of x, with
// the same order of k as in FewRows.cuh: 16 bytes in a row of w as of x are one load.
#include "StreamRows.h"
#include "Device.cuh"
#include "Epilogue.cuh"
#include "Warp.h"

namespace {

template <typename Pair> struct StreamRows {
  using Shape = StreamRowsShape;
  static constexpr int groups = streamRowsChunk / streamRowsWarps / 32; // of 32 elements, a warp's of a chunk

  const StreamRowsArguments &a;
  const FewRowsArguments &p = a.product;
  int lane = threadNumber() % 32, warp = threadNumber() / 32, g = lane / 4, t = lane % 4;
  unsigned base = sharedBase();
  long long tiles = p.tiles(), chunks = (p.k + streamRowsChunk - 1) / streamRowsChunk;

  using Place = RingPlace<Shape::stages>;

  CAAT_DEVICE unsigned full(Place at) const { return base + Shape::full + 8 * at.stage; }
  CAAT_DEVICE unsigned empty(Place at) const { return base + Shape::empty + 8 * at.stage; }
  CAAT_DEVICE unsigned summed(int buffer) const { return base + Shape::summed + 8 * buffer; }

  CAAT_DEVICE void makeBarriers() const {
    for (int i = 0; i < Shape::stages; ++i) {
      makeBarrier(full({i, 0}), 1);
      makeBarrier(empty({i, 0}), streamRowsWarps);
    }
    for (int buffer = 0; buffer < 2; ++buffer)
      makeBarrier(summed(buffer), streamRowsWarps);
    publishBarriers();
  }

  /// No kernel writes weights, so nothing of it waits for the kernels before.
  CAAT_DEVICE void bring() const {
    Place at{0, 1}; // stages are empty at first
    int half = lane / 8 % 2;
    for (long long tile = blockNumber(); tile < tiles; tile += a.blocks) {
      int rows = p.rowsOf(tile, 0) + p.rowsOf(tile, 1);
      bool brings = lane < 16 && lane % 8 < p.rowsOf(tile, half);
      const auto *from = static_cast<const unsigned short *>(p.w) + (p.firstRow(tile, half) + lane % 8) * p.k;
      for (long long c = 0; c < chunks; ++c, at.advance()) {
        long long begin = c * streamRowsChunk, rest = p.k - begin;
        unsigned bytes = static_cast<unsigned>(rest < streamRowsChunk ? rest : streamRowsChunk) * 2;
        waitForPhase(empty(at), at.parity);
        if (lane == 0)
          arriveExpecting(full(at), bytes * static_cast<unsigned>(rows));
        synchronizeWarp();
        if (brings)
          copyBulk(base + at.stage * Shape::stageBytes + lane * Shape::pitch, from + begin, bytes, full(at));
      }
    }
  }

  CAAT_DEVICE void multiply() const {
    const unsigned short *x = g < p.m ? static_cast<const unsigned short *>(p.x) + g * p.k : nullptr;
    Place at{0, 0};
    int buffer = 0;
    unsigned turn = 0; // of the buffers
    for (long long tile = blockNumber(); tile < tiles; tile += a.blocks) {
      float sums[4] = {};
      for (long long c = 0; c < chunks; ++c, at.advance()) {
        multiplyChunk(sums, at, x, c * streamRowsChunk);
        synchronizeWarp();
        if (lane == 0)
          arriveAt(empty(at));
      }
      finish(tile, sums, buffer, turn);
      turn ^= static_cast<unsigned>(buffer);
      buffer ^= 1;
    }
  }

  /// Behind the end of a row both factors are zeros.
  CAAT_DEVICE void multiplyChunk(float (&sums)[4], Place at, const unsigned short *x, long long begin) const {
    int mine = warp * groups * 32 + 8 * t;
    Bits128 rows[groups];
    UNROLL for (int i = 0; i < groups; ++i) rows[i] = load(x, begin + mine + 32 * i);
    waitForPhase(full(at), at.parity);
    unsigned from = base + at.stage * Shape::stageBytes + g * Shape::pitch + mine * 2;
    UNROLL for (int i = 0; i < groups; ++i) {
      Bits128 low{}, high{};
      if (begin + mine + 32 * i < p.k) {
        low = __builtin_bit_cast(Bits128, loadShared(from + 64 * i));
        high = __builtin_bit_cast(Bits128, loadShared(from + 8 * Shape::pitch + 64 * i));
      }
      UNROLL for (int j = 0; j < 4; j += 2) {
        const unsigned w[4] = {low.at[j], high.at[j], low.at[j + 1], high.at[j + 1]};
        multiplyAdd(sums, w, rows[i].at[j], rows[i].at[j + 1], Pair());
      }
    }
  }

  CAAT_DEVICE Bits128 load(const unsigned short *x, long long at) const {
    return x && at < p.k ? *reinterpret_cast<const Bits128 *>(x + at) : Bits128{};
  }

  /// A buffer is written again two tiles later, behind the barrier of the tile between them, which who still reads it
  /// has not reached.
  CAAT_DEVICE void finish(long long tile, const float (&sums)[4], int buffer, unsigned turn) const {
    unsigned place = base + Shape::sums + buffer * Shape::sumBytes;
    UNROLL for (int half = 0; half < 2; ++half)
      storeShared(place + ((warp * 16 + g + 8 * half) * 8 + 2 * t) * 4, sums[2 * half], sums[2 * half + 1]);
    synchronizeWarp();
    if (lane == 0)
      arriveAt(summed(buffer));
    waitForPhase(summed(buffer), turn);
    int thread = threadNumber(), row = thread / 16;
    storeOutput<typename Pair::Element>(p, tile, row, thread % 16, [&](int output) {
      float sum = 0;
      for (int of = 0; of < streamRowsWarps; ++of)
        sum += loadSharedFloat(place + ((of * 16 + output) * 8 + row) * 4);
      return sum;
    });
  }

  CAAT_DEVICE void run() const {
    if (threadNumber() == 0)
      makeBarriers();
    letNextStart();
    synchronizeBlock();
    if (warp == streamRowsWarps) {
      bring();
      return;
    }
    waitForBefore();
    multiply();
  }
};

} // namespace

CAAT_KERNEL(streamRowsThreads, 1) void caat_stream_rows_bf16(StreamRowsArguments a) {
  StreamRows<BFloat16Pair>{a}.run();
}
CAAT_KERNEL(streamRowsThreads, 1) void caat_stream_rows_f16(StreamRowsArguments a) { StreamRows<HalfPair>{a}.run(); }
