// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Logits.h"
#include "Sampling.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>

namespace caat::runtime {

/// Asks for the best `count` logits at the last position of each row that this rank has a part of; of the others
/// noCandidate.
static AskedCandidates askShard(Rank &rank, const Manifest &manifest, size_t output, int64_t batch, int64_t count) {
  std::vector<AskedCandidates> asked;
  for (const Rank::Part &part : rank.parts(output)) {
    LastPositions last = lastPositions(rank, manifest, output, part, batch);
    asked.push_back(rank.device().askBest(last.first, last.rows, last.pitch, part.runs, count));
  }
  return [=, &rank] {
    std::vector<Candidate> result(static_cast<size_t>(batch * count), noCandidate);
    for (const AskedCandidates &part : asked) {
      std::vector<Candidate> found = part();
      auto mine = result.begin() + rank.rows().first * count;
      for (auto from = found.begin(); from != found.end(); from += count, mine += count) {
        std::vector<Candidate> both(from, from + count);
        both.insert(both.end(), mine, mine + count);
        keepBest(both, static_cast<size_t>(count));
        std::copy(both.begin(), both.end(), mine);
      }
    }
    return result;
  };
}

namespace {
/// Of what all ranks have found, the tokens that follow.
struct Choice {
  int64_t batch, count; // rows; candidates of each
  const Sampling *sampling;
  int64_t position; // of the next token
  int64_t past;     // tokens before the run, for messages

  std::vector<int64_t> of(const std::vector<Candidate> &all, size_t ranks) const {
    auto rows = static_cast<size_t>(batch), best = static_cast<size_t>(count);
    std::vector<int64_t> chosen;
    for (size_t b = 0; b < rows; ++b) {
      std::vector<Candidate> row;
      for (size_t r = 0; r < ranks; ++r) {
        auto part = all.begin() + static_cast<std::ptrdiff_t>((r * rows + b) * best);
        row.insert(row.end(), part, part + static_cast<std::ptrdiff_t>(best));
      }
      keepBest(row, best);
      if (row.front().notFinite || row.front().token == INT64_MAX)
        failRun("the last logits of row ", b, " contain NaN or infinity, after ", past, " tokens");
      auto number = static_cast<int64_t>(b);
      chosen.push_back(sampling ? draw(row, *sampling, uniform(sampling->seed, number, position)) : row.front().token);
    }
    return chosen;
  }
};
} // namespace

std::vector<int64_t> nextTokens(Engine &engine, const Tensor &last, const Sampling *sampling, Results computed) {
  size_t output = logitsOutput(engine.manifest());
  int64_t batch = last.shape[0], count = sampling ? sampling->topK : 1;
  Choice choice{batch, count, sampling, engine.past() + last.shape[1], engine.past()};
  std::vector<int64_t> tokens;
  auto ask = [&](Rank &rank) {
    AskedCandidates asked = askShard(rank, engine.manifest(), output, batch, count);
    return [&, asked] {
      auto ranks = static_cast<size_t>(engine.size());
      std::vector<Candidate> mine = asked(), all(mine.size() * ranks);
      rank.communicator().allGatherBytes("the best logits", mine.data(), all.data(), mine.size() * sizeof(Candidate));
      bool isFirst = rank.rank() == engine.firstRank();
      if (!sampling && !isFirst)
        return;
      std::vector<int64_t> chosen = choice.of(all, ranks);
      if (sampling) { // exp() may differ between machines: what rank 0 has drawn counts
        std::vector<int64_t> drawn(chosen.size() * ranks);
        rank.communicator().allGatherBytes("the tokens", chosen.data(), drawn.data(), chosen.size() * sizeof(int64_t));
        drawn.resize(chosen.size());
        chosen = drawn;
      }
      if (isFirst)
        tokens = chosen;
    };
  };
  engine.step(last, computed, ask);
  return tokens;
}

Tensor generate(Engine &engine, const Tensor &prompt, const GenerateOptions &options) {
  logitsOutput(engine.manifest());
  if (prompt.dtype != DType::I64 || prompt.shape.empty() || prompt.shape.size() > 2 || prompt.count() == 0)
    failInput("the prompt must be a non-empty i64 array [n] or [batch, n], not ", nameOf(prompt.dtype),
              toString(prompt.shape));
  if (options.sampling)
    options.sampling->check();
  if (options.maxNewTokens < 1)
    failInput("max-new-tokens: ", options.maxNewTokens, " is below 1");
  int64_t batch = prompt.shape.size() == 2 ? prompt.shape[0] : 1, length = prompt.shape.back();
  if (options.maxNewTokens > INT32_MAX || length > INT32_MAX)
    failInput("a prompt of ", length, " and ", options.maxNewTokens, " new tokens are too many");
  engine.start(length + options.maxNewTokens);
  Tensor whole(DType::I64, {batch, length + options.maxNewTokens});
  Tensor rows = prompt;
  rows.shape = {batch, length};
  copyBox(whole, {0, 0}, rows, {0, 0}, rows.shape);

  std::vector<bool> done(static_cast<size_t>(batch), false);
  Tensor next = rows;
  int64_t made = 0;
  while (made < options.maxNewTokens) {
    std::vector<int64_t> tokens = nextTokens(engine, next, options.sampling ? &*options.sampling : nullptr);
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
