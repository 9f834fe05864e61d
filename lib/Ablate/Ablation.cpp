// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Ablation.h"
#include "Session.h"
#include "caat/Ablate/Recipes.h"

namespace caat::ablate {

using runtime::Policies;

Choices defaultChoices() {
  Choices choices;
  for (const char *text :
       {"full", "8 bits", "4 bits, 8 exact", "3 bits, 8 exact", "8 bits, plain index", "defer 0.25 affine",
        "defer 0.69 4 bits, 4 exact rank 64 of both", "drop", "drop affine", "drop rank 64 of both"})
    choices.push_back(Choice::parse(text));
  return choices;
}

Result Session::run() {
  Result result;
  result.hasLogits = searchText.isTokens();
  result.workload = measureStep();
  cost.emplace(manifest(), options.link, result.workload);
  result.exactCost = cost->of(Choices(numSites()));
  if (!options.recipes.empty()) {
    for (const Recipe &recipe : readRecipes(options.recipes, manifest()))
      result.plans.push_back(
          {"recipe", recipe.label, {recipe.choices, {}, cost->of(recipe.choices)}, {}, false, false});
    measureHeldOut(result);
    timeOverLink(result);
    warn(result);
    result.measured = store.size();
    return result;
  }
  Choices exact(numSites());
  auto begin = Clock::now();
  bool known = store.find("search: exact", 0) != nullptr;
  result.exactSearch =
      measure(searcher, {{describe(exact, manifest()), Policies(numSites(), std::make_shared<runtime::SitePolicy>())}},
              "exact program")
          .front();
  if (!known) // the reference and the plan that is equal to it
    result.evaluationSeconds = secondsSince(begin) / 2;
  sweep(result);
  algorithm1(result);
  greedy(result);
  proposeThresholds(result);
  search(result);
  addOthers(result);
  measureHeldOut(result);
  continueSamples(result);
  timeOverLink(result);
  warn(result);
  result.measured = store.size();
  return result;
}

std::pair<int64_t, std::string> splitName(const std::string &site) {
  size_t first = site.find('.'), last = site.rfind('.');
  if (first == std::string::npos || first == last)
    return {-1, site};
  int64_t layer = 0;
  for (size_t i = first + 1; i < last; ++i) {
    if (site[i] < '0' || site[i] > '9' || layer > 1'000'000)
      return {-1, site};
    layer = layer * 10 + (site[i] - '0');
  }
  return {layer, site.substr(last + 1)};
}

Result ablate(const Options &options) {
  Session session(options);
  Result result = session.run();
  writeResults(options, result, session.manifest());
  return result;
}

} // namespace caat::ablate
