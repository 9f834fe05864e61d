// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the threads of a warp and a block do together, for kernels that use tensor cores; PTX of sm_80. As plain C++ the
// same names are functions of an emulator that tests link (test/Cuda/WarpEmulator.cpp): there each thread is a fiber.
// Shared memory is the block's dynamic one; its addresses are offsets in bytes.
#ifndef CAAT_RUNTIME_CUDA_WARP_H
#define CAAT_RUNTIME_CUDA_WARP_H

struct BFloat16;
struct Half;

namespace caat::runtime::cuda {

struct BFloat16Pair {
  using Element = ::BFloat16; // of Device.cuh
  unsigned bits;
};
struct HalfPair {
  using Element = ::Half;
  unsigned bits;
};

struct alignas(16) Bits128 {
  unsigned at[4];
};
struct alignas(16) FourFloats {
  float at[4];
};
struct TwoFloats {
  float at[2];
};

#ifdef __CUDA__
#define CAAT_DEVICE inline __attribute__((device, always_inline))
#define CAAT_KERNEL(THREADS, BLOCKS) extern "C" __attribute__((global, launch_bounds(THREADS, BLOCKS)))
#define UNROLL _Pragma("unroll")
/// Of a kernel: it is read where the launch put it, and its address is what copies take.
#define CAAT_PARAMETER __attribute__((grid_constant))

extern __attribute__((shared, aligned(16))) char dynamicShared[];

CAAT_DEVICE int threadNumber() { return __nvvm_read_ptx_sreg_tid_x(); }
CAAT_DEVICE int blockNumber() { return __nvvm_read_ptx_sreg_ctaid_x(); }
CAAT_DEVICE void synchronizeBlock() { __syncthreads(); }
CAAT_DEVICE void synchronizeWarp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

/// From sm_90 on, where the launch asks for it, the next kernel may start while this one runs; and this one may have
/// started while the one before it ran: it touches nothing of what others write before it has waited for them.
CAAT_DEVICE void letNextStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
CAAT_DEVICE void waitForBefore() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Brings what lies there nearer. It is no access: whoever writes there later is seen.
CAAT_DEVICE void prefetch(const void *from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from)); }

/// Called by one thread of each of `blocks` blocks, which all others of its block have met. Whether it is the last of
/// them: then what the others wrote before is seen, by all threads that this one meets, and `arrived` is 0 again.
CAAT_DEVICE bool isLastToArrive(unsigned *arrived, unsigned blocks) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(arrived), "r"(blocks - 1)
               : "memory");
  return before == blocks - 1;
}

/// Of offset 0.
CAAT_DEVICE unsigned sharedBase() {
  unsigned base;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(base) : "l"(dynamicShared));
  return base;
}

CAAT_DEVICE void storeShared(unsigned to, Bits128 x) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x.at[0]), "r"(x.at[1]), "r"(x.at[2]),
               "r"(x.at[3])
               : "memory");
}

CAAT_DEVICE void storeShared(unsigned to, unsigned x) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(x) : "memory");
}
CAAT_DEVICE void storeShared(unsigned to, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(x), "f"(y) : "memory");
}
CAAT_DEVICE FourFloats loadShared(unsigned from) {
  FourFloats x;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.at[0]), "=f"(x.at[1]), "=f"(x.at[2]), "=f"(x.at[3])
               : "r"(from)
               : "memory");
  return x;
}

CAAT_DEVICE TwoFloats loadSharedPair(unsigned from) {
  TwoFloats x;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x.at[0]), "=f"(x.at[1]) : "r"(from) : "memory");
  return x;
}

CAAT_DEVICE float loadSharedFloat(unsigned from) {
  float x;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(from) : "memory");
  return x;
}

/// 16 bytes of what no kernel writes and nobody reads again, or zeros where not `wanted` (then `from` is not read).
CAAT_DEVICE Bits128 loadOnce(const void *from, bool wanted) {
  Bits128 x;
  asm volatile("{\n .reg .pred p;\n setp.ne.u32 p, %5, 0;\n mov.u32 %0, 0;\n mov.u32 %1, 0;\n mov.u32 %2, 0;\n"
               " mov.u32 %3, 0;\n @p ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];\n}"
               : "=&r"(x.at[0]), "=&r"(x.at[1]), "=&r"(x.at[2]), "=&r"(x.at[3])
               : "l"(from), "r"(static_cast<unsigned>(wanted)));
  return x;
}

/// 16 bytes, or zeros where not `valid` (then `from` is not read). They are there after waitForCopies.
CAAT_DEVICE void copyToShared(unsigned to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
/// All copies of this thread so far.
CAAT_DEVICE void waitForCopies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
/// The copies since the last call are a group.
CAAT_DEVICE void endGroupOfCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// All of this thread's groups of copies but the last `Groups`.
template <int Groups> CAAT_DEVICE void waitForCopiesBut() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
}

/// From sm_90 on. A barrier, 8 bytes of shared memory, has phases of parity 0, 1, 0, ...: one ends when `count` threads
/// have arrived, and all bytes that were expected have come. Threads see those made before publishBarriers once they
/// have met its caller.
CAAT_DEVICE void makeBarrier(unsigned barrier, unsigned count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
CAAT_DEVICE void publishBarriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
CAAT_DEVICE void arriveAt(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}
CAAT_DEVICE void arriveExpecting(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// For the end of the phase of that parity, which is the current one or the one before it.
CAAT_DEVICE void waitForPhase(unsigned barrier, unsigned parity) {
  asm volatile("{\n .reg .pred p;\nagain:\n mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\n @p bra done;\n"
               " bra again;\ndone:\n}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}
/// Multiples of 16 bytes, from and to such a place; they come to the barrier.
CAAT_DEVICE void copyBulk(unsigned to, const void *from, unsigned bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

/// Four 8x8 matrices of 16-bit elements. Thread i gives the address of row i % 8 of matrix i / 8 and receives of each
/// matrix elements 2 * (i % 4) and the next of row i / 4; transposed, of column i / 4.
CAAT_DEVICE void loadMatrices(unsigned (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from)
               : "memory");
}
CAAT_DEVICE void loadTransposed(unsigned (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from)
               : "memory");
}

/// sum[16, 8] += a[16, 16] * b[16, 8], as mma.m16n8k16 deals them out.
CAAT_DEVICE void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, BFloat16Pair) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
CAAT_DEVICE void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, HalfPair) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Of both halves.
CAAT_DEVICE unsigned add(unsigned x, unsigned y, BFloat16Pair) {
  unsigned sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(x), "r"(0x3f803f80), "r"(y)); // times 1: sm_80 has no add
  return sum;
}
CAAT_DEVICE unsigned add(unsigned x, unsigned y, HalfPair) {
  unsigned sum;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(x), "r"(y));
  return sum;
}

/// Four bytes of the eight of x and, from 4 on, y: those that the digits of `which` name, the lowest first.
CAAT_DEVICE unsigned selectBytes(unsigned x, unsigned y, unsigned which) {
  unsigned result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(y), "r"(which));
  return result;
}

CAAT_DEVICE float shuffleXor(float x, int offset) {
  float y;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(y) : "f"(x), "r"(offset));
  return y;
}
/// Whether it holds for any thread of the warp.
CAAT_DEVICE bool anyInWarp(bool x) { return __nvvm_vote_any_sync(0xffffffffu, x); }

CAAT_DEVICE float exponential2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
CAAT_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
CAAT_DEVICE float larger(float x, float y) {
  float z;
  asm("max.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}

/// Both rounded to nearest; `low` in the lower half.
CAAT_DEVICE unsigned pack(float low, float high, BFloat16Pair) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
CAAT_DEVICE unsigned pack(float low, float high, HalfPair) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/// A value that is as it was, but of which the compiler knows nothing any more: it does not keep what comes of it.
CAAT_DEVICE int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
#else
#define CAAT_DEVICE inline
#define CAAT_KERNEL(THREADS, BLOCKS) extern "C"
#define UNROLL
#define CAAT_PARAMETER

int threadNumber();
int blockNumber();
void synchronizeBlock();
void synchronizeWarp();
inline void letNextStart() {}
inline void waitForBefore() {}
inline void prefetch(const void *) {}
bool isLastToArrive(unsigned *arrived, unsigned blocks);
unsigned sharedBase();
void storeShared(unsigned to, Bits128 x);
void storeShared(unsigned to, unsigned x);
void storeShared(unsigned to, float x, float y);
FourFloats loadShared(unsigned from);
TwoFloats loadSharedPair(unsigned from);
float loadSharedFloat(unsigned from);
Bits128 loadOnce(const void *from, bool wanted);
void copyToShared(unsigned to, const void *from, bool valid);
void waitForCopies();
void endGroupOfCopies();
void waitForCopiesBut(int groups);
template <int Groups> void waitForCopiesBut() { waitForCopiesBut(Groups); }
void makeBarrier(unsigned barrier, unsigned count);
inline void publishBarriers() {}
void arriveAt(unsigned barrier);
void arriveExpecting(unsigned barrier, unsigned bytes);
void waitForPhase(unsigned barrier, unsigned parity);
void copyBulk(unsigned to, const void *from, unsigned bytes, unsigned barrier);
void loadMatrices(unsigned (&to)[4], unsigned from);
void loadTransposed(unsigned (&to)[4], unsigned from);
void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, BFloat16Pair);
void multiplyAdd(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, HalfPair);
unsigned add(unsigned x, unsigned y, BFloat16Pair);
unsigned add(unsigned x, unsigned y, HalfPair);
unsigned selectBytes(unsigned x, unsigned y, unsigned which);
float shuffleXor(float x, int offset);
bool anyInWarp(bool x);
float exponential2(float x);
float reciprocal(float x);
float larger(float x, float y);
unsigned pack(float low, float high, BFloat16Pair);
unsigned pack(float low, float high, HalfPair);
int opaque(int x);
#endif

/// A place in a ring of stages, and the parity of the phase in which its barriers are.
template <int Stages> struct RingPlace {
  int stage = 0;
  unsigned parity;
  CAAT_DEVICE void advance() {
    if (++stage == Stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

} // namespace caat::runtime::cuda

#endif
