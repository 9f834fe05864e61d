// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/World.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <cstdlib>
#include <cstring>

namespace caat::runtime {

namespace {

constexpr int defaultPort = 29400, mostPort = 65535 - 16, mostRanks = 1 << 16;

struct Launcher {
  const char *size, *rank, *localRank;
};
constexpr Launcher launchers[] = {
    {"WORLD_SIZE", "RANK", "LOCAL_RANK"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"}, // of a step: a batch script itself is none
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"},
};

int numberOf(const char *name, const char *text, int least, int most) {
  return static_cast<int>(environment::parseNumber(name, text, {least, most}));
}

/// "node7" of "node[7-9,12],other", "a" of "a,b".
std::string firstNode(const std::string &list) {
  size_t end = list.find_first_of(",["), begin = end + 1;
  std::string name = list.substr(0, end);
  if (end != std::string::npos && list[end] == '[')
    name += list.substr(begin, list.find_first_of(",-]", begin) - begin);
  return name;
}

} // namespace

std::optional<World> World::fromEnvironment(const Lookup &lookup) {
  for (const Launcher &launcher : launchers) {
    const char *size = lookup(launcher.size);
    if (!size)
      continue;
    World world;
    world.size = numberOf(launcher.size, size, 1, mostRanks);
    const char *rank = lookup(launcher.rank), *local = lookup(launcher.localRank);
    if (!rank)
      failInput(launcher.size, "=", size, " says that there are several processes, but ", launcher.rank,
                " is not set: start them with torchrun, mpirun or srun, or unset it");
    world.rank = numberOf(launcher.rank, rank, 0, world.size - 1);
    world.origin = std::string(launcher.size) + "=" + size + ", " + launcher.rank + "=" + rank;
    if (local)
      world.localRank = numberOf(launcher.localRank, local, 0, mostRanks);
    const char *address = lookup("MASTER_ADDR"), *port = lookup("MASTER_PORT"), *nodes = lookup("SLURM_STEP_NODELIST");
    bool isSlurm = &launcher == &launchers[1];
    world.address = address ? address : isSlurm && nodes ? firstNode(nodes) : "127.0.0.1";
    world.port = port ? numberOf("MASTER_PORT", port, 1, mostPort) : defaultPort;
    if (const char *job = lookup("SLURM_JOB_ID"); !port && isSlurm && job)
      world.port += numberOf("SLURM_JOB_ID", job, 0, INT32_MAX) % 1000 * 16;
    if (const char *store = lookup("TORCHELASTIC_USE_AGENT_STORE"); store && !std::strcmp(store, "True"))
      ++world.port; // torchrun itself listens there
    return world;
  }
  return std::nullopt;
}

std::optional<World> World::fromEnvironment() {
  return fromEnvironment([](const char *name) -> const char * { return std::getenv(name); });
}

} // namespace caat::runtime
