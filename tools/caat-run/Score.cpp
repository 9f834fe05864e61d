// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/Tasks.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace caat::run {

namespace {
struct ScoreOptions : Common, runtime::ScoreOptions {
  std::string tokens;
};

void score(const ScoreOptions &options) {
  runtime::Tensor tokens = readTokens(options.tokens);
  Progress progress(options.quiet);
  runtime::EngineOptions engineOptions = options.engineOptions();
  engineOptions.progress = std::ref(progress);
  runtime::Engine engine(options.directory, engineOptions);
  options.applyPlan(engine);
  runtime::ScoreOptions task = options;
  task.progress = std::ref(progress);
  auto begin = std::chrono::steady_clock::now();
  runtime::ScoreResult result = runtime::score(engine, tokens, task);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  engine.writeTrace();
  nlohmann::ordered_json json = {
      {"nll", result.nll}, {"perplexity", result.perplexity}, {"tokens", result.tokens}, {"seconds", seconds}};
  std::cout << json.dump() << '\n';
}
} // namespace

void addScore(CLI::App &app, Action &run) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App *command = app.add_subcommand("score", "Perplexity per token of a text");
  options->addTo(*command);
  command->add_option("--tokens", options->tokens, "Text: int64 .npy of shape [n]")->required();
  command->add_option("--length", options->length, "Tokens of a window; windows do not overlap")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--samples", options->windows, "Windows to score, from the start (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Windows to run together")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->footer(
      "Prints {\"nll\", \"perplexity\", \"tokens\", \"seconds\"}: the mean over the predicted tokens.\nExample:\n"
      "  caat-run score model/ --tokens=corpus.npy --length=512 --samples=4");
  command->callback([options, &run] { run = [options] { score(*options); }; });
}

} // namespace caat::run
