// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Program.h"
#include <iostream>

namespace caat::run {

namespace {
struct VerifyOptions {
  std::string directory;
  bool quiet = false;
};

void verify(const VerifyOptions &options) {
  runtime::Program program(options.directory);
  Progress progress(options.quiet);
  if (const std::optional<runtime::GpuSpec> &gpu = program.manifest().gpu) {
    if (gpu->digests.empty())
      runtime::failArtifact(options.directory, "/manifest.json: has no digests of the GPU's kernels, which an older "
                                               "caat-compile did not write; compile again");
    for (const std::string &file : gpu->files())
      program.openKernels(file);
  }
  int ranks = program.manifest().tp;
  for (int rank = 0; rank < ranks; ++rank) {
    progress("reading " + program.weightsPath(rank));
    program.checkWeights(rank);
  }
  if (!options.quiet)
    std::cout << "manifest, code and the weights of " << ranks << (ranks == 1 ? " rank" : " ranks")
              << " belong together\n";
}
} // namespace

void addVerify(CLI::App &app, Action &run) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App *command =
      app.add_subcommand("verify", "Read all of an artifact: whether its files belong together and are undamaged");
  command->add_option("DIR", options->directory, "Artifact that caat-compile made")->required();
  command->add_flag("--quiet,-q", options->quiet, "Say nothing where all is well");
  command->footer("Example:\n  caat-run verify model/");
  command->callback([options, &run] { run = [options] { verify(*options); }; });
}

} // namespace caat::run
