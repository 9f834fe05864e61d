// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One rank: its weights, caches, arrays and context. Used by its own thread.
#ifndef CAAT_RUNTIME_CORE_RANK_H
#define CAAT_RUNTIME_CORE_RANK_H

#include "Memory.h"
#include "RankContext.h"
#include "caat/runtime/SafeTensors.h"

namespace caat::runtime {

class Rank {
public:
  Rank(const Program &program, Communicator &communicator, int threads);

  /// Maps the weights, checks them against the manifest and packs the linear ones.
  void load();

  /// Makes arrays for these dimensions and takes the inputs (whole arrays, in the manifest's order; kept alive by the
  /// caller until the next call). Caches keep their contents where their shape stays the same.
  void prepare(const std::vector<Tensor> &inputs, std::span<const int64_t> dims);
  /// Copies this rank's part of a whole past array [.., length, ..] into cache `index`.
  void setPast(size_t index, const Tensor &whole);
  /// Runs the program. Throws Error (Run).
  void forward();

  /// Copies what this rank contributes to the whole output, or to the cache's first `length` positions.
  void collectOutput(size_t index, Tensor &whole) const;
  void collectPresent(size_t index, Tensor &whole, int64_t length) const;

  const Tensor &output(size_t index) const { return outputs[index]; }
  Communicator &communicator() { return comm; }
  int rank() const { return comm.rank(); }
  RankContext context;

private:
  const Program &program;
  Communicator &comm;
  SafeTensors weights;
  std::vector<Tensor> parameters; // copies of those that are not aligned in the file
  std::vector<Tensor> localInputs, caches, outputs;
  std::vector<LargeBuffer> outputMemory;
  std::vector<void *> buffers;
  std::vector<int64_t> dims;
  LargeBuffer workspace;
};

/// A run of indices of a sharded dimension: whole[global ..] = local[local ..].
struct ShardRun {
  int64_t global, local, length;
};
/// What a rank holds.
std::vector<ShardRun> heldRuns(const ShardSpec &shard, int rank);
/// The same without what a lower rank holds too, so that each index is written once.
std::vector<ShardRun> ownedRuns(const ShardSpec &shard, int rank);

/// Copies a box of `extent` elements between two arrays.
void copyBox(Tensor &to, const Shape &toStart, const Tensor &from, const Shape &fromStart, const Shape &extent);

} // namespace caat::runtime

#endif
