// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
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
};

void generate(const GenerateOptions &options) {
  runtime::Tensor prompt = readTokens(options.tokens);
  Progress progress(options.quiet);
  runtime::EngineOptions engineOptions = options.engineOptions();
  engineOptions.progress = std::ref(progress);
  runtime::Engine engine(options.directory, engineOptions);
  options.applyPlan(engine);
  auto begin = std::chrono::steady_clock::now();
  runtime::Tensor result =
      runtime::generate(engine, prompt, {options.maxNewTokens, options.stopToken, std::ref(progress)});
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
  CLI::App *command = app.add_subcommand("generate", "Continue a prompt, the most likely token each time");
  options->addTo(*command);
  command->add_option("--tokens", options->tokens, "Prompt: int64 .npy of shape [n] or [batch, n]")->required();
  command->add_option("--max-new-tokens", options->maxNewTokens, "Tokens to add")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--stop-token", options->stopToken, "Token that ends a row");
  command->add_option("-o,--output", options->output, "Where to write prompt and new tokens: int64 .npy");
  command->footer("Prints the new tokens, one row a line.\nExample:\n"
                  "  caat-run generate model/ --tokens=prompt.npy --max-new-tokens=32 -o out.npy");
  command->callback([options, &run] { run = [options] { generate(*options); }; });
}

} // namespace caat::run
