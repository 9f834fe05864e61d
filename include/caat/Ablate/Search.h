// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans that trade quality for time: candidates by a Lagrangian over the sites' own prices, measured jointly, then
// refined move by move.
#ifndef CAAT_ABLATE_SEARCH_H
#define CAAT_ABLATE_SEARCH_H

#include "caat/Ablate/Measure.h"
#include "caat/Ablate/PlanCost.h"
#include <functional>
#include <optional>
#include <string>

namespace caat::ablate {

/// What a choice at one site costs with every other site full. Without a value the site cannot do it.
struct Price {
  double loss = 0;    // divergence from the exact program, mean over tokens
  double seconds = 0; // of the site's sum
};
/// prices[site][option]; option 0 is full.
using Prices = std::vector<std::vector<std::optional<Price>>>;

/// What a plan may cost at most.
struct Budget {
  enum class Kind { Perplexity, Seconds, Bytes, Syncs };
  Kind kind = Kind::Perplexity;
  double limit = 1.05; // ratio to the exact perplexity; seconds of a step; share of the bytes; sites that exchange

  /// "ppl:1.05", "time:3ms", "bytes:0.5", "syncs:40". Throws Error (Input).
  static Budget parse(const std::string &text);
};

/// Options by number for each site: for every weight of a second against the loss, the choices of least sum. From the
/// exact plan to the cheapest, each once; at most `most`, spread over the range.
std::vector<std::vector<size_t>> lagrangian(const Prices &prices, size_t most);

/// A plan with what it costs.
struct Candidate {
  Choices choices;
  Measure measure;
  PlanCost cost;
};

/// Whether a plan keeps to the budget.
bool fits(const Candidate &candidate, const Budget &budget, const PlanCost &exact);
/// Whether `a` serves the budget's purpose better: less time within a limit on quality, else less loss.
bool isBetter(const Candidate &a, const Candidate &b, const Budget &budget);

/// Measures plans; the order is kept.
using MeasureFunction = std::function<std::vector<Candidate>(const std::vector<Choices> &)>;

/// Goes on from `start` by single moves, the most promising `width` of each round measured together, as long as one of
/// them fits the budget and is better. Returns the best, and appends all that was measured to `seen`.
Candidate refine(const Candidate &start, const Choices &options, const Prices &prices, const Budget &budget,
                 const PlanCost &exact, size_t width, size_t rounds, const MeasureFunction &measure,
                 std::vector<Candidate> &seen);

/// The candidates that no other beats in both added loss and time, by time.
std::vector<Candidate> frontier(std::vector<Candidate> candidates);

} // namespace caat::ablate

#endif
