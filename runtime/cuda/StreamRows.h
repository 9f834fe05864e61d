// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What StreamRows.cu takes and needs; for the host's code, for the kernels, and for the emulator in tests.
#ifndef CAAT_RUNTIME_CUDA_STREAM_ROWS_H
#define CAAT_RUNTIME_CUDA_STREAM_ROWS_H

#include "Kernels.h"

namespace caat::runtime::cuda {

/// A product as caat_few_rows computes it, by `blocks` blocks: tiles are dealt out in turn.
struct StreamRowsArguments {
  FewRowsArguments product;
  long long blocks;
};

/// Bytes of x that are read again for each tile without much waiting: what is left for the L1 cache beside the ring.
/// Measured on an H100: with 64 KiB (8 rows of 4096) this takes 0.88 of what caat_few_rows takes, with 224 KiB 1.12.
constexpr long long mostStreamedRows = 64 << 10;

/// Warps that multiply share a tile's k in turns of streamRowsChunk elements; one more warp asks for what comes next.
constexpr int streamRowsWarps = 8, streamRowsThreads = (streamRowsWarps + 1) * 32,
              streamRowsChunk = streamRowsWarps * 64;

/// A block's shared memory, in bytes: a ring of stages, each with a chunk of a tile's 16 rows; sums of each warp
/// [buffer, column, warp, row of x]; barriers.
struct StreamRowsShape {
  static constexpr int stages = 8;
  static constexpr int pitch = streamRowsChunk * 2 + 64; // from row to row: two rows lie in different banks
  static constexpr int stageBytes = 16 * pitch;
  static constexpr int sums = stages * stageBytes, sumBytes = 16 * streamRowsWarps * 8 * 4;
  static constexpr int full = sums + 2 * sumBytes;  // a stage has come
  static constexpr int empty = full + 8 * stages;   // all warps have read it
  static constexpr int summed = empty + 8 * stages; // all warps have stored their sums, for each buffer
  static constexpr int bytes = summed + 2 * 8;
};

} // namespace caat::runtime::cuda

#endif
