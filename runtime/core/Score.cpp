// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Logits.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <cmath>

namespace caat::runtime {

namespace {

/// What a rank knows of one prediction.
struct Part {
  LogSumExp sum;
  double target; // the right token's logit, NaN where another rank has it
};

/// -log p of the token that follows each position, summed; on rank 0's thread.
double sumNll(Engine &engine, Rank &rank, size_t output, const Tensor &tokens) {
  const ArraySpec &spec = engine.manifest().outputs[output];
  int64_t batch = tokens.shape[0], length = tokens.shape[1];
  std::vector<Part> mine(static_cast<size_t>(batch * (length - 1)), Part{{-INFINITY, 0}, NAN});
  for (const Rank::Part &columns : rank.parts(output)) {
    const Shape &shape = columns.data.shape;
    int64_t first = rank.rows().first, width = shape[2];
    int64_t count = engine.manifest().isDivided(spec) ? rank.rows().count : shape[0];
    if (first + count > batch || (count != batch && !engine.manifest().isDivided(spec)) || shape[1] != length)
      failInput("output '", spec.name, "' has shape ", toString(shape), ", scoring needs logits at each of ", length,
                " positions");
    for (int64_t b = 0; b < count; ++b)
      for (int64_t i = 0; i + 1 < length; ++i) {
        const float *row = columns.data.as<float>() + (b * length + i) * width;
        int64_t target = tokens.as<int64_t>()[(first + b) * length + i + 1];
        Part &part = mine[static_cast<size_t>((first + b) * (length - 1) + i)];
        for (const ShardRun &run : columns.runs) {
          part.sum.add(logSumExp(row + run.local, run.length));
          if (target >= run.global && target < run.global + run.length)
            part.target = row[run.local + target - run.global];
        }
      }
  }
  std::vector<Part> all(mine.size() * static_cast<size_t>(engine.size()));
  rank.communicator().allGatherBytes("score", mine.data(), all.data(), mine.size() * sizeof(Part));
  if (rank.rank() != 0)
    return 0;
  double nll = 0;
  for (size_t i = 0; i < mine.size(); ++i) {
    LogSumExp sum{-INFINITY, 0};
    double target = NAN;
    for (size_t r = 0; r < static_cast<size_t>(engine.size()); ++r) {
      const Part &part = all[r * mine.size() + i];
      sum.add(part.sum);
      if (!std::isnan(part.target))
        target = part.target;
    }
    double loss = sum.value() - target;
    if (!std::isfinite(loss))
      failRun("the logits of row ", static_cast<int64_t>(i) / (length - 1), " at position ",
              static_cast<int64_t>(i) % (length - 1), " of a window give no finite loss");
    nll += loss;
  }
  return nll;
}

} // namespace

ScoreResult score(Engine &engine, const Tensor &tokens, const ScoreOptions &options) {
  size_t output = logitsOutput(engine.manifest());
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
    double sum = 0;
    engine.step(window, [&](Rank &rank) {
      double part = sumNll(engine, rank, output, window);
      if (rank.rank() == 0)
        sum = part;
    });
    result.nll += sum;
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
