// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Logits.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>

namespace caat::runtime {

size_t logitsOutput(const Manifest &manifest) {
  if (manifest.outputs.empty())
    failInput("the program has no output, so no logits");
  auto named = std::find_if(manifest.outputs.begin(), manifest.outputs.end(),
                            [](const ArraySpec &output) { return output.name == "logits"; });
  size_t index = named == manifest.outputs.end() ? 0 : static_cast<size_t>(named - manifest.outputs.begin());
  const ArraySpec &spec = manifest.outputs[index];
  if (spec.dtype != DType::F32 || spec.shape.size() != 3 || (spec.shard && spec.shard->dim != 2))
    failInput("output '", spec.name, "' is not f32 [batch, n, vocabulary], so it cannot be read as logits");
  return index;
}

std::vector<int64_t> greedyStep(Engine &engine, const Tensor &next) {
  size_t index = logitsOutput(engine.manifest());
  const ArraySpec &spec = engine.manifest().outputs[index];
  std::vector<int64_t> tokens;
  engine.step(next, [&](Rank &rank) {
    auto batch = static_cast<size_t>(next.shape[0]), ranks = static_cast<size_t>(engine.size());
    std::vector<Candidate> mine(batch, noCandidate), all(batch * ranks);
    for (const Rank::Part &part : rank.parts(index)) {
      int64_t length = part.data.shape[1], width = part.data.shape[2];
      int64_t first = rank.rows().first;
      int64_t count = engine.manifest().isDivided(spec) ? rank.rows().count : part.data.shape[0];
      if (length < 1)
        failInput("output '", spec.name, "' has no position");
      if (first + count > next.shape[0])
        failInput("output '", spec.name, "' has ", count, " rows for a batch of ", batch);
      const float *last = part.data.as<float>() + (length - 1) * width;
      std::vector<Candidate> found = rank.device().best(last, count, length * width, part.runs);
      for (int64_t b = 0; b < count; ++b) {
        Candidate &winner = mine[static_cast<size_t>(first + b)];
        winner = better(winner, found[static_cast<size_t>(b)]);
      }
    }
    rank.communicator().allGatherBytes("argmax", mine.data(), all.data(), batch * sizeof(Candidate));
    if (rank.rank() != engine.firstRank())
      return;
    for (size_t b = 0; b < batch; ++b) {
      Candidate winner = all[b];
      for (size_t r = 0; r < ranks; ++r)
        winner = better(winner, all[r * batch + b]);
      if (winner.notFinite || winner.token == INT64_MAX)
        failRun("the last logits of row ", b, " contain NaN or infinity, after ", engine.past(), " tokens");
      tokens.push_back(winner.token);
    }
  });
  return tokens;
}

Tensor generate(Engine &engine, const Tensor &prompt, const GenerateOptions &options) {
  logitsOutput(engine.manifest());
  if (prompt.dtype != DType::I64 || prompt.shape.empty() || prompt.shape.size() > 2 || prompt.count() == 0)
    failInput("the prompt must be a non-empty i64 array [n] or [batch, n], not ", nameOf(prompt.dtype),
              toString(prompt.shape));
  if (options.maxNewTokens < 1)
    failInput("max-new-tokens: ", options.maxNewTokens, " is below 1");
  int64_t batch = prompt.shape.size() == 2 ? prompt.shape[0] : 1, length = prompt.shape.back();
  if (options.maxNewTokens > INT32_MAX || length > INT32_MAX)
    failInput("a prompt of ", length, " and ", options.maxNewTokens, " new tokens are too many");
  Tensor whole(DType::I64, {batch, length + options.maxNewTokens});
  Tensor rows = prompt;
  rows.shape = {batch, length};
  copyBox(whole, {0, 0}, rows, {0, 0}, rows.shape);

  engine.start(length + options.maxNewTokens);
  std::vector<bool> done(static_cast<size_t>(batch), false);
  Tensor next = rows;
  int64_t made = 0;
  while (made < options.maxNewTokens) {
    std::vector<int64_t> tokens = greedyStep(engine, next);
    next = Tensor(DType::I64, {batch, 1});
    for (int64_t b = 0; b < batch; ++b) {
      auto row = static_cast<size_t>(b);
      int64_t token = done[row] ? *options.stopToken : tokens[row];
      done[row] = done[row] || token == options.stopToken;
      next.as<int64_t>()[b] = token;
      whole.as<int64_t>()[b * (length + options.maxNewTokens) + length + made] = token;
    }
    ++made;
    if (options.progress)
      options.progress(std::to_string(made) + " of " + std::to_string(options.maxNewTokens) + " tokens");
    if (std::find(done.begin(), done.end(), false) == done.end())
      break;
  }
  Tensor result(DType::I64, {batch, length + made});
  copyBox(result, {0, 0}, whole, {0, 0}, result.shape);
  return result;
}

} // namespace caat::runtime
