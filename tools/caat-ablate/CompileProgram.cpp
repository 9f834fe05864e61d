// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CompileProgram.h"
#include "caat/Artifact/Compile.h"

bool compileProgram(const std::string &model, const std::string &output, int64_t tp, int64_t maxLength,
                    const std::vector<std::string> &dims, const std::vector<std::string> &values,
                    const std::string &heads, bool progress) {
  caat::CompileOptions options;
  options.model = model;
  options.output = output;
  options.tp = tp;
  options.maxLength = maxLength;
  options.dims = dims;
  options.values = values;
  options.heads = heads;
  options.switchable = true;
  options.progress = progress;
  caat::CompileSummary summary;
  return succeeded(caat::compileModel(options, summary));
}
