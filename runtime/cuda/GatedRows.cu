// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of many rows with a weight whose columns are a gate's and those that it is multiplied with (SwiGLU, GeGLU),
// for sm_90: y = f(x Wg) * (x Wu), without writing the product, which is twice as large, and reading it again.
//
// Blocks stay for all of their tiles, two in a cluster. One warp asks for what comes next; of the weight's tile each
// block of the cluster brings the half that the other one needs too. The two groups of warps multiply out of shared
// memory, asynchronously: while the products of one stage run, those of the one before are waited for, and it is free.
#include "GatedRows.h"
#include "Device.cuh"
#include "Epilogue.cuh"
#include "WarpGroup.h"

namespace {

template <typename Pair> struct GatedRows {
  using Shape = GatedRowsShape;
  using Element = typename Pair::Element;

  const GatedRowsArguments &a;
  int thread = threadNumber() % groupThreads, lane = thread % 32, group = threadNumber() / groupThreads;
  unsigned rank = rankInCluster(), base = (sharedBase() + 1023) / 1024 * 1024;
  int clusterRows = static_cast<int>((a.m + 2 * gatedTileRows - 1) / (2 * gatedTileRows));
  int columns = static_cast<int>((a.n + gatedColumns - 1) / gatedColumns), tiles = clusterRows * columns;
  int steps = static_cast<int>((a.k + gatedDepth - 1) / gatedDepth);

  using Place = RingPlace<Shape::stages>;
  CAAT_DEVICE unsigned full(int stage) const { return base + Shape::full + 8 * stage; }
  CAAT_DEVICE unsigned empty(int stage) const { return base + Shape::empty + 8 * stage; }

  /// A tile of y: its first row and column.
  struct Tile {
    int row, column;
  };
  /// Tiles are dealt out to the clusters in turn: bands of rows come one after the other, in them columns, and of those
  /// the tiles below each other.
  CAAT_DEVICE int firstTile() const { return blockNumber() / 2; }
  CAAT_DEVICE int nextTile(int tile) const { return tile + static_cast<int>(a.clusters); }
  CAAT_DEVICE Tile place(int tile) const {
    int band = tile / (gatedBand * columns), inBand = tile % (gatedBand * columns), above = band * gatedBand;
    int height = clusterRows - above < gatedBand ? clusterRows - above : gatedBand;
    return {(2 * (above + inBand % height) + static_cast<int>(rank)) * gatedTileRows, inBand / height * gatedColumns};
  }

  CAAT_DEVICE void makeBarriers() const {
    for (int i = 0; i < Shape::stages; ++i) {
      makeBarrier(full(i), 1);
      makeBarrier(empty(i), 2 * gatedGroups);
    }
    publishBarriers();
  }

  /// The first row of w of the gate, and of what it is multiplied with.
  CAAT_DEVICE int half(unsigned which) const {
    return static_cast<int>(which == 0 ? gateColumn(a.gate, a.n) : factorColumn(a.gate, a.n));
  }

  CAAT_DEVICE void bring() const {
    Place at{0, 1}; // stages are empty at first
    for (int number = firstTile(); number < tiles; number = nextTile(number)) {
      Tile tile = place(number);
      for (int i = 0; i < steps; ++i, at.advance()) {
        unsigned to = base + at.stage * Shape::stageBytes, barrier = full(at.stage);
        waitForPhase(empty(at.stage), at.parity);
        if (lane == 0) {
          arriveExpecting(barrier, Shape::stageBytes);
          copyTile(to, a.x, tile.row, i * gatedDepth, barrier);
          copyTileToBoth(to + Shape::xBytes + rank * Shape::halfBytes, a.w, tile.column + half(rank), i * gatedDepth,
                         barrier);
        }
        synchronizeWarp();
      }
    }
  }

  CAAT_DEVICE void multiply() const {
    Place at{0, 0};
    float sums[groupSums];
    for (int number = firstTile(); number < tiles; number = nextTile(number)) {
      int before = 0;
      for (int i = 0; i < steps; ++i, at.advance()) {
        unsigned from = base + at.stage * Shape::stageBytes;
        unsigned long long x = describeTile(from + group * Shape::groupBytes), w = describeTile(from + Shape::xBytes);
        waitForPhase(full(at.stage), at.parity);
        beginProducts(sums);
        UNROLL for (int j = 0; j < gatedDepth / 16; ++j) multiplyTiles(sums, x + 2 * j, w + 2 * j, i + j > 0, Pair());
        endProducts(sums);
        waitForProducts<1>(sums);
        if (i > 0)
          release(before);
        before = at.stage;
      }
      waitForProducts<0>(sums);
      release(before);
      store(place(number), sums);
    }
    if (thread == 0)
      waitForStores();
  }

  /// In both blocks: each brings a part of what the other one reads.
  CAAT_DEVICE void release(int stage) const {
    if (thread < 2)
      arriveAt(empty(stage), static_cast<unsigned>(thread));
  }

  CAAT_DEVICE void store(Tile tile, float (&sums)[groupSums]) const {
    if (a.epilogue.bias)
      addBias(tile.column, sums);
    unsigned to = base + Shape::results + group * Shape::resultBytes;
    if (thread == 0)
      waitForStores(); // of the tile before
    synchronizeGroup(group);
    if (a.epilogue.activation == EpilogueOf::Swish)
      storeGated(to, sums, [&](float x) { return swish(x, a.epilogue.alpha); });
    else
      storeGated(to, sums, [&](float x) { return activated(x, a.epilogue.activation, a.epilogue.alpha); });
    publishToStores();
    synchronizeGroup(group);
    if (thread == 0)
      storeTile(a.y, tile.row + group * groupRows, tile.column, to);
  }

  /// The first half of the sums are the gate's.
  template <typename Function>
  CAAT_DEVICE void storeGated(unsigned to, const float (&sums)[groupSums], Function &&f) const {
    UNROLL for (int j = 0; j < gatedColumns / 8; ++j) UNROLL for (int h = 0; h < 2; ++h) {
      const float *gate = sums + 4 * j + 2 * h, *up = gate + groupSums / 2;
      int row = thread / 32 * 16 + lane / 4 + 8 * h, column = 8 * j + 2 * (lane % 4);
      storeShared(to + (row * gatedColumns + column) * 2, pack(f(gate[0]) * up[0], f(gate[1]) * up[1], Pair()));
    }
  }

  CAAT_DEVICE void addBias(int first, float (&sums)[groupSums]) const {
    UNROLL for (int j = 0; j < gatedColumns / 8; ++j) UNROLL for (int i = 0; i < 2; ++i) {
      long long column = first + 8 * j + 2 * (lane % 4) + i;
      if (column >= a.n)
        continue;
      UNROLL for (unsigned which = 0; which < 2; ++which) {
        float bias = biasOf<Element>(a.epilogue, column + half(which));
        UNROLL for (int h = 0; h < 2; ++h) sums[which * groupSums / 2 + 4 * j + 2 * h + i] += bias;
      }
    }
  }

  CAAT_DEVICE void run() const {
    if (threadNumber() == 0)
      makeBarriers();
    synchronizeCluster();
    waitForBefore();
    if (group == gatedGroups)
      bring();
    else
      multiply();
    synchronizeCluster(); // nothing is on its way to a block that has ended
  }
};

} // namespace

CAAT_KERNEL(gatedThreads, 1) void caat_gated_rows_bf16(const CAAT_PARAMETER GatedRowsArguments a) {
  GatedRows<BFloat16Pair>{a}.run();
}
CAAT_KERNEL(gatedThreads, 1) void caat_gated_rows_f16(const CAAT_PARAMETER GatedRowsArguments a) {
  GatedRows<HalfPair>{a}.run();
}
