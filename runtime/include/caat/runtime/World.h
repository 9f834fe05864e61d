// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The processes that run a program together, one for each rank, as torchrun, mpirun or Slurm have started them.
#ifndef CAAT_RUNTIME_WORLD_H
#define CAAT_RUNTIME_WORLD_H

#include <functional>
#include <optional>
#include <string>

namespace caat::runtime {

struct World {
  int rank = 0, size = 1;
  int localRank = 0;   // among the processes of this machine
  std::string address; // where rank 0 waits for the others
  int port = 0;        // the first of several that are tried
  std::string origin;  // the variables that say so, for messages

  using Lookup = std::function<const char *(const char *)>;
  /// What a launcher has set, the first of: WORLD_SIZE, RANK, LOCAL_RANK (torchrun); SLURM_STEP_NUM_TASKS,
  /// SLURM_PROCID, SLURM_LOCALID; OMPI_COMM_WORLD_SIZE and its like; PMI_SIZE, PMI_RANK, MPI_LOCALRANKID. Rank 0 is at
  /// MASTER_ADDR, or on Slurm's first node, or on this machine; MASTER_PORT. Nothing where there is none. Throws Error
  /// (Input) where one is no number or missing.
  static std::optional<World> fromEnvironment(const Lookup &lookup);
  static std::optional<World> fromEnvironment();
};

} // namespace caat::runtime

#endif
