// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sum over ranks that read each other's memory; included by Kernels.cu. Each rank writes its part to memory that the
// others see, and tells them by flags; nobody's host is asked. One shot: everybody adds everything. Two shots: everybody
// adds a slice, and copies the others' sums. In the order of the ranks, so all get the same bits.
//
// The grid is the same for every sum, and block b works on what block b of the other ranks works on, so each block waits
// for those alone. There are two places for what is written, which take turns: who begins a sum has seen the others'
// flags of the one before, so nobody reads of the one before that any more.
#include "PeerFlags.cuh"

DEVICE PeerControl *controlOf(const PeerSumArguments &a, int rank) {
  return static_cast<PeerControl *>(a.memory.at[rank]);
}

/// One of the four places of a rank: for its part or its sums, in even and odd turns.
DEVICE Byte *placeOf(const PeerSumArguments &a, int rank, bool isSum, UInt turn) {
  return static_cast<Byte *>(a.memory.at[rank]) + sizeof(PeerControl) + ((isSum ? 2 : 0) + (turn & 1)) * peerBytes;
}

struct PeerPlace {
  int stopped;
};

/// Block b of every rank has come to this phase of the turn. False where the sum was ended.
DEVICE bool meetPeers(const PeerSumArguments &a, UInt turn, UInt phase, PeerPlace &place) {
  SYNCHRONIZE;
  PAUSE;
  UInt number = 2 * turn + phase;
  PARALLEL(r, a.ranks) tell(&controlOf(a, static_cast<int>(r))->flags[BLOCK][a.rank],
                            static_cast<ULong>(a.call) << 32 | number);
  PARALLEL(r, a.ranks) {
    if (waitFor(&controlOf(a, a.rank)->flags[BLOCK][r], number, a.call, a.stop, a.differs))
      place.stopped = 1;
  }
  SYNCHRONIZE;
  PAUSE;
  return !place.stopped;
}

/// The part of a rank's data that its array has: the last sixteen bytes may not be whole.
template <typename Type> DEVICE Sixteen<Type> loadOwn(const PeerSumArguments &a, long long i) {
  constexpr int size = Sixteen<Type>::size;
  if ((i + 1) * size <= a.count)
    return loadSixteen<Type>(a.data, i);
  Sixteen<Type> result = {};
  for (long long k = 0; i * size + k < a.count; ++k)
    result.at[k] = static_cast<const typename Type::Stored *>(a.data)[i * size + k];
  return result;
}
template <typename Type> DEVICE void storeOwn(const PeerSumArguments &a, long long i, const Sixteen<Type> &x) {
  constexpr int size = Sixteen<Type>::size;
  if ((i + 1) * size <= a.count)
    return storeSixteen<Type>(a.data, i, x);
  for (long long k = 0; i * size + k < a.count; ++k)
    static_cast<typename Type::Stored *>(a.data)[i * size + k] = x.at[k];
}

template <typename Type> DEVICE Sixteen<Type> sumOfPeers(const PeerSumArguments &a, UInt turn, long long i) {
  return sumOf<Type>(a.ranks, [&](int r) { return placeOf(a, r, false, turn); }, i);
}

/// Over this block's part of slice `s` of all.
#define SLICE(I, S)                                                                                                    \
  for (long long I##From = units * (S) / slices, I##Size = units * ((S) + 1) / slices - I##From,                       \
                 I = I##From + I##Size * BLOCK / BLOCKS + THREAD, I##End = I##From + I##Size * (BLOCK + 1) / BLOCKS;   \
       I < I##End; I += THREADS)

template <typename Type> DEVICE void peerSum(const PeerSumArguments &a) {
  SHARED PeerPlace place;
  PeerControl *control = controlOf(a, a.rank);
  UInt turn = control->turns[BLOCK];
  if (THREAD == 0)
    place.stopped = 0;
  long long units = (a.count + Sixteen<Type>::size - 1) / Sixteen<Type>::size, slices = a.isOneShot ? 1 : a.ranks;
  for (long long s = 0; s < slices; ++s)
    SLICE(i, s) storeSixteen<Type>(placeOf(a, a.rank, false, turn), i, loadOwn<Type>(a, i));
  if (!meetPeers(a, turn, 1, place))
    return;
  if (a.isOneShot) {
    SLICE(i, 0) storeOwn<Type>(a, i, sumOfPeers<Type>(a, turn, i));
  } else {
    SLICE(i, a.rank) {
      Sixteen<Type> sum = sumOfPeers<Type>(a, turn, i);
      storeSixteen<Type>(placeOf(a, a.rank, true, turn), i, sum);
      storeOwn<Type>(a, i, sum);
    }
    if (!meetPeers(a, turn, 2, place))
      return;
    for (long long s = 0; s < slices; ++s)
      if (s != a.rank)
        SLICE(i, s) storeOwn<Type>(a, i, loadSixteen<Type>(placeOf(a, static_cast<int>(s), true, turn), i));
  }
  SYNCHRONIZE;
  if (THREAD == 0)
    control->turns[BLOCK] = turn + 1;
}
#undef SLICE

KERNEL void caat_peer_sum_f32(PeerSumArguments a) { peerSum<Native<float>>(a); }
KERNEL void caat_peer_sum_bf16(PeerSumArguments a) { peerSum<BFloat16>(a); }
KERNEL void caat_peer_sum_f16(PeerSumArguments a) { peerSum<Half>(a); }
