// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CompileProgram.h"
#include "caat/Artifact/Compile.h"
#include "caat/Lower/WeightRules.h"

/// Between quotes where a shell would not take it as it stands.
static std::string quoted(const std::string &text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=._-/:") == text.npos)
    return text;
  std::string result = "'";
  for (char c : text)
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string NumberFormats::flags() const {
  std::string text;
  auto add = [&](const std::string &flag) { text += (text.empty() ? "" : " ") + quoted(flag); };
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
