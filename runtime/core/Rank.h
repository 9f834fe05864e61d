// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One rank: its weights, caches, arrays and context. Used by its own thread.
#ifndef CAAT_RUNTIME_CORE_RANK_H
#define CAAT_RUNTIME_CORE_RANK_H

#include "RankContext.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/SafeTensors.h"
#include <array>
#include <span>

namespace caat::runtime {

/// What a rank holds.
std::vector<ShardRun> heldRuns(const ShardSpec &shard, int rank);
/// The same without what a lower rank holds too, so that each index is written once.
std::vector<ShardRun> ownedRuns(const ShardSpec &shard, int rank);

/// What a run is given: whole arrays, in the manifest's order, and the values of the dimensions.
struct RunInputs {
  std::vector<Tensor> inputs;
  std::vector<int64_t> dims;
  int64_t readTokens = allTokens; // at the end of the run: those whose results are read
};

class Rank {
public:
  /// `trace`, where given, gets what the rank does.
  Rank(const Program &program, Communicator &communicator, Device &device, Trace::Track *trace = nullptr);

  /// Maps the weights, checks them against the manifest and gives them to the device.
  void load();
  /// The same with numbers that are made up, to measure programs without their weights.
  void loadRandom(uint32_t seed);

  /// Makes arrays for these dimensions and takes the inputs (kept alive by the caller until the next call). Caches keep
  /// their contents where their shapes stay the same.
  void prepare(const RunInputs &whole);
  /// The same for a run in two halves, which take turns: the first and the last rows of all arrays, or the first and
  /// the last tokens of all but the caches, which both use then. Throws Error (Run) where an input of a half
  /// is not as its dimensions say, or an output, or a cache of the rows, is not that of the first half with that of the
  /// second one behind it.
  void prepareHalves(const RunInputs &whole, const std::array<RunInputs, 2> &halves);
  /// Copies this rank's part of a whole past array [.., length, ..] into cache `index`.
  void setPast(size_t index, const Tensor &whole);
  /// Runs the program, or the part of it that `range` says. Throws Error (Run).
  void forward(const SiteRange &range = {}, const AskOfRank &ask = {});

  /// The rows of the whole batch that this rank has: all of them, unless the batch is divided. A rank without a row
  /// computes one that nobody reads.
  struct Rows {
    int64_t first = 0, count = 0;
  };
  const Rows &rows() const { return rows_; }

  /// A part of an output, in the device's memory, and where its elements along the sharded dimension belong, each index
  /// once over all ranks and parts. Without a shard one run of everything, on one rank unless the batch is divided.
  struct Part {
    Tensor data;
    std::vector<ShardRun> runs;
  };
  std::vector<Part> parts(size_t output) const;

  /// Copies what this rank contributes to the whole output, or to the cache's first `length` positions.
  void collectOutput(size_t index, Tensor &whole) const;
  void collectPresent(size_t index, Tensor &whole, int64_t length) const;

  Communicator &communicator() { return comm; }
  Device &device() { return device_; }
  int rank() const { return comm.rank(); }
  RankContext &context() { return run.context; }
  Profile profile;

private:
  /// A run of the program, or one of two halves.
  struct Run {
    Run(const Program &program, Communicator &communicator, Device &device, Profile &profile, Trace::Track *trace)
        : context(program, communicator, device, profile, trace) {}
    RankContext context;
    std::vector<Tensor> localInputs; // in the host's memory
    DeviceBuffer inputMemory;
    std::vector<int64_t> dims;
    std::vector<void *> buffers; // of which the parameters' stay
    DeviceBuffer workspace;
  };
  void give(std::span<const HostParameter> parameters);
  void takeInputs(Run &run, const std::vector<Tensor> &inputs);
  void placeInputs(Run &run);
  void makeArrays();
  void makeCaches();
  void reserveWorkspace(Run &run);
  void forward(Run &run);
  void forwardHalves();
  Shape partShape(const ArraySpec &spec, std::span<const int64_t> of) const;
  Tensor partOf(const Tensor &parts, const ArraySpec &spec, int64_t number) const;
  int64_t shardOf(int64_t part) const;
  void divideBatch();
  Tensor localRows(const ArraySpec &spec, const Tensor &whole) const;

  const Program &program;
  Communicator &comm;
  Device &device_;
  Trace::Track *trace;
  SafeTensors weights;
  std::vector<Tensor> aligned;         // copies of parameters that are not aligned in the file
  std::vector<Tensor> caches, outputs; // in the device's memory
  std::vector<DeviceBuffer> outputMemory;
  std::vector<int64_t> dims; // of the whole run
  Rows rows_;
  Run run;
  std::unique_ptr<Run> second; // made for the first run in halves
  bool isHalved = false;
};

/// Copies a box of `extent` elements between two arrays.
void copyBox(Tensor &to, const Shape &toStart, const Tensor &from, const Shape &fromStart, const Shape &extent);

} // namespace caat::runtime

#endif
