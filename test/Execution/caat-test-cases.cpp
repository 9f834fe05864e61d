// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles and runs many small models in one process, for tests that have thousands of them. Each line of the standard
// input is one case:
//
//   MODEL.onnx <tab> INPUTS.safetensors <tab> OUTPUTS.safetensors
//
// Answered on the standard output by what the compiler or the runtime said, and then a line "=> STATUS" where STATUS is
// "ok", "refused" (the compiler reported an error) or "failed" (the run did). The artifact goes to the directory that
// is the program's argument. Diagnostics go to the standard error: give both the same pipe.
#include "caat/Artifact/Compile.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/SafeTensors.h"
#include <iostream>
#include <sstream>

using namespace caat;

static const char *runCase(const std::string &directory, const std::string &model, const std::string &inputs,
                           const std::string &outputs) {
  CompileOptions options;
  options.model = model;
  options.output = directory;
  options.progress = false;
  CompileSummary summary;
  if (failed(compileModel(options, summary)))
    return "refused";
  try {
    runtime::Engine engine(directory);
    runtime::writeSafeTensors(outputs, engine.infer(runtime::readSafeTensors(inputs)));
  } catch (const std::exception &error) {
    std::cout << error.what() << '\n';
    return "failed";
  }
  return "ok";
}

int main(int argc, char **argv) {
  if (argc != 2) {
    std::cerr << "usage: caat-test-cases DIRECTORY < CASES\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream fields(line);
    std::string model, inputs, outputs;
    std::getline(fields, model, '\t');
    std::getline(fields, inputs, '\t');
    std::getline(fields, outputs, '\t');
    const char *status = runCase(argv[1], model, inputs, outputs);
    std::cout << "=> " << status << std::endl;
  }
  return 0;
}
