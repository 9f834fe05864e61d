// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory that ranks with a GPU each read of each other, for sums of small messages without NCCL: within a process by
// peer access, between the processes of a machine by CUDA IPC. Used where every GPU reaches every other.
#ifndef CAAT_RUNTIME_CUDA_PEERMEMORY_H
#define CAAT_RUNTIME_CUDA_PEERMEMORY_H

#include "Kernels.h"
#include "Queue.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Peers.h"
#include <atomic>
#include <span>

namespace caat::runtime::cuda {

/// CAAT_CUDA_LOCAL_PEERS=1: ranks that share a device have such memory too, so kernels on it wait for other ranks'.
inline bool joinsLocalRanks() { return environment::isOn("CAAT_CUDA_LOCAL_PEERS", false); }

class PeerMemory {
public:
  /// For the ranks on these devices, which are all, or this process's one of `peers`. Nothing where some GPU does not
  /// reach another, or where CAAT_CUDA_PEERS=0 says so; all processes find the same. Throws Error (Run).
  static std::unique_ptr<PeerMemory> make(std::span<const Context *const> places, Peers *peers);
  ~PeerMemory();

  enum class Way { Library, OneShot, TwoShots };
  /// How a sum is made: small ones here, by how much a rank would read.
  Way wayFor(DType dtype, size_t bytes, const void *data) const;
  bool takes(DType dtype, size_t bytes, const void *data) const;
  /// Asks for the sum of an exchange on the stream of rank `index` of this process.
  void sum(const Exchange &exchange, size_t index, bool oneShot, CUstream stream) const;
  /// Whether `blocks` blocks of a kernel, which add at most `bytes` each, may begin with the sum.
  bool takesRows(int64_t blocks, int64_t bytes) const;
  /// What such a kernel of rank `index` is given: a number that is the same where all ranks sum the same, and the
  /// address of its PeerRows.
  struct RowsArguments {
    int64_t call, mine;
  };
  RowsArguments rowsArguments(const CollectiveCall &call, size_t index) const;

  /// Ends all waiting: what was being summed is void.
  void stop();
  /// Whether ranks have summed different things.
  bool differs() const { return std::atomic_ref(words[1]).load(std::memory_order_relaxed) != 0; }
  /// All ranks are of this process and idle: begins anew.
  void reset();

private:
  PeerMemory(std::span<const Context *const> places, Peers *peers);
  bool open(Peers &peers);
  PeerRows *rowsOf(int rank) const;

  std::vector<const Context *> places;
  int size, first;    // ranks, and the number of the first one here
  size_t most;        // bytes of a message
  int64_t mostBlocks; // of a kernel that begins with a sum: no GPU has fewer multiprocessors
  std::vector<std::shared_ptr<std::byte>> memory; // of the ranks here
  std::vector<CUdeviceptr> opened;                // of other processes
  Pointers all = {};
  std::shared_ptr<std::byte> onHost;
  PeerRows *pinned = nullptr; // in it, for uploads; behind it the words
  unsigned *words = nullptr;  // stop, differs
};

} // namespace caat::runtime::cuda

#endif
