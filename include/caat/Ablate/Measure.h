// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a plan costs in quality, measured on a text beside the exact program.
#ifndef CAAT_ABLATE_MEASURE_H
#define CAAT_ABLATE_MEASURE_H

#include "caat/runtime/Judge.h"

namespace caat::ablate {

/// Losses of all predicted tokens of a text under one plan, and under the exact one for the same tokens.
struct Losses {
  std::vector<double> exact, nll, kl;
  std::vector<uint8_t> agree;

  void append(const runtime::Judgement &reference, const runtime::Judgement &judged);
};

/// Means over the predicted tokens, with the standard error of each mean.
struct Measure {
  int64_t tokens = 0;
  double nll = 0, nllError = 0;         // -log p, natural logarithm
  double added = 0, addedError = 0;     // to the exact program's: differences by token, so far more certain
  double kl = 0, klError = 0, kl99 = 0; // divergence from the exact distribution: mean and 99th percentile
  double agree = 0;                     // share of tokens whose most likely successor is the exact program's

  double perplexity() const;
  /// Perplexity over the exact program's: exp(added).
  double ratio() const;
  static Measure of(const Losses &losses);
};

} // namespace caat::ablate

#endif
