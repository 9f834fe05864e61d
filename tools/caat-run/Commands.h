// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The commands of caat-run. Each adds its subcommand to the app; `run` is what to do after parsing.
#ifndef CAAT_TOOLS_CAATRUN_COMMANDS_H
#define CAAT_TOOLS_CAATRUN_COMMANDS_H

#include "caat/runtime/Engine.h"
#include <CLI/CLI.hpp>

namespace caat::run {

using Action = std::function<void()>;

void addInfer(CLI::App &app, Action &run);
void addGenerate(CLI::App &app, Action &run);
void addScore(CLI::App &app, Action &run);
void addBench(CLI::App &app, Action &run);
void addVerify(CLI::App &app, Action &run);

/// Options that every command has.
struct Common {
  std::string directory;
  int threadsPerRank = 1;
  double timeout = 30;
  std::string link, plan, trace;
  std::vector<int> devices;
  bool json = false, quiet = false;
  std::string processes = "auto", halves = "auto";

  void addTo(CLI::App &command);
  runtime::EngineOptions engineOptions() const;
  /// The rank of this process, where a launcher has started one for each.
  std::optional<runtime::World> world() const;
  /// Whether this process prints and writes the results.
  bool isFirst() const;
  /// Gives the sync points of a switchable program the policies of --plan, where it is given.
  void applyPlan(runtime::Engine &engine) const;
};

/// Shows one line on stderr that is overwritten; where stderr is no terminal, a line every few seconds.
class Progress {
public:
  explicit Progress(bool quiet);
  ~Progress();
  void operator()(const std::string &text);

private:
  bool quiet, terminal, shown = false;
  std::chrono::steady_clock::time_point last{};
};

/// What `check` throws, as CLI11's validators say it: "" for nothing.
std::string wrongIn(const std::function<void()> &check);

/// An i64 array from a .npy file.
runtime::Tensor readTokens(const std::string &path);

} // namespace caat::run

#endif
