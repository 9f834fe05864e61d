// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sum over ranks at the beginning of a kernel of a program: block b adds, in one shot, the rows that it is going to
// read, and waits for block b of the other ranks alone.
//
// Every block has places of its own, two that take turns, and counts its turns itself. Who begins turn t + 2 has heard in
// turn t + 1 that the same block of the others had begun that one, so it was done with turn t, and nobody reads any more
// what is written now. Other blocks, and kernels with more or fewer blocks, do not matter.
//
// No block waits for ever: block b waits for block b of the others alone, blocks begin in their order, and the host
// starts so many at most that each has a multiprocessor (PeerMemory::takes), so that all are there at once.
#include "PeerFlags.cuh"

struct SumRowsPlace {
  int stopped;
};

DEVICE Byte *placeOf(PeerRows *member, UInt turn) {
  return reinterpret_cast<Byte *>(member + 1) + ((turn & 1) * rowBlocks + BLOCK) * rowBytes;
}

/// data[count], at a multiple of 16 bytes and so many long, becomes the sum over the ranks, seen by all threads of the
/// block. `call` is the same on all ranks.
template <typename Type> DEVICE void sumRows(PeerRows *mine, UInt call, void *data, long long count) {
  SHARED SumRowsPlace place;
  UInt turn = mine->turns[BLOCK], number = turn + 1;
  long long units = count / Sixteen<Type>::size;
  if (THREAD == 0)
    place.stopped = 0;
  Byte *own = placeOf(mine, turn);
  PARALLEL(i, units) storeSixteen<Type>(own, i, loadSixteen<Type>(data, i));
  SYNCHRONIZE;
  PAUSE;
  PARALLEL(r, mine->ranks) {
    tell(&mine->members[r]->flags[BLOCK][mine->rank], static_cast<ULong>(call) << 32 | number);
    if (waitFor(&mine->flags[BLOCK][r], number, call, mine->stop, mine->differs))
      place.stopped = 1;
  }
  SYNCHRONIZE;
  PAUSE;
  if (!place.stopped)
    PARALLEL(i, units)
      storeSixteen<Type>(data, i, sumOf<Type>(mine->ranks, [&](int r) { return placeOf(mine->members[r], turn); }, i));
  if (THREAD == 0)
    mine->turns[BLOCK] = number;
  SYNCHRONIZE;
}
