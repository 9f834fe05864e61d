// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search for plans, what others do, and all of them on text that was used for nothing else.
#include "Session.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace caat::ablate {

using runtime::Policies;

Prices Session::alone(const Result &result, const Budget &budget) const {
  Prices prices;
  for (size_t site = 0; site < numSites(); ++site) {
    prices.emplace_back(choices[site].size());
    prices[site][0] = Price{0, budget.resource(cost->of(site, choices[site][0]))};
  }
  for (const Sensitivity &figure : result.sensitivity) {
    const Choices &all = choices[figure.site];
    auto option = static_cast<size_t>(std::find(all.begin(), all.end(), figure.choice) - all.begin());
    prices[figure.site][option] = Price{figure.measure.kl, budget.resource(cost->of(figure.site, figure.choice))};
  }
  return prices;
}

/// Single moves from a plan. Estimates behind the site stay those of the plan: the runs share their way, and what
/// fitting them anew would gain shows when plans are measured as wholes.
Prices Session::around(const Candidate &centre, const std::vector<Choices> &moves, const Budget &budget) {
  std::vector<Policies> fitted = fitter.fitAround(centre.choices, moves, watchSites("fitting estimates"));
  Policies way = fitter.fit(centre.choices);
  std::string name = "around " + describe(centre.choices, manifest()) + ": ";
  Prices prices;
  std::vector<Evaluator::Plan> plans{{name + "itself", way}};
  std::vector<std::pair<size_t, size_t>> which; // site, option
  for (size_t site = 0; site < numSites(); ++site) {
    auto &row = prices.emplace_back(moves[site].size());
    row[0] = Price{0, budget.resource(cost->of(site, moves[site][0]))};
    for (size_t option = 1; option < moves[site].size(); ++option) {
      if (!fitted[site][option])
        continue;
      Policies policies = way;
      policies[site] = fitted[site][option];
      plans.push_back({name + manifest().sites[site].name + " " + moves[site][option].text(), std::move(policies)});
      which.emplace_back(site, option);
    }
  }
  std::vector<Measure> measures = measure(pricer, plans, "single moves");
  for (size_t i = 0; i < which.size(); ++i) {
    auto [site, option] = which[i];
    prices[site][option] =
        Price{measures[i + 1].kl - measures[0].kl, budget.resource(cost->of(site, moves[site][option]))};
  }
  return prices;
}

/// Each two sites that follow each other given up together: what one leaves pending, the next one's reader misses too.
Neighbours Session::neighbours(const Result &result) {
  std::vector<Policies> fitted = fitter.fitAround(Choices(numSites()), choices, watchSites("fitting estimates"));
  // Of each site the way to give it up that loses least.
  std::vector<const Sensitivity *> best(numSites(), nullptr);
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice.isDropped() && (!best[figure.site] || figure.measure.kl < best[figure.site]->measure.kl))
      best[figure.site] = &figure;
  auto policyOf = [&](size_t site) {
    const Choices &all = choices[site];
    return fitted[site][static_cast<size_t>(std::find(all.begin(), all.end(), best[site]->choice) - all.begin())];
  };
  auto full = std::make_shared<runtime::SitePolicy>();
  std::vector<Evaluator::Plan> plans;
  auto add = [&](size_t first, size_t count) {
    Choices plan(numSites());
    Policies policies(numSites(), full);
    for (size_t site = first; site < first + count; ++site) {
      plan[site] = best[site]->choice;
      policies[site] = policyOf(site);
    }
    // The second estimate knows nothing of the first.
    plans.push_back({(count > 1 ? "apart " : "") + describe(plan, manifest()), std::move(policies)});
    return plans.size() - 1;
  };
  std::vector<std::optional<size_t>> single(numSites()), pair(numSites());
  for (size_t site = 0; site < numSites(); ++site)
    if (best[site])
      single[site] = add(site, 1);
  for (size_t site = 0; site + 1 < numSites(); ++site)
    if (best[site] && best[site + 1])
      pair[site] = add(site, 2);
  std::vector<Measure> measures = measure(pricer, plans, "neighbours");
  Neighbours found{std::vector<double>(numSites()), {}};
  for (size_t site = 0; site < numSites(); ++site) {
    auto &row = found.deferred.emplace_back();
    for (const Choice &choice : choices[site])
      row.push_back(!choice.isPrivate && choice.shared < 1);
    if (!pair[site])
      continue;
    double apart = measures[*single[site]].kl + measures[*single[site + 1]].kl;
    found.factors[site] = apart > 0 ? std::max(measures[*pair[site]].kl / apart - 1, 0.0) : 0;
  }
  return found;
}

void Session::search(Result &result) {
  Neighbours together = neighbours(result);
  for (const Budget &budget : options.budgets) {
    Prices prices = alone(result, budget);
    std::vector<Choices> plans{Choices(numSites())};
    std::vector<Picks> starts = lagrangian(prices, options.starts, together);
    if (std::optional<double> limit = resourceLimit(budget, result.exactCost)) {
      // Seconds of a step are more than those of its sites.
      double common = budget.kind == Budget::Kind::Seconds ? result.workload.computeSeconds : 0;
      constexpr size_t each = 2;
      for (Picks &picked : nearest(lagrangian(prices, SIZE_MAX, together), prices, *limit - common, each))
        starts.push_back(std::move(picked));
    }
    for (const Picks &picked : starts) {
      Choices plan;
      for (size_t site = 0; site < picked.size(); ++site)
        plan.push_back(choices[site][picked[site]]);
      bool isNew =
          std::none_of(seen.begin(), seen.end(), [&](const Candidate &known) { return known.choices == plan; });
      if (isNew && std::find(plans.begin(), plans.end(), plan) == plans.end())
        plans.push_back(std::move(plan));
    }
    for (Candidate &candidate : measureAll(plans, "search"))
      seen.push_back(std::move(candidate));
    size_t round = 0;
    auto step = [&](const char *what) { return budget.text() + ", round " + std::to_string(round) + what; };
    SearchOptions settings{options.rounds, options.width, std::max<size_t>(numSites() / 6, 1)};
    improve(choices, prices, budget, result.exactCost, settings,
            {[&](const Candidate &centre, const std::vector<Choices> &moves) {
               ++round;
               return around(centre, moves, budget);
             },
             [&](const std::vector<Choices> &some) { return measureAll(some, step("")); }},
            seen);
    const Candidate *best = &seen.front();
    for (const Candidate &candidate : seen)
      if (isBetter(candidate, *best, budget, result.exactCost))
        best = &candidate;
    bool keeps = excess(*best, budget, result.exactCost) == 0;
    if (!keeps)
      result.warnings.push_back("no plan of the search keeps to the budget " + budget.text() +
                                (&budget == &options.budgets.front() ? "; the nearest one is written" : ""));
    result.plans.push_back({"search",
                            keeps ? "best for " + budget.text() : "nearest to " + budget.text(),
                            *best,
                            {},
                            &budget == &options.budgets.front(),
                            false});
  }
  keepFrontiers(result);
}

/// What no other plan beats in loss and time, loss and bytes, or loss and sync points.
void Session::keepFrontiers(Result &result) {
  constexpr size_t most = 12; // of each
  for (Budget::Kind kind : {Budget::Kind::Seconds, Budget::Kind::Bytes, Budget::Kind::Syncs}) {
    std::vector<Candidate> kept = frontier(seen, {kind, 0});
    size_t count = std::min(most, kept.size());
    for (size_t i = 0; i < count; ++i) {
      const Candidate &candidate = kept[count > 1 ? i * (kept.size() - 1) / (count - 1) : 0];
      auto same = std::find_if(result.plans.begin(), result.plans.end(),
                               [&](const NamedPlan &plan) { return plan.plan.choices == candidate.choices; });
      if (same == result.plans.end())
        same = result.plans.insert(same, {"search", "", candidate, {}, false, false});
      same->isFrontier = true;
    }
  }
}

void Session::addPlan(Result &result, const std::string &family, const std::string &label, const Choices &plan) {
  for (size_t site = 0; site < numSites(); ++site)
    if (!plan[site].isFull() && !isPossible(plan[site], manifest().sites[site]))
      return;
  if (std::none_of(result.plans.begin(), result.plans.end(),
                   [&](const NamedPlan &known) { return known.family == family && known.plan.choices == plan; }))
    result.plans.push_back({family, label, {plan, {}, cost->of(plan)}, {}, false, false});
}

/// What others do, beside what was found.
void Session::addOthers(Result &result) {
  std::vector<size_t> bySensitivity; // attention sites, as Algorithm 1 ranks them
  for (const OrderStep &step : result.algorithm1)
    bySensitivity.push_back(step.site);
  std::vector<double> value(numSites());
  for (const OrderStep &step : result.algorithm1)
    value[step.site] = step.value;
  std::sort(bySensitivity.begin(), bySensitivity.end(),
            [&](size_t a, size_t b) { return std::tie(value[a], a) < std::tie(value[b], b); });
  for (double share : {0.3, 0.5, 0.7, 1.0}) {
    Choices plan(numSites());
    auto count = static_cast<size_t>(std::lround(share * static_cast<double>(bySensitivity.size())));
    for (size_t i = 0; i < count; ++i)
      plan[bySensitivity[i]] = Choice::drop();
    if (count > 0)
      addPlan(result, "spd", "SPD, " + std::to_string(count) + (count == 1 ? " attention site" : " attention sites"),
              plan);
  }
  for (double p : {0.9, 0.75}) {
    Choices plan;
    for (const runtime::SiteSpec &site : manifest().sites) {
      Choice keep = Choice::keep(p, false, Order::Index);
      plan.push_back(isPossible(keep, site) ? keep : Choice::full());
    }
    char label[64];
    std::snprintf(label, sizeof label, "CAAT-Net's rule, p = %g", p);
    if (std::any_of(plan.begin(), plan.end(), [](const Choice &choice) { return !choice.isFull(); }))
      addPlan(result, "caat", label, plan);
  }
  bool feedsBack = std::any_of(manifest().sites.begin(), manifest().sites.end(), [](const runtime::SiteSpec &site) {
    return isPossible(Choice::round(8, 0, true), site);
  });
  for (int bits : {8, 4, 3})
    for (bool feedback : {true, false}) {
      if (feedback && !feedsBack)
        continue;
      Choices plan;
      for (const runtime::SiteSpec &site : manifest().sites) {
        Choice rounded = Choice::round(bits, feedback ? 8 : 0, feedback, feedback ? Order::Magnitude : Order::Index);
        plan.push_back(isPossible(rounded, site) ? rounded : Choice::round(8, 0, false));
      }
      addPlan(result, feedback ? "bits, feedback" : "bits, plain",
              std::to_string(bits) + " bits" + (feedback ? ", 8 exact, with feedback" : " without feedback"), plan);
    }
}

/// Every plan on text that was used for nothing else.
void Session::measureHeldOut(Result &result) {
  auto full = std::make_shared<runtime::SitePolicy>();
  auto run = [&](const std::vector<Evaluator::Plan> &plans) { return measure(tester, plans, "held-out text"); };
  result.exactTest = run({{describe(Choices(numSites()), manifest()), Policies(numSites(), full)}}).front();
  // Some at a time: a run that is stopped has to fit few again.
  constexpr size_t together = 4;
  for (size_t first = 0; first < result.plans.size(); first += together) {
    size_t end = std::min(first + together, result.plans.size());
    std::vector<Evaluator::Plan> plans;
    for (size_t i = first; i < end; ++i) {
      if (options.progress)
        options.progress("held-out text: fitting plan " + std::to_string(i + 1) + " of " +
                         std::to_string(result.plans.size()));
      plans.push_back(planOf(result.plans[i].plan.choices));
      result.plans[i].policies = plans.back().policies;
    }
    std::vector<Measure> measures = run(plans);
    for (size_t i = first; i < end; ++i)
      result.plans[i].plan.measure = measures[i - first];
  }
  for (NamedPlan &named : result.plans)
    if (named.label.empty()) {
      char label[80];
      std::snprintf(label, sizeof label, "%lld syncs, %.1f %% of the bytes",
                    static_cast<long long>(named.plan.cost.syncs),
                    100 * named.plan.cost.bytesPerToken / result.exactCost.bytesPerToken);
      named.label = label;
    }
}

} // namespace caat::ablate
