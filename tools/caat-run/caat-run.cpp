// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs artifacts of caat-compile. Results go to stdout, progress and errors to stderr; the exit code is 0, 1 where the
// input or the run failed, 2 for wrong usage.
#include "Commands.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/SafeOutput.h"
#include <cerrno>
#include <cstring>
#include <iostream>

int main(int argc, char **argv) {
  caat::runtime::SafeOutput output(std::cout), errors(std::cerr);
  CLI::App app("Runs transformers that caat-compile divided over ranks.", "caat-run");
  app.set_version_flag("--version", std::string("caat-run ") + CAAT_VERSION);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App *app, const CLI::Error &e) {
    return "caat-run: error: " + std::string(e.what()) + "\nTry '" + app->get_name() + " --help'.\n";
  });
  app.footer("Examples:\n"
             "  caat-run infer model/ --inputs=in.npz --outputs=out.npz\n"
             "  caat-run generate model/ --tokens=prompt.npy --max-new-tokens=32 -o out.npy\n"
             "  caat-run score model/ --tokens=corpus.npy --length=512\n"
             "  caat-run bench model/ --prefill=512 --decode=64");
  caat::run::Action action;
  caat::run::addInfer(app, action);
  caat::run::addGenerate(app, action);
  caat::run::addScore(app, action);
  caat::run::addBench(app, action);
  caat::run::addVerify(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    action();
    if (!std::cout.flush())
      caat::runtime::failRun("cannot write to stdout: ", std::strerror(errno));
  } catch (const std::exception &e) {
    std::cerr << "caat-run: error: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
