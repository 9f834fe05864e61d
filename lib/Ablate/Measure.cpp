// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Measure.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate {

void Losses::append(const runtime::Judgement &reference, const runtime::Judgement &judged) {
  exact.insert(exact.end(), reference.nll.begin(), reference.nll.end());
  nll.insert(nll.end(), judged.nll.begin(), judged.nll.end());
  kl.insert(kl.end(), judged.kl.begin(), judged.kl.end());
  agree.insert(agree.end(), judged.agree.begin(), judged.agree.end());
}

namespace {

struct Mean {
  double value = 0, error = 0;
};

template <typename F> Mean meanOf(size_t count, F &&value) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i)
    sum += value(i);
  double mean = sum / static_cast<double>(count);
  for (size_t i = 0; i < count; ++i)
    squares += (value(i) - mean) * (value(i) - mean);
  auto n = static_cast<double>(count);
  return {mean, count > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

} // namespace

Measure Measure::of(const Losses &losses) {
  Measure result;
  size_t count = losses.nll.size();
  result.tokens = static_cast<int64_t>(count);
  if (count == 0)
    return result;
  Mean nll = meanOf(count, [&](size_t i) { return losses.nll[i]; });
  Mean added = meanOf(count, [&](size_t i) { return losses.nll[i] - losses.exact[i]; });
  Mean kl = meanOf(count, [&](size_t i) { return losses.kl[i]; });
  result.nll = nll.value, result.nllError = nll.error;
  result.added = added.value, result.addedError = added.error;
  result.kl = kl.value, result.klError = kl.error;
  std::vector<double> sorted = losses.kl;
  auto rank = static_cast<std::ptrdiff_t>(0.99 * static_cast<double>(count - 1));
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
  result.kl99 = sorted[static_cast<size_t>(rank)];
  result.agree = meanOf(losses.agree.size(), [&](size_t i) { return losses.agree[i] ? 1.0 : 0.0; }).value;
  return result;
}

double Measure::perplexity() const { return std::exp(nll); }
double Measure::ratio() const { return std::exp(added); }

} // namespace caat::ablate
