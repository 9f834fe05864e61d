// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs many plans of one switchable program over one text. Plans that agree up to a site share the run up to there.
#ifndef CAAT_ABLATE_EVALUATOR_H
#define CAAT_ABLATE_EVALUATOR_H

#include "caat/Ablate/Embeddings.h"
#include "caat/Ablate/Measure.h"
#include "caat/Ablate/Store.h"
#include "caat/Ablate/Text.h"

namespace caat::ablate {

/// Work in units of sites passed, so that shared prefixes count once.
struct Work {
  int64_t done = 0, total = 0; // sites passed by one batch
};

class Evaluator {
public:
  /// `hold`: bytes of reference distributions to keep between calls instead of running the exact program again.
  /// What is in the store is not run again; its keys are the plans' behind `prefix`.
  Evaluator(runtime::Engine &engine, Text text, size_t hold, Store &store, std::string prefix);
  ~Evaluator();

  struct Plan {
    std::string key; // the same for equal policies only
    runtime::Policies policies;
  };
  /// Losses of each plan. The exact program is run where its distribution is not at hand. `progress` is called as the
  /// work proceeds, and may throw to stop it. Throws Error.
  std::vector<Losses> run(const std::vector<Plan> &plans, const std::function<void(const Work &)> &progress = {});

  const Text &text() const { return text_; }
  /// Sites that have been passed by runs so far, all batches; a whole run passes all of them.
  int64_t sitesPassed() const { return passed; }
  int64_t numSites() const;

private:
  class Batch;
  void prepare(const std::function<void(int64_t)> &passed);

  runtime::Engine &engine;
  Text text_;
  size_t hold;
  Store &store;
  std::string prefix;
  std::vector<std::unique_ptr<Batch>> held;
  Embeddings exact; // of a text that is no language model's
  int64_t passed = 0;
};

/// How many sites the runs of `plans` pass when those that agree up to a site share the run up to there.
int64_t countSites(const std::vector<runtime::Policies> &plans);

} // namespace caat::ablate

#endif
