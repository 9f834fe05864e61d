// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Search.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace caat::ablate {

Budget Budget::parse(const std::string &text) {
  Budget budget;
  size_t colon = text.find(':');
  std::string kind = text.substr(0, colon), rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  double scale = 1;
  if (kind == "ppl") {
    budget.kind = Kind::Quality;
  } else if (kind == "cos") {
    budget.kind = Kind::Cosine;
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
  bool known = kind == "ppl" || kind == "cos" || kind == "time" || kind == "bytes" || kind == "syncs";
  bool possible = kind == "ppl"     ? value >= 1
                  : kind == "cos"   ? value > 0 && value <= 1
                  : kind == "syncs" ? value >= 0
                                    : value > 0;
  if (!known || failed != std::errc() || end != rest.data() + rest.size() || !std::isfinite(value) || !possible)
    runtime::failInput(
        "budget '", text,
        "': expected ppl:RATIO (at least 1), cos:COSINE (at most 1), time:SECONDS (3ms), bytes:SHARE or syncs:COUNT");
  budget.limit = value * scale;
  return budget;
}

std::string Budget::text() const {
  char text[48];
  const char *name = kind == Kind::Quality   ? "ppl"
                     : kind == Kind::Cosine  ? "cos"
                     : kind == Kind::Seconds ? "time"
                     : kind == Kind::Bytes   ? "bytes"
                                             : "syncs";
  std::snprintf(text, sizeof text, "%s:%.6g%s", name, limit, kind == Kind::Seconds ? "s" : "");
  return text;
}

double Budget::resource(const PlanCost &cost) const {
  switch (kind) {
  case Kind::Bytes:
    return cost.bytesPerToken;
  case Kind::Syncs:
    return static_cast<double>(cost.syncs);
  case Kind::Quality:
  case Kind::Cosine:
  case Kind::Seconds:
    break;
  }
  return cost.fastest();
}

/// The options of least loss + weight * resource, with option 0 at all but the `trust` sites that gain most.
static Picks cheapest(const Prices &prices, double weight, size_t trust) {
  Picks plan(prices.size());
  std::vector<std::pair<double, size_t>> gains;
  for (size_t site = 0; site < prices.size(); ++site) {
    const auto &options = prices[site];
    auto sum = [&](size_t option) { return options[option]->loss + weight * options[option]->resource; };
    for (size_t option = 1; option < options.size(); ++option)
      if (options[option] && sum(option) < sum(plan[site]))
        plan[site] = option;
    if (plan[site] != 0)
      gains.emplace_back(sum(plan[site]) - sum(0), site);
  }
  std::sort(gains.begin(), gains.end());
  for (size_t i = trust; i < gains.size(); ++i)
    plan[gains[i].second] = 0;
  return plan;
}

/// The same over all sites, with what neighbours lose together: the best way through the sites, one after another.
static Picks cheapest(const Prices &prices, double weight, const Neighbours &neighbours) {
  std::vector<double> sums(prices.front().size());         // of the best way to each option of the site
  std::vector<std::vector<size_t>> origins(prices.size()); // by site and option: the option before on that way
  for (size_t site = 0; site < prices.size(); ++site) {
    const auto &options = prices[site];
    std::vector<double> next(options.size(), INFINITY);
    origins[site].assign(options.size(), 0);
    for (size_t option = 0; option < options.size(); ++option) {
      if (!options[option])
        continue;
      double own = options[option]->loss + weight * options[option]->resource;
      for (size_t before = 0; before < (site ? sums.size() : 1); ++before) {
        double sum = own + (site ? sums[before] : 0);
        if (site && neighbours.deferred[site][option] && neighbours.deferred[site - 1][before])
          sum += neighbours.factors[site - 1] * (options[option]->loss + prices[site - 1][before]->loss);
        if (sum < next[option]) {
          next[option] = sum;
          origins[site][option] = before;
        }
      }
    }
    sums = std::move(next);
  }
  Picks plan(prices.size());
  auto last = static_cast<size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
  for (size_t site = prices.size(); site-- > 0; last = origins[site][last])
    plan[site] = last;
  return plan;
}

/// Plans for all weights at which some site changes its mind, by falling resource.
template <typename F> static std::vector<Picks> overWeights(const Prices &prices, F &&planFor) {
  std::vector<double> weights;
  for (const auto &options : prices)
    for (const auto &a : options)
      for (const auto &b : options)
        if (a && b && b->loss > a->loss && b->resource < a->resource)
          weights.push_back((b->loss - a->loss) / (a->resource - b->resource));
  std::sort(weights.begin(), weights.end());
  std::vector<Picks> plans{planFor(0.0)};
  for (double weight : weights) {
    Picks plan = planFor(weight * (1 + 1e-9));
    if (plan != plans.back())
      plans.push_back(std::move(plan));
  }
  return plans;
}

static std::vector<Picks> family(const Prices &prices, size_t trust) {
  return overWeights(prices, [&](double weight) { return cheapest(prices, weight, trust); });
}

std::vector<Picks> lagrangian(const Prices &prices, size_t most, const Neighbours &neighbours) {
  std::vector<Picks> plans = overWeights(prices, [&](double weight) {
    return neighbours.factors.empty() ? cheapest(prices, weight, SIZE_MAX) : cheapest(prices, weight, neighbours);
  });
  if (plans.size() <= most)
    return plans;
  if (most < 2)
    return {plans.begin(), plans.begin() + static_cast<std::ptrdiff_t>(most)};
  std::vector<Picks> spread;
  for (size_t i = 0; i < most; ++i)
    spread.push_back(plans[i * (plans.size() - 1) / (most - 1)]);
  return spread;
}

std::vector<Picks> nearest(const std::vector<Picks> &plans, const Prices &prices, double limit, size_t each) {
  size_t first = 0; // that keeps to the limit
  for (; first < plans.size(); ++first) {
    double resource = 0;
    for (size_t site = 0; site < prices.size(); ++site)
      resource += prices[site][plans[first][site]]->resource;
    if (resource <= limit + 1e-12 * std::abs(limit))
      break;
  }
  size_t begin = first - std::min(first, each), end = std::min(first + each, plans.size());
  return {plans.begin() + static_cast<std::ptrdiff_t>(begin), plans.begin() + static_cast<std::ptrdiff_t>(end)};
}

std::optional<double> resourceLimit(const Budget &budget, const PlanCost &exact) {
  if (budget.limitsLoss())
    return std::nullopt;
  return budget.limit * (budget.kind == Budget::Kind::Bytes ? exact.bytesPerToken : 1);
}

/// What the budget limits, such that less is better, and the limit.
static std::pair<double, double> limited(const Measure &measure, double resource, const Budget &budget,
                                         const PlanCost &exact) {
  if (budget.kind == Budget::Kind::Quality)
    return {measure.added, std::log(budget.limit)};
  if (budget.kind == Budget::Kind::Cosine)
    return {measure.added, 1 - budget.limit};
  return {resource, *resourceLimit(budget, exact)};
}

double excess(const Candidate &candidate, const Budget &budget, const PlanCost &exact) {
  auto [value, limit] = limited(candidate.measure, budget.resource(candidate.cost), budget, exact);
  return std::max(value - limit, 0.0);
}

bool isBetter(const Candidate &a, const Candidate &b, const Budget &budget, const PlanCost &exact) {
  double overA = excess(a, budget, exact), overB = excess(b, budget, exact);
  if (overA != overB)
    return overA < overB;
  if (budget.limitsLoss() && a.cost.fastest() != b.cost.fastest())
    return a.cost.fastest() < b.cost.fastest();
  return a.measure.kl < b.measure.kl;
}

std::vector<Picks> propose(const Candidate &centre, const Prices &prices, const Budget &budget, const PlanCost &exact,
                           size_t trust, size_t width) {
  std::vector<Picks> plans = family(prices, trust);
  size_t pivot = plans.size() - 1; // the best that should keep to the budget
  for (size_t i = 0; i < plans.size(); ++i) {
    Candidate expected = centre;
    double resource = budget.resource(centre.cost);
    for (size_t site = 0; site < prices.size(); ++site) {
      const Price &now = *prices[site][0], &then = *prices[site][plans[i][site]];
      expected.measure.added += then.loss - now.loss;
      resource += then.resource - now.resource;
    }
    auto [value, limit] = limited(expected.measure, resource, budget, exact);
    if (value <= limit + 1e-12 * std::abs(limit)) {
      pivot = i;
      if (!budget.limitsLoss())
        break;
    }
  }
  std::vector<Picks> nearest;
  Picks same(prices.size());
  for (size_t distance = 0; nearest.size() < width && distance < plans.size(); ++distance)
    for (size_t i : {pivot - distance, pivot + distance})
      if (i < plans.size() && (distance > 0 || i == pivot) && plans[i] != same && nearest.size() < width &&
          std::find(nearest.begin(), nearest.end(), plans[i]) == nearest.end())
        nearest.push_back(plans[i]);
  return nearest;
}

/// The options of a site that are best for some weight, by falling resource.
static std::vector<size_t> hull(const std::vector<std::optional<Price>> &options) {
  std::vector<size_t> kept;
  for (const Picks &plan : family({options}, 1))
    kept.push_back(plan.front());
  return kept;
}

/// What a site may do next: what it does, and its neighbours on the hull.
static Choices neighbours(const Choice &now, const Choices &options, const std::vector<std::optional<Price>> &alone) {
  Choices result{now};
  std::vector<size_t> hulled = hull(alone);
  for (size_t i = 0; i < hulled.size(); ++i) {
    bool isNear = options[hulled[i]] == now || (i > 0 && options[hulled[i - 1]] == now) ||
                  (i + 1 < hulled.size() && options[hulled[i + 1]] == now);
    bool isOff = std::none_of(hulled.begin(), hulled.end(), [&](size_t option) { return options[option] == now; });
    if ((isNear || isOff) && options[hulled[i]] != now)
      result.push_back(options[hulled[i]]);
  }
  return result;
}

void improve(const std::vector<Choices> &options, const Prices &alone, const Budget &budget, const PlanCost &exact,
             const SearchOptions &search, const Measuring &measuring, std::vector<Candidate> &seen) {
  auto best = [&] {
    size_t at = 0;
    for (size_t i = 1; i < seen.size(); ++i)
      if (isBetter(seen[i], seen[at], budget, exact))
        at = i;
    return at;
  };
  size_t trust = search.trust;
  for (size_t round = 0; round < search.rounds && trust > 0; ++round) {
    size_t before = best();
    const Candidate centre = seen[before]; // seen grows
    std::vector<Choices> moves;
    for (size_t site = 0; site < options.size(); ++site)
      moves.push_back(neighbours(centre.choices[site], options[site], alone[site]));
    Prices prices = measuring.prices(centre, moves);
    std::vector<Choices> plans;
    for (const Picks &picks : propose(centre, prices, budget, exact, trust, search.width)) {
      Choices plan;
      for (size_t site = 0; site < picks.size(); ++site)
        plan.push_back(moves[site][picks[site]]);
      if (std::none_of(seen.begin(), seen.end(), [&](const Candidate &known) { return known.choices == plan; }))
        plans.push_back(std::move(plan));
    }
    for (Candidate &candidate : measuring.plans(plans))
      seen.push_back(std::move(candidate));
    if (best() == before)
      trust /= 2;
  }
}

std::vector<Candidate> frontier(std::vector<Candidate> candidates, const Budget &budget) {
  auto key = [&](const Candidate &c) { return std::pair(budget.resource(c.cost), c.measure.added); };
  std::sort(candidates.begin(), candidates.end(),
            [&](const Candidate &a, const Candidate &b) { return key(a) < key(b); });
  std::vector<Candidate> kept;
  for (Candidate &candidate : candidates)
    if (kept.empty() || candidate.measure.added < kept.back().measure.added)
      kept.push_back(std::move(candidate));
  return kept;
}

} // namespace caat::ablate
