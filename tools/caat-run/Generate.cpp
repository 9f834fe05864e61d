// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Tasks.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace caat::run {

namespace {
struct GenerateOptions : Common {
  std::string tokens, output;
  int64_t maxNewTokens = 32;
  std::optional<int64_t> stopToken;
  runtime::Sampling sampling;
  bool samples = false;
};

void generate(const GenerateOptions &options) {
  if (!options.output.empty() && options.isFirst())
    runtime::checkOutputFile("--output", options.output);
  runtime::Tensor prompt = readTokens(options.tokens);
  Progress progress(options.quiet);
  runtime::EngineOptions engineOptions = options.engineOptions();
  engineOptions.progress = std::ref(progress);
  runtime::Engine engine(options.directory, engineOptions);
  options.applyPlan(engine);
  auto begin = std::chrono::steady_clock::now();
  runtime::GenerateOptions task{options.maxNewTokens, options.stopToken, std::ref(progress), std::nullopt};
  if (options.samples)
    task.sampling = options.sampling;
  runtime::Tensor result = runtime::generate(engine, prompt, task);
  engine.writeTrace();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  int64_t promptLength = prompt.shape.back(), length = result.shape[1];
  std::vector<std::vector<int64_t>> added;
  for (int64_t row = 0; row < result.shape[0]; ++row) {
    const int64_t *tokens = result.as<int64_t>() + row * length;
    added.emplace_back(tokens + promptLength, tokens + length);
  }
  if (!options.output.empty() && options.isFirst()) {
    if (prompt.shape.size() == 1)
      result.shape = {length};
    runtime::writeNpy(options.output, result);
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"prompt", promptLength}, {"tokens", added}, {"seconds", seconds}};
    std::cout << json.dump() << '\n';
    return;
  }
  for (const auto &row : added) {
    for (size_t i = 0; i < row.size(); ++i)
      std::cout << (i ? " " : "") << row[i];
    std::cout << '\n';
  }
}
} // namespace

void addGenerate(CLI::App &app, Action &run) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App *command = app.add_subcommand("generate", "Continue a prompt");
  options->addTo(*command);
  command->add_option("--tokens", options->tokens, "Prompt: int64 .npy of shape [n] or [batch, n]")->required();
  command->add_option("--max-new-tokens", options->maxNewTokens, "Tokens to add")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--stop-token", options->stopToken, "Token that ends a row");
  CLI::Option *temperature =
      command->add_option("--temperature", options->sampling.temperature,
                          "Draw tokens, by logits divided by this; without, take the most likely each time");
  command->add_option("--top-k", options->sampling.topK, "Draw from so many of the most likely")
      ->needs(temperature)
      ->capture_default_str();
  command
      ->add_option("--top-p", options->sampling.topP, "And of those from the fewest whose probabilities add up to this")
      ->needs(temperature)
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "Of the random numbers that tokens are drawn by")
      ->needs(temperature)
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "Where to write prompt and new tokens: int64 .npy");
  command->footer(
      "Prints the new tokens, one row a line. The same seed, program and prompt give the same tokens.\nExamples:\n"
      "  caat-run generate model/ --tokens=prompt.npy --max-new-tokens=32 -o out.npy\n"
      "  caat-run generate model/ --tokens=prompt.npy --temperature=0.7 --top-k=40 --top-p=0.9 --seed=1");
  command->callback([options, temperature, &run] {
    options->samples = temperature->count() > 0;
    if (std::string wrong = options->samples ? wrongIn([&] { options->sampling.check(); }) : ""; !wrong.empty())
      throw CLI::ValidationError(wrong);
    run = [options] { generate(*options); };
  });
}

} // namespace caat::run
