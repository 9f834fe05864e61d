// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Error.h"
#include "caat/runtime/Judge.h"
#include "caat/runtime/Tasks.h"
#include <cmath>

namespace caat::runtime {

ScoreResult score(Engine &engine, const Tensor &tokens, const ScoreOptions &options) {
  Judge judge(engine);
  if (tokens.dtype != DType::I64 || tokens.shape.size() != 1)
    failInput("the tokens to score must be an i64 array [n], not ", nameOf(tokens.dtype), toString(tokens.shape));
  int64_t total = tokens.shape[0], length = std::min(options.length, total);
  if (length < 2)
    failInput("scoring needs windows of at least 2 tokens, there are ", total, " tokens and the length is ",
              options.length);
  if (options.batch < 1 || options.windows < 0)
    failInput("batch: ", options.batch, ", windows: ", options.windows);
  int64_t windows = total / length;
  if (options.windows > 0)
    windows = std::min(windows, options.windows);
  ScoreResult result;
  for (int64_t at = 0; at < windows; at += options.batch) {
    int64_t batch = std::min(options.batch, windows - at);
    Tensor window = tokens; // shares the memory of all
    window.data = std::shared_ptr<std::byte>(tokens.data, tokens.data.get() + at * length * 8);
    window.shape = {batch, length};
    engine.start(length);
    engine.step(window);
    for (double nll : judge.losses(window).nll)
      result.nll += nll;
    result.tokens += batch * (length - 1);
    if (options.progress)
      options.progress(std::to_string(at + batch) + " of " + std::to_string(windows) + " windows, perplexity " +
                       std::to_string(std::exp(result.nll / static_cast<double>(result.tokens))));
  }
  result.nll /= static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.nll);
  return result;
}

} // namespace caat::runtime
