// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CompileProgram.h"
#include "caat/Ablate/ShellWord.h"
#include "caat/Artifact/Compile.h"
#include "caat/Lower/WeightRules.h"

std::string NumberFormats::flags() const {
  std::string text;
  auto add = [&](const std::string &flag) { text += (text.empty() ? "" : " ") + caat::ablate::shellWord(flag); };
  for (const std::string &rule : weights)
    add("--weights=" + rule);
  if (dtype != "f32")
    add("--dtype=" + dtype);
  if (!cache.empty() && cache != dtype)
    add("--cache=" + cache);
  return text;
}

std::string NumberFormats::check() const {
  for (const std::string &text : weights)
    if (llvm::Expected<caat::WeightRule> rule = caat::WeightRule::parse(text); !rule)
      return "--weights=" + text + ": " + llvm::toString(rule.takeError()) +
             "; expected [GLOB=]i4, [GLOB=]i8 or [GLOB=]float";
  return "";
}

bool compileProgram(const ProgramSource &source, const std::string &output, int64_t tp, const std::string &heads,
                    bool progress) {
  caat::CompileOptions options;
  options.model = source.model;
  options.output = output;
  options.tp = tp;
  options.maxLength = source.maxLength;
  options.dims = source.dims;
  options.values = source.values;
  options.heads = heads;
  options.switchable = true;
  options.dtype = source.formats.dtype;
  options.cache = source.formats.cache;
  options.weightRules = source.formats.weights;
  options.progress = progress;
  caat::CompileSummary summary;
  return succeeded(caat::compileModel(options, summary));
}
