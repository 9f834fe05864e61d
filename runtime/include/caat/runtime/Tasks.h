// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What one does with a language model: generate, score.
#ifndef CAAT_RUNTIME_TASKS_H
#define CAAT_RUNTIME_TASKS_H

#include "caat/runtime/Engine.h"

namespace caat::runtime {

using ProgressFunction = std::function<void(const std::string &)>;

/// How a token is drawn, in this order: logits over the temperature, of which the best `topK` stay, and of those the
/// fewest whose probabilities together are at least `topP`.
struct Sampling {
  double temperature = 1;
  int64_t topK = 50; // 1 to mostTopK
  double topP = 1;   // above 0, up to 1
  uint64_t seed = 0; // a row draws the same whatever stands in the other rows

  static constexpr int64_t mostTopK = 1024;
  /// Throws Error (Input).
  void check() const;
};

struct GenerateOptions {
  int64_t maxNewTokens = 32;
  std::optional<int64_t> stopToken; // a row is done when it appears; the run ends when all rows are
  ProgressFunction progress;
  std::optional<Sampling> sampling = {}; // without, the most likely token each time
};

/// Continues `prompt`, which is i64 [n] or [batch, n]; returns prompt and new tokens [batch, n + new]. Rows that
/// are done repeat the stop token. Of equal logits the lowest token comes first. Throws Error.
Tensor generate(Engine &engine, const Tensor &prompt, const GenerateOptions &options);

struct ScoreOptions {
  int64_t length = 512; // tokens of a window
  int64_t batch = 1;    // windows run together
  int64_t windows = 0;  // 0: all
  ProgressFunction progress;
};

struct ScoreResult {
  double nll = 0;        // mean over the predicted tokens, natural logarithm
  double perplexity = 0; // exp(nll), per token of this vocabulary
  int64_t tokens = 0;    // predicted
};

/// Negative log-likelihood of `tokens`, i64 [n], in windows that do not overlap; a shorter rest is left out, unless it
/// is all there is. The first token of a window is not predicted. Throws Error.
ScoreResult score(Engine &engine, const Tensor &tokens, const ScoreOptions &options);

/// Which output holds the logits: "logits", else the first one. Throws Error (Input) where it has no shape
/// [batch, n, vocabulary] of f32.
size_t logitsOutput(const Manifest &manifest);

/// Feeds tokens [batch, n] and returns one for each row by the logits at the last position: the most likely, or one
/// that is drawn. `computed`: the logits that are made, read or not.
std::vector<int64_t> nextTokens(Engine &engine, const Tensor &tokens, const Sampling *sampling = nullptr,
                                Results computed = Results::LastToken);

/// Feeds tokens [batch, n] and returns the logits at the last position, f32 [batch, vocabulary]; in processes of other
/// ranks than rank 0 only what these have of them. Throws Error (Input) where the program's logits have no fixed
/// vocabulary.
Tensor lastLogits(Engine &engine, const Tensor &tokens);

/// An all-reduce of fp32 in place, as nccl-tests times it.
struct CollectiveTiming {
  int64_t bytes = 0;
  double seconds = 0; // of a call, on the slowest rank
  int64_t wrong = 0;  // elements that are not the sum, on all ranks
  int way = -1;       // of Communicator::sumWays(); below 0: that of this size

  double algorithmBandwidth() const { return static_cast<double>(bytes) / seconds; }
  /// What a ring of so many ranks would send at this speed.
  double busBandwidth(int ranks) const { return algorithmBandwidth() * 2 * (ranks - 1) / ranks; }
};
/// For each size the way that is chosen for it and, where there are several, each of them; `ways` become their names.
std::vector<CollectiveTiming> timeAllReduce(Engine &engine, std::span<const int64_t> bytes, int turns,
                                            std::vector<std::string> &ways);

/// Work of each rank that is made ready once and timed again and again, between other work.
class RepeatedWork {
public:
  using Maker = std::function<std::function<void()>(Rank &rank)>;
  RepeatedWork(Engine &engine, const Maker &make);
  /// Does it once, all ranks at once: the slowest rank's time.
  double seconds();

private:
  Engine &engine;
  std::vector<std::function<void()>> works; // by rank, of those in this process
};
/// The program's products with weights and nothing else, one after the other, each with so many rows of made-up
/// numbers.
RepeatedWork productsAlone(Engine &engine, int64_t rows);
/// What the products with the weights of one shape take, each with so many rows.
struct ProductTiming {
  int64_t k, n, weights; // so many of that shape
  double seconds;        // of one
  double untimed;        // of one by the algorithm that the library proposes first; 0 where there is no choice
  size_t bytes;          // of its weight
};
std::vector<ProductTiming> timeProductsByShape(Engine &engine, int64_t rows, int turns);
/// Bytes a second that each rank can read at most, all ranks at once.
double timeReads(Engine &engine, int turns);

} // namespace caat::runtime

#endif
