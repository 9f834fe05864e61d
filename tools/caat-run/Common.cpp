// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Npy.h"
#include <cstdio>
#include <iostream>
#include <unistd.h>

namespace caat::run {

std::string wrongIn(const std::function<void()> &check) {
  try {
    check();
  } catch (const runtime::Error &e) {
    return e.what();
  }
  return "";
}

void Common::addTo(CLI::App &command) {
  command.add_option("DIR", directory, "Artifact that caat-compile made")->required();
  command.add_option("--threads-per-rank", threadsPerRank, "Threads of each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--timeout", timeout, "Seconds that a rank waits for the others in a collective")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command
      .add_option("--link", link,
                  "Simulate a link between machines, by making the ranks wait as long: 10GB/s or 10GB/s,5us")
      ->check([](const std::string &text) { return wrongIn([&] { runtime::parseLink(text); }); });
  command
      .add_option("--halves", halves,
                  "Run in two halves that take turns, so that the sums of one travel while the other computes; the "
                  "results are those of a whole run up to rounding. auto: where --link is slow enough for it to pay")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command.add_option("--plan", plan, "What each sync point sends; the program must be compiled with --switchable");
  command.add_option("--device", devices, "Numbers of the GPUs, where the program is compiled for some: 0 or 0,1,2,3")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0, 1023));
  command
      .add_option("--processes", processes,
                  "Whether this process is one rank of several that torchrun, mpirun or Slurm has started, each with "
                  "its own GPU; auto: where their "
                  "variables name more than one")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command.add_option("--trace", trace, "Write what each rank did when: JSON for Perfetto or chrome://tracing")
      ->type_name("FILE.json");
  command.add_flag("--json", json, "Print the result as JSON");
  command.add_flag("--quiet,-q", quiet, "No progress on stderr");
}

std::optional<runtime::World> Common::world() const {
  if (processes == "off")
    return std::nullopt;
  std::optional<runtime::World> found = runtime::World::fromEnvironment();
  if (processes == "on" && !found)
    runtime::failInput(
        "--processes=on, but no launcher has set RANK and WORLD_SIZE (or those of Slurm, Open MPI, PMI)");
  if (processes == "auto" && found && found->size == 1)
    return std::nullopt;
  return found;
}

bool Common::isFirst() const {
  auto here = world();
  return !here || here->rank == 0;
}

runtime::EngineOptions Common::engineOptions() const {
  runtime::EngineOptions options;
  options.threadsPerRank = threadsPerRank;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(std::max(1.0, timeout * 1000)));
  options.trace = trace;
  options.devices = devices;
  options.halves = halves == "on"    ? runtime::HalvesMode::On
                   : halves == "off" ? runtime::HalvesMode::Off
                                     : runtime::HalvesMode::Auto;
  options.world = world();
  if (!isFirst() && !std::freopen("/dev/null", "w", stdout)) // rank 0 prints
    runtime::failRun("cannot write to /dev/null");
  if (!link.empty())
    options.link = runtime::parseLink(link);
  return options;
}

void Common::applyPlan(runtime::Engine &engine) const {
  if (!plan.empty())
    engine.setPolicies(readPolicies(runtime::readPlan(plan), engine.manifest()));
}

/// Not through std::cerr, which lets no escape sequence pass.
static void clearLine() { std::fputs("\r\x1b[K", stderr); }

Progress::Progress(bool quiet) : quiet(quiet), terminal(isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (terminal && shown)
    clearLine();
}

void Progress::operator()(const std::string &text) {
  auto now = std::chrono::steady_clock::now();
  auto pause = terminal ? std::chrono::milliseconds(50) : std::chrono::milliseconds(3000);
  if (quiet || (shown && now - last < pause))
    return;
  if (terminal)
    clearLine();
  std::cerr << text << (terminal ? "" : "\n") << std::flush;
  shown = true;
  last = now;
}

runtime::Tensor readTokens(const std::string &path) {
  runtime::Tensor tokens = runtime::readNpy(path);
  if (tokens.dtype != runtime::DType::I64)
    runtime::failInput(path, ": tokens must be int64, this is ", nameOf(tokens.dtype));
  return tokens;
}

} // namespace caat::run
