// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include <iostream>
#include <nlohmann/json.hpp>

namespace caat::run {

namespace {
struct InferOptions : Common {
  std::string inputs, outputs;
  int runs = 1;
};

void infer(const InferOptions &options) {
  runtime::checkTensorsPath(options.outputs);
  if (options.isFirst())
    runtime::checkOutputFile("--outputs", options.outputs);
  runtime::TensorMap inputs;
  if (!options.inputs.empty())
    inputs = runtime::readTensors(options.inputs);
  Progress progress(options.quiet);
  runtime::EngineOptions engineOptions = options.engineOptions();
  engineOptions.progress = std::ref(progress);
  runtime::Engine engine(options.directory, engineOptions);
  options.applyPlan(engine);
  progress("running");
  auto begin = std::chrono::steady_clock::now();
  runtime::TensorMap outputs = engine.infer(inputs);
  for (int i = 1; i < options.runs; ++i) {
    begin = std::chrono::steady_clock::now();
    outputs = engine.infer(inputs);
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  engine.writeTrace();
  if (options.isFirst())
    runtime::writeTensors(options.outputs, outputs);
  nlohmann::ordered_json result = {{"seconds", seconds}, {"outputs", nlohmann::ordered_json::object()}};
  for (const auto &[name, tensor] : outputs) {
    result["outputs"][name] = {{"dtype", nameOf(tensor.dtype)}, {"shape", tensor.shape}};
    if (!options.json)
      std::cout << name << ": " << nameOf(tensor.dtype) << runtime::toString(tensor.shape) << '\n';
  }
  if (options.json)
    std::cout << result.dump() << '\n';
}
} // namespace

void addInfer(CLI::App &app, Action &run) {
  auto options = std::make_shared<InferOptions>();
  CLI::App *command = app.add_subcommand("infer", "Run the program once on arrays from a file");
  options->addTo(*command);
  command->add_option("--inputs", options->inputs,
                      "Inputs by name: .safetensors or .npz (past caches may be left out)");
  command->add_option("-o,--outputs", options->outputs, "Where to write the outputs: .safetensors or .npz")->required();
  command->add_option("--runs", options->runs, "Run so often; outputs and time are those of the last run")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->footer("Example:\n  caat-run infer model/ --inputs=in.npz --outputs=out.npz");
  command->callback([options, &run] { run = [options] { infer(*options); }; });
}

} // namespace caat::run
