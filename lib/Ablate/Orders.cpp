// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What sites tell alone, and given up one after another.
#include "Session.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace caat::ablate {

using runtime::Policies;

/// Every option at every site, all others full.
void Session::sweep(Result &result) {
  std::vector<Policies> fitted = fitter.fitAround(Choices(numSites()), choices, watchSites("fitting estimates"));
  std::vector<Evaluator::Plan> plans;
  std::vector<Policies> all;
  auto full = std::make_shared<runtime::SitePolicy>();
  for (size_t site = 0; site < numSites(); ++site)
    for (size_t option = 1; option < choices[site].size(); ++option)
      if (fitted[site][option]) {
        Choices plan(numSites());
        plan[site] = choices[site][option];
        all.emplace_back(numSites(), full)[site] = fitted[site][option];
        plans.push_back({describe(plan, manifest()), all.back()});
        result.sensitivity.push_back({site, choices[site][option], {}});
      } else {
        result.refusals.push_back({site, choices[site][option], whyNot(choices[site][option], manifest().sites[site])});
      }
  auto begin = Clock::now();
  std::vector<Measure> measures = measure(searcher, plans, "single sites");
  result.sweepSeconds = secondsSince(begin);
  result.sweepRatio =
      static_cast<double>(countSites(all)) / static_cast<double>(numSites() * std::max<size_t>(plans.size(), 1));
  for (size_t i = 0; i < measures.size(); ++i)
    result.sensitivity[i].measure = measures[i];
}

/// SPD's Algorithm 1: attention sites dropped from the last to the first, each with all behind it.
void Session::algorithm1(Result &result) {
  std::vector<size_t> sites;
  for (size_t site = numSites(); site-- > 0;)
    if (splitName(manifest().sites[site].name).second != "mlp" && isPossible(Choice::drop(), manifest().sites[site]))
      sites.push_back(site);
  std::vector<Evaluator::Plan> plans;
  Choices plan(numSites());
  for (size_t site : sites) {
    plan[site] = Choice::drop();
    plans.push_back(planOf(plan));
  }
  std::vector<Measure> measures = measure(searcher, plans, "Algorithm 1");
  double before = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    result.algorithm1.push_back({sites[i], measures[i].added - before, measures[i]});
    before = measures[i].added;
  }
}

/// Sites dropped one after another, always the one that costs least with those dropped already. Losses mostly grow with
/// the others dropped, so only the most promising few are measured in each step.
void Session::greedy(Result &result) {
  constexpr size_t width = 3;
  constexpr double enough = 1.5; // times the exact perplexity
  Choice drop = Choice::drop();
  std::vector<std::pair<double, size_t>> open; // the least that a site is known to cost, and the site
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == drop)
      open.emplace_back(figure.measure.kl, figure.site);
  Choices plan(numSites());
  Measure before = result.exactSearch;
  before.kl = before.added = 0;
  for (size_t step = 0; step < options.greedySteps && !open.empty() && before.ratio() < enough; ++step) {
    std::sort(open.begin(), open.end());
    size_t tried = std::min(width, open.size());
    std::vector<Choices> plans;
    for (size_t i = 0; i < tried; ++i) {
      plans.push_back(plan);
      plans.back()[open[i].second] = drop;
    }
    std::vector<Candidate> measured = measureAll(plans, "greedy order, site " + std::to_string(step + 1));
    size_t best = 0;
    for (size_t i = 0; i < tried; ++i) {
      open[i].first = measured[i].measure.kl - before.kl;
      if (measured[i].measure.kl < measured[best].measure.kl)
        best = i;
    }
    plan = plans[best];
    result.greedy.push_back({open[best].second, measured[best].measure.added - before.added, measured[best].measure});
    before = measured[best].measure;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(best));
    for (Candidate &candidate : measured)
      seen.push_back(std::move(candidate));
  }
}

/// Thresholds between insensitive, sensitive and extremely sensitive sites, where the user gives none: the sorted
/// losses of dropping one site are cut at their two widest gaps, in logarithms.
void Session::proposeThresholds(Result &result) {
  if (options.thresholds.size() == 2) {
    result.tau1 = options.thresholds[0], result.tau2 = options.thresholds[1];
    result.tauReason = "given";
    return;
  }
  std::vector<double> losses;
  for (const Sensitivity &figure : result.sensitivity)
    if (figure.choice == Choice::drop())
      losses.push_back(std::max(figure.measure.kl, 1e-6));
  std::sort(losses.begin(), losses.end());
  if (losses.size() < 3) {
    result.tauReason = "too few sites to propose any";
    return;
  }
  // tau1: three times the median, below which a site hides among its like; tau2: the widest gap above that.
  result.tau1 = 3 * losses[losses.size() / 2];
  double widest = 0;
  result.tau2 = 10 * losses[losses.size() / 2];
  for (size_t i = 0; i + 1 < losses.size(); ++i)
    if (losses[i] > result.tau1 && losses[i + 1] / losses[i] > widest) {
      widest = losses[i + 1] / losses[i];
      result.tau2 = std::sqrt(losses[i] * losses[i + 1]);
    }
  char text[200];
  std::snprintf(text, sizeof text,
                "proposed: tau1 is three times the median divergence of a dropped site, tau2 lies in the widest gap "
                "above it");
  result.tauReason = text;
}

} // namespace caat::ablate
