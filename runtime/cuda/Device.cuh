// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the runtime's kernels are written in: clang compiles them for the GPU without any CUDA header; as plain C++ they
// run on the host, a block at a time, for tests: within a block, PARALLEL loops are dealt out over the threads, and
// SYNCHRONIZE stands between one that writes shared memory and one that reads it.
#ifndef CAAT_RUNTIME_CUDA_DEVICE_CUH
#define CAAT_RUNTIME_CUDA_DEVICE_CUH

#include "Kernels.h"

#ifdef __CUDA__
#define KERNEL extern "C" __attribute__((global))
#define DEVICE static inline __attribute__((device))
#define SHARED static __attribute__((shared))
#define THREAD static_cast<long long>(__nvvm_read_ptx_sreg_tid_x())
#define THREADS static_cast<long long>(__nvvm_read_ptx_sreg_ntid_x())
#define BLOCK static_cast<long long>(__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCKS static_cast<long long>(__nvvm_read_ptx_sreg_nctaid_x())
#define SYNCHRONIZE __syncthreads()
#define ATOMIC_MAX(TO, VALUE) __nvvm_atom_max_gen_ui(TO, VALUE)
/// Gives what was there before.
#define ATOMIC_ADD(TO, VALUE) __nvvm_atom_add_gen_i(reinterpret_cast<int *>(TO), VALUE)
#else
#define KERNEL extern "C"
#define DEVICE static inline
#define SHARED
namespace caat::runtime::cuda {
extern thread_local long long hostBlock, hostBlocks; // of the grid, set by who runs the kernels
}
#define THREAD 0LL
#define THREADS 1LL
#define BLOCK hostBlock
#define BLOCKS hostBlocks
#define SYNCHRONIZE
#define ATOMIC_MAX(TO, VALUE) (*(TO) = *(TO) < (VALUE) ? (VALUE) : *(TO))
#define ATOMIC_ADD(TO, VALUE) ((*(TO) += (VALUE)) - (VALUE))
#endif
/// Lets the next kernel start, and waits until the kernels before are done: what they write is read behind it.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define LET_NEXT_START asm volatile("griddepcontrol.launch_dependents;" ::: "memory")
#define WAIT_FOR_BEFORE asm volatile("griddepcontrol.wait;" ::: "memory")
#else
#define LET_NEXT_START
#define WAIT_FOR_BEFORE
#endif
#define PARALLEL(I, COUNT) for (long long I = THREAD, I##End = (COUNT); I < I##End; I += THREADS)
/// Over all threads of all blocks.
#define GRID(I, COUNT)                                                                                                 \
  for (long long I = BLOCK * THREADS + THREAD, I##End = (COUNT); I < I##End; I += BLOCKS * THREADS)

using namespace caat::runtime::cuda;

using Byte = unsigned char;
using UInt = unsigned;
using ULong = unsigned long long;
using Words = UInt __attribute__((vector_size(16)));

DEVICE UInt bitsOf(float x) {
  UInt bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}

DEVICE float floatOf(UInt bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

/// Elements as they are stored, and as they are added up.
template <typename T> struct Native {
  using Stored = T;
  using Sum = T;
  DEVICE Sum load(Stored x) { return x; }
  DEVICE Stored store(Sum x) { return x; }
};

struct BFloat16 {
  using Stored = unsigned short;
  using Sum = float;
  DEVICE Sum load(Stored x) { return floatOf(static_cast<UInt>(x) << 16); }
  /// To nearest, ties to even; NaN stays NaN.
  DEVICE Stored store(Sum x) {
    UInt bits = bitsOf(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
      return static_cast<Stored>((bits >> 16) | 64);
    return static_cast<Stored>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
  }
};

struct Half {
  using Stored = _Float16;
  using Sum = float;
  DEVICE Sum load(Stored x) { return static_cast<float>(x); }
  DEVICE Stored store(Sum x) { return static_cast<_Float16>(x); }
};

#endif
