// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What groups of four warps, and two blocks of a cluster, do together, for products on the tensor cores of sm_90a; as
// plain C++ functions of the emulator, as Warp.h has it.
//
// Tiles lie in shared memory as the copies of tensor maps put them there: rows of 64 elements, 128 bytes, in which
// pieces of 16 bytes change places by the row ("swizzle"), so that eight rows lie in different banks. A tile begins at
// a multiple of 1024 bytes.
#ifndef CAAT_RUNTIME_CUDA_WARP_GROUP_H
#define CAAT_RUNTIME_CUDA_WARP_GROUP_H

#include "TensorMap.h"
#include "Warp.h"

namespace caat::runtime::cuda {

/// Of a product of one group: 64 rows times `groupColumns` columns. A thread has elements (row 16 w + l / 4 + 8 h,
/// column 8 j + 2 (l % 4) + i) at 4 j + 2 h + i, w being its warp in the group and l its place in the warp.
constexpr int groupRows = 64, groupColumns = 224, groupSums = groupColumns / 2, groupThreads = 128;

#ifdef __CUDA__
/// Of this block in its cluster.
CAAT_DEVICE unsigned rankInCluster() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
CAAT_DEVICE void synchronizeCluster() {
  asm volatile("barrier.cluster.arrive.aligned;\n barrier.cluster.wait.aligned;" ::: "memory");
}
/// All threads of one group; `group` is its number in the block.
CAAT_DEVICE void synchronizeGroup(int group) {
  asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(groupThreads) : "memory");
}
/// At the barrier of that address in a block of the cluster. What this thread wrote is not published by it.
CAAT_DEVICE void arriveAt(unsigned barrier, unsigned rank) {
  asm volatile("{\n .reg .b32 there;\n mapa.shared::cluster.u32 there, %0, %1;\n"
               " mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
               "r"(rank)
               : "memory");
}

/// The map's box that begins at (row, column), zeros where the matrix has ended; it comes to the barrier.
CAAT_DEVICE void copyTile(unsigned to, const TensorMap &from, int row, int column, unsigned barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
               "[%4];" ::"r"(to),
               "l"(&from), "r"(column), "r"(row), "r"(barrier)
               : "memory");
}
/// The same to that address in both blocks of the cluster, and to the barriers of that address.
CAAT_DEVICE void copyTileToBoth(unsigned to, const TensorMap &from, int row, int column, unsigned barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
               "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
               "l"(&from), "r"(column), "r"(row), "r"(barrier), "h"(static_cast<unsigned short>(3))
               : "memory");
}
/// Of what this thread, and those that it meets next, stored: storeTile sees it.
CAAT_DEVICE void publishToStores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// Stores the map's box that begins at (row, column), what of it is in the matrix. `from` is read until waitForStores.
CAAT_DEVICE void storeTile(const TensorMap &to, int row, int column, unsigned from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];\n"
               " cp.async.bulk.commit_group;" ::"l"(&to),
               "r"(column), "r"(row), "r"(from)
               : "memory");
}
/// Until the tiles that this thread has asked to store may be overwritten.
CAAT_DEVICE void waitForStores() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }

/// What tensor cores take for a tile: its address, 1024 bytes from eight rows to the next eight, and the order within.
CAAT_DEVICE unsigned long long describeTile(unsigned at) {
  return (at & 0x3ffff) >> 4 | 1ull << 16 | 1024ull >> 4 << 32 | 1ull << 62;
}

/// The compiler keeps no copy of what products write.
CAAT_DEVICE void touch(float (&sums)[groupSums]) {
  UNROLL for (float &sum : sums) asm volatile("" : "+f"(sum)::"memory");
}
/// Before a group's first product, and wherever others have touched its sums or tiles.
CAAT_DEVICE void beginProducts(float (&sums)[groupSums]) {
  touch(sums);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// The products since the last call are done together.
CAAT_DEVICE void endProducts(float (&sums)[groupSums]) {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  touch(sums);
}
/// Until all products but those of the last `Left` calls of endProducts are done.
template <int Left> CAAT_DEVICE void waitForProducts(float (&sums)[groupSums]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
  if (Left == 0)
    touch(sums);
}

#define CAAT_SUMS_16(I)                                                                                                \
  "+f"(sums[I]), "+f"(sums[I + 1]), "+f"(sums[I + 2]), "+f"(sums[I + 3]), "+f"(sums[I + 4]), "+f"(sums[I + 5]),        \
      "+f"(sums[I + 6]), "+f"(sums[I + 7]), "+f"(sums[I + 8]), "+f"(sums[I + 9]), "+f"(sums[I + 10]),                  \
      "+f"(sums[I + 11]), "+f"(sums[I + 12]), "+f"(sums[I + 13]), "+f"(sums[I + 14]), "+f"(sums[I + 15])
#define CAAT_MULTIPLY_TILES(TYPE)                                                                                      \
  asm volatile("{\n .reg .pred keeps;\n setp.ne.b32 keeps, %114, 0;\n"                                                 \
               " wgmma.mma_async.sync.aligned.m64n224k16.f32." TYPE "." TYPE " {"                                      \
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                \
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                      \
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                      \
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                      \
               "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                      \
               "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                      \
               "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"            \
               "}, %112, %113, keeps, 1, 1, 0, 0;\n}"                                                                  \
               : CAAT_SUMS_16(0), CAAT_SUMS_16(16), CAAT_SUMS_16(32), CAAT_SUMS_16(48), CAAT_SUMS_16(64),              \
                 CAAT_SUMS_16(80), CAAT_SUMS_16(96)                                                                    \
               : "l"(a), "l"(b), "r"(static_cast<int>(keeps)))

/// sums[64, 224] (+)= a[64, 16] b[224, 16]^T, by a whole group; what sums were counts where it `keeps` them. Multiples
/// of 16 elements behind a tile's begin are 2 more in its description each.
CAAT_DEVICE void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps,
                               BFloat16Pair) {
  CAAT_MULTIPLY_TILES("bf16");
}
CAAT_DEVICE void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps,
                               HalfPair) {
  CAAT_MULTIPLY_TILES("f16");
}
#undef CAAT_SUMS_16
#undef CAAT_MULTIPLY_TILES
#else
unsigned rankInCluster();
void synchronizeCluster();
void synchronizeGroup(int group);
void arriveAt(unsigned barrier, unsigned rank);
void copyTile(unsigned to, const TensorMap &from, int row, int column, unsigned barrier);
void copyTileToBoth(unsigned to, const TensorMap &from, int row, int column, unsigned barrier);
inline void publishToStores() {}
void storeTile(const TensorMap &to, int row, int column, unsigned from);
void waitForStores();
unsigned long long describeTile(unsigned at);
void beginProducts(float (&sums)[groupSums]);
void endProducts(float (&sums)[groupSums]);
void waitForProducts(int left);
template <int Left> void waitForProducts(float (&)[groupSums]) { waitForProducts(Left); }
void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps, BFloat16Pair);
void multiplyTiles(float (&sums)[groupSums], unsigned long long a, unsigned long long b, bool keeps, HalfPair);
#endif

} // namespace caat::runtime::cuda

#endif
