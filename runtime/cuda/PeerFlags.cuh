// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How kernels of several GPUs tell each other how far they are, by flags in memory that all of them reach.
#ifndef CAAT_RUNTIME_CUDA_PEERFLAGS_CUH
#define CAAT_RUNTIME_CUDA_PEERFLAGS_CUH

#include "Device.cuh"

#ifdef __CUDA__
DEVICE void tell(ULong *flag, ULong value) {
  asm volatile("st.release.sys.u64 [%0], %1;" ::"l"(flag), "l"(value) : "memory");
}
DEVICE ULong hear(const ULong *flag) {
  ULong value;
  asm volatile("ld.acquire.sys.u64 %0, [%1];" : "=l"(value) : "l"(flag) : "memory");
  return value;
}
DEVICE UInt look(const UInt *word) {
  UInt value;
  asm volatile("ld.relaxed.sys.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
  return value;
}
#define PAUSE
#define WAITS true
#else
namespace caat::runtime::cuda {
// Of who runs the kernels.
void hostPause();  // lets others go on, or holds this rank up
bool hostWaits();  // false to see what becomes of sums that wait for nobody
}
DEVICE void tell(ULong *flag, ULong value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
DEVICE ULong hear(const ULong *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
DEVICE UInt look(const UInt *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
#define PAUSE hostPause()
#define WAITS hostWaits()
#endif

/// Waits for another rank's block to set its flag to `number` or beyond, in a sum `call`. True where the host ended
/// that.
DEVICE bool waitFor(const ULong *flag, UInt number, UInt call, const UInt *stop, UInt *differs) {
  ULong value = hear(flag);
  for (UInt tries = 1; WAITS && static_cast<int>(static_cast<UInt>(value) - number) < 0; ++tries) {
    constexpr UInt between = 64; // the host's memory is far away
    if (tries % between == 0 && look(stop))
      return true;
    PAUSE;
    value = hear(flag);
  }
  if (static_cast<UInt>(value) == number && static_cast<UInt>(value >> 32) != call)
    *differs = 1;
  return false;
}

/// Elements of 16 bytes.
template <typename Type> struct Sixteen {
  using Stored = typename Type::Stored;
  static constexpr int size = 16 / sizeof(Stored);
  Stored at[size];
};

template <typename Type> DEVICE Sixteen<Type> loadSixteen(const void *from, long long i) {
  Words words = static_cast<const Words *>(from)[i];
  Sixteen<Type> result;
  __builtin_memcpy(&result, &words, 16);
  return result;
}
template <typename Type> DEVICE void storeSixteen(void *to, long long i, const Sixteen<Type> &x) {
  Words words;
  __builtin_memcpy(&words, &x, 16);
  static_cast<Words *>(to)[i] = words;
}

/// The sum over the ranks of number `i` at `placeOf(rank)`, in their order. All are asked for before the first is added.
template <typename Type, typename Place> DEVICE Sixteen<Type> sumOf(int ranks, Place &&placeOf, long long i) {
  constexpr int size = Sixteen<Type>::size;
  Sixteen<Type> parts[maxPeers], result;
#pragma unroll
  for (int r = 0; r < maxPeers; ++r)
    if (r < ranks)
      parts[r] = loadSixteen<Type>(placeOf(r), i);
  typename Type::Sum total[size];
  for (int k = 0; k < size; ++k)
    total[k] = Type::load(parts[0].at[k]);
#pragma unroll
  for (int r = 1; r < maxPeers; ++r)
    if (r < ranks)
      for (int k = 0; k < size; ++k)
        total[k] += Type::load(parts[r].at[k]);
  for (int k = 0; k < size; ++k)
    result.at[k] = Type::store(total[k]);
  return result;
}

#endif
