// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Search.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace caat::ablate {

Budget Budget::parse(const std::string &text) {
  Budget budget;
  size_t colon = text.find(':');
  std::string kind = text.substr(0, colon), rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  double scale = 1;
  if (kind == "ppl") {
    budget.kind = Kind::Perplexity;
  } else if (kind == "time") {
    budget.kind = Kind::Seconds;
    for (auto [unit, factor] : {std::pair{"us", 1e-6}, {"ms", 1e-3}, {"s", 1.0}})
      if (rest.ends_with(unit)) {
        scale = factor;
        rest.resize(rest.size() - std::string_view(unit).size());
        break;
      }
  } else if (kind == "bytes") {
    budget.kind = Kind::Bytes;
  } else if (kind == "syncs") {
    budget.kind = Kind::Syncs;
  }
  double value = 0;
  auto [end, failed] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  bool known = kind == "ppl" || kind == "time" || kind == "bytes" || kind == "syncs";
  bool possible = kind == "ppl" ? value >= 1 : kind == "syncs" ? value >= 0 : value > 0;
  if (!known || failed != std::errc() || end != rest.data() + rest.size() || !std::isfinite(value) || !possible)
    runtime::failInput("budget '", text,
                       "': expected ppl:RATIO (at least 1), time:SECONDS (3ms), bytes:SHARE or syncs:COUNT");
  budget.limit = value * scale;
  return budget;
}

/// The choices of least loss + weight * seconds.
static std::vector<size_t> cheapest(const Prices &prices, double weight) {
  std::vector<size_t> plan;
  for (const auto &options : prices) {
    size_t best = 0;
    auto sum = [&](size_t option) { return options[option]->loss + weight * options[option]->seconds; };
    for (size_t option = 1; option < options.size(); ++option)
      if (options[option] && sum(option) < sum(best))
        best = option;
    plan.push_back(best);
  }
  return plan;
}

std::vector<std::vector<size_t>> lagrangian(const Prices &prices, size_t most) {
  // The weights at which some site changes its mind.
  std::vector<double> weights;
  for (const auto &options : prices)
    for (const auto &a : options)
      for (const auto &b : options)
        if (a && b && b->loss > a->loss && b->seconds < a->seconds)
          weights.push_back((b->loss - a->loss) / (a->seconds - b->seconds));
  std::sort(weights.begin(), weights.end());
  std::vector<std::vector<size_t>> plans{cheapest(prices, 0)};
  for (double weight : weights) {
    std::vector<size_t> plan = cheapest(prices, weight * (1 + 1e-9));
    if (plan != plans.back())
      plans.push_back(std::move(plan));
  }
  if (plans.size() <= most || most < 2)
    return plans;
  std::vector<std::vector<size_t>> spread;
  for (size_t i = 0; i < most; ++i)
    spread.push_back(plans[i * (plans.size() - 1) / (most - 1)]);
  return spread;
}

bool fits(const Candidate &candidate, const Budget &budget, const PlanCost &exact) {
  switch (budget.kind) {
  case Budget::Kind::Perplexity:
    return candidate.measure.ratio() <= budget.limit;
  case Budget::Kind::Seconds:
    return candidate.cost.seconds <= budget.limit;
  case Budget::Kind::Bytes:
    return candidate.cost.bytesPerToken <= budget.limit * exact.bytesPerToken;
  case Budget::Kind::Syncs:
    return static_cast<double>(candidate.cost.syncs) <= budget.limit;
  }
  return false;
}

bool isBetter(const Candidate &a, const Candidate &b, const Budget &budget) {
  if (budget.kind == Budget::Kind::Perplexity && a.cost.seconds != b.cost.seconds)
    return a.cost.seconds < b.cost.seconds;
  return a.measure.kl < b.measure.kl;
}

Candidate refine(const Candidate &start, const Choices &options, const Prices &prices, const Budget &budget,
                 const PlanCost &exact, size_t width, size_t rounds, const MeasureFunction &measure,
                 std::vector<Candidate> &seen) {
  Candidate best = start;
  auto priceOf = [&](size_t site, const Choice &choice) {
    auto option = static_cast<size_t>(std::find(options.begin(), options.end(), choice) - options.begin());
    return *prices[site][option];
  };
  for (size_t round = 0; round < rounds; ++round) {
    struct Move {
      double promise;
      size_t site, option;
    };
    std::vector<Move> moves;
    bool saves = budget.kind == Budget::Kind::Perplexity; // else the budget is kept and the loss goes down
    for (size_t site = 0; site < prices.size(); ++site) {
      Price now = priceOf(site, best.choices[site]);
      for (size_t option = 0; option < options.size(); ++option) {
        if (!prices[site][option] || options[option] == best.choices[site])
          continue;
        double loss = prices[site][option]->loss - now.loss, seconds = prices[site][option]->seconds - now.seconds;
        if (saves && seconds < 0)
          moves.push_back({std::max(loss, 1e-9) / -seconds, site, option});
        else if (!saves && loss < 0)
          moves.push_back({(seconds > 0 ? seconds : 1e-12) / -loss, site, option});
      }
    }
    std::sort(moves.begin(), moves.end(), [](const Move &a, const Move &b) {
      return std::tie(a.promise, a.site, a.option) < std::tie(b.promise, b.site, b.option);
    });
    std::vector<Choices> plans;
    std::set<size_t> sites; // one move of each site in a round
    for (const Move &move : moves) {
      if (plans.size() == width)
        break;
      if (!sites.insert(move.site).second)
        continue;
      plans.push_back(best.choices);
      plans.back()[move.site] = options[move.option];
    }
    if (plans.empty())
      break;
    std::optional<Candidate> next;
    for (Candidate &candidate : measure(plans)) {
      if (fits(candidate, budget, exact) && isBetter(candidate, best, budget) &&
          (!next || candidate.measure.kl < next->measure.kl))
        next = candidate;
      seen.push_back(std::move(candidate));
    }
    if (!next)
      break;
    best = std::move(*next);
  }
  return best;
}

std::vector<Candidate> frontier(std::vector<Candidate> candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate &a, const Candidate &b) {
    return std::tie(a.cost.seconds, a.measure.added) < std::tie(b.cost.seconds, b.measure.added);
  });
  std::vector<Candidate> kept;
  for (Candidate &candidate : candidates)
    if (kept.empty() || candidate.measure.added < kept.back().measure.added)
      kept.push_back(std::move(candidate));
  return kept;
}

} // namespace caat::ablate
