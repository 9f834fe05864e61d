// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the logits of a run are worth: the losses of a text, and how far they are from those of another run.
#ifndef CAAT_RUNTIME_JUDGE_H
#define CAAT_RUNTIME_JUDGE_H

#include "caat/runtime/Engine.h"

namespace caat::runtime {

/// By predicted token: rows one behind the other, each without its first token.
struct Judgement {
  std::vector<double> nll;    // -log p of the token that follows, natural logarithm
  std::vector<double> kl;     // Kullback-Leibler divergence from the reference's distribution; empty without one
  std::vector<uint8_t> agree; // whether the most likely token is the reference's; empty without one
};

/// Reads the logits that an engine's last step has left with the ranks. One reference at a time; it is kept divided
/// over the ranks as the logits are, with 4 bytes an element.
class Judge {
public:
  /// Throws Error (Input) where the program has no output of logits.
  explicit Judge(Engine &engine);
  ~Judge();

  /// Judges the last step, which was over `tokens`, i64 [batch, n], and makes it the reference. Throws Error (Input)
  /// where there are no logits for every position, (Run) where a loss is not finite.
  Judgement setReference(const Tensor &tokens);
  /// The same without a reference to compare with.
  Judgement losses(const Tensor &tokens);
  /// Judges the last step beside the reference, which was over the same tokens. Throws Error as above.
  Judgement compare(const Tensor &tokens);

private:
  struct Slice;
  struct Step;
  enum class Mode { Losses, SetReference, Compare };
  Judgement judge(const Tensor &tokens, Mode mode);

  Engine &engine;
  size_t output;
  std::vector<Slice> reference; // by rank
};

} // namespace caat::runtime

#endif
