// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans that trade quality for time, bytes or sync points: candidates by a Lagrangian over the prices of single moves,
// measured jointly, and priced again from where that leads.
#ifndef CAAT_ABLATE_SEARCH_H
#define CAAT_ABLATE_SEARCH_H

#include "caat/Ablate/Measure.h"
#include "caat/Ablate/PlanCost.h"
#include <functional>
#include <optional>
#include <string>

namespace caat::ablate {

/// What a choice at one site costs while the others stay as they are. Without a value the site cannot do it.
struct Price {
  double loss = 0;     // divergence from the exact program, mean over tokens; may be less than that of the plan around
  double resource = 0; // of the kind that the budget limits
};
/// prices[site][option]; option 0 is what the plan around does.
using Prices = std::vector<std::vector<std::optional<Price>>>;
/// Numbers of options, by site.
using Picks = std::vector<size_t>;

/// What a plan may cost at most.
struct Budget {
  enum class Kind { Quality, Cosine, Seconds, Bytes, Syncs };
  Kind kind = Kind::Quality;
  double limit = 1.05; // ratio to the exact perplexity; least mean cosine to the exact embeddings; seconds of a step;
                       // share of the bytes; sites that exchange

  bool limitsLoss() const { return kind == Kind::Quality || kind == Kind::Cosine; }
  /// "ppl:1.05", "cos:0.999", "time:3ms", "bytes:0.5", "syncs:40". Throws Error (Input).
  static Budget parse(const std::string &text);
  /// As parse() reads it, times in seconds.
  std::string text() const;
  /// Of what the search saves: seconds where quality is limited.
  double resource(const PlanCost &cost) const;
};

/// What sites that follow each other lose together beside what each loses alone.
struct Neighbours {
  std::vector<double> factors; // by site: that of it and the next one, as a share of both losses; or empty
  std::vector<std::vector<bool>>
      deferred; // by site and option: whether it leaves something pending, so that this holds
};

/// For every weight of a resource against the loss, the options of least sum. From the dearest plan to the cheapest,
/// each once; at most `most`, spread over the range.
std::vector<Picks> lagrangian(const Prices &prices, size_t most, const Neighbours &neighbours = {});

/// Of plans from the dearest to the cheapest, the ones whose resource comes nearest to `limit` from both sides,
/// `each` of a side.
std::vector<Picks> nearest(const std::vector<Picks> &plans, const Prices &prices, double limit, size_t each);

/// A plan with what it costs.
struct Candidate {
  Choices choices;
  Measure measure;
  PlanCost cost;
};

/// The most of its resource that a budget allows; nothing where it limits the loss.
std::optional<double> resourceLimit(const Budget &budget, const PlanCost &exact);
/// By how much a plan exceeds the budget; 0 where it keeps to it.
double excess(const Candidate &candidate, const Budget &budget, const PlanCost &exact);
/// Whether `a` serves the budget better: less excess, then less time within a limit on quality, else less loss.
bool isBetter(const Candidate &a, const Candidate &b, const Budget &budget, const PlanCost &exact);

/// The `width` plans around `centre` that promise most for the budget, by prices of single moves from there.
std::vector<Picks> propose(const Candidate &centre, const Prices &prices, const Budget &budget, const PlanCost &exact,
                           size_t trust, size_t width);

/// What the search asks for.
struct Measuring {
  /// Prices of `options` around a plan; option 0 of each site is what the plan does there.
  std::function<Prices(const Candidate &centre, const std::vector<Choices> &options)> prices;
  /// Plans as wholes; the order is kept.
  std::function<std::vector<Candidate>(const std::vector<Choices> &)> plans;
};

struct SearchOptions {
  size_t rounds = 12; // of prices and plans
  size_t width = 4;   // plans of a round
  size_t trust = 10;  // sites that a plan may change in a round; halved when no plan of a round is better
};

/// Looks for a better plan around the best of `seen`, which may not be empty, and appends what it measures there.
/// `options[site]` with `alone`, their prices around the exact plan, say what a site may do: it moves along the convex
/// hull of those prices.
void improve(const std::vector<Choices> &options, const Prices &alone, const Budget &budget, const PlanCost &exact,
             const SearchOptions &search, const Measuring &measuring, std::vector<Candidate> &seen);

/// The candidates that no other beats in both added loss and the resource, the cheapest first.
std::vector<Candidate> frontier(std::vector<Candidate> candidates, const Budget &budget);

} // namespace caat::ablate

#endif
