// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What GatedRows.cu takes and needs; for the host's code, for the kernels, and for the emulator in tests.
#ifndef CAAT_RUNTIME_CUDA_GATED_ROWS_H
#define CAAT_RUNTIME_CUDA_GATED_ROWS_H

#include "Kernels.h"
#include "TensorMap.h"

namespace caat::runtime::cuda {

/// y[m, n] of x[m, k] and w[2 n, k] as FewRowsArguments says of a gate; all of the kernel's 16-bit type, k and n
/// multiples of 8. A launch has `clusters` of two blocks.
struct GatedRowsArguments {
  TensorMap x, w, y; // with the boxes below
  long long m, n, k, clusters;
  int gate;
  EpilogueOf epilogue;
};

/// A block computes tiles of 128 rows and 112 columns, and the other one of its cluster the 128 rows below, with the
/// same weights. Two groups of warps multiply, each 64 rows; one more warp asks for tiles of x, [128, 64], and of w.
constexpr int gatedGroups = 2, gatedTileRows = 64 * gatedGroups, gatedColumns = 112, gatedDepth = 64,
              gatedThreads = 128 * gatedGroups + 32;
/// Rows of clusters that are computed side by side: as much of x as stays in the L2 cache beside the weights.
constexpr int gatedBand = 8;

/// A block's shared memory, in bytes behind a multiple of 1024: a ring of stages, each with a tile of x and one of w,
/// of which 112 rows are the gate's; what is to be stored of each group [64, 112]; barriers.
struct GatedRowsShape {
  static constexpr int stages = 4;
  static constexpr int rowBytes = gatedDepth * 2;
  static constexpr int groupBytes = 64 * rowBytes; // of x
  static constexpr int xBytes = gatedGroups * groupBytes, halfBytes = gatedColumns * rowBytes;
  static constexpr int stageBytes = xBytes + 2 * halfBytes;
  static constexpr int results = stages * stageBytes, resultBytes = 64 * gatedColumns * 2;
  static constexpr int full = results + gatedGroups * resultBytes; // a stage has come
  static constexpr int empty = full + 8 * stages;                  // all groups of both blocks have read it
  static constexpr int bytes = empty + 8 * stages + 1024;
};

} // namespace caat::runtime::cuda

#endif
