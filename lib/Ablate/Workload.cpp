// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The step that time is reckoned for: what it takes on this machine, without messages.
#include "Session.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate {

static int64_t lengthOf(const runtime::Tensor &tokens, int64_t most, const runtime::Manifest &manifest) {
  return std::min({most, tokens.shape[0], manifest.maxLength.value_or(most)});
}

/// As the runtime divides runs: a step of one sequence along its tokens, several rows along these.
Session::Step Session::describeStep() const {
  const runtime::HalvesSpec &halves = manifest().halves;
  int64_t units = 0, tokens = 0; // what is divided, and of all of it
  bool mayBeDivided = false;
  if (searchText.isTokens()) {
    units = tokens = lengthOf(data.begin()->second, options.stepTokens, manifest());
    mayBeDivided = halves.tokens.has_value();
  } else {
    for (const auto &[name, tensor] : searchText.at(0)) {
      units = tensor.shape[0];
      tokens = std::max(tokens, tensor.shape.size() > 1 ? units * tensor.shape[1] : units);
    }
    mayBeDivided = halves.batch.has_value();
  }
  if (!mayBeDivided || units < 2)
    return {tokens, 0};
  int64_t first = runtime::firstHalf(units);
  bool isLong = (units - first) * (tokens / units) >= runtime::fewestHalfRows;
  return {tokens, isLong ? static_cast<double>(first) / static_cast<double>(units) : 0};
}

void Session::step(runtime::Engine &on, const runtime::SiteRange &range) const {
  if (!searchText.isTokens()) {
    on.infer(searchText.at(0), range);
    return;
  }
  runtime::Tensor tokens = data.begin()->second;
  tokens.shape = {1, lengthOf(tokens, options.stepTokens, manifest())};
  on.start(tokens.shape[1]);
  on.step(tokens, runtime::Results::All, {}, range);
}

namespace {

/// The program with all sites alike.
struct Variant {
  runtime::Policies policies;
  double others;             // sites that do something else than sum in full
  double seconds = INFINITY; // of the step
};

} // namespace

/// What the exact program computes behind the sum of its last site: beside it no sum goes on. Of three runs the least.
double Session::measureHead() {
  engine.setPolicies({});
  runtime::Snapshot last;
  step(engine, {nullptr, numSites() - 1, &last});
  double seconds = INFINITY;
  for (int run = 0; run < 4; ++run) {
    engine.resetProfile();
    step(engine, {&last, {}, nullptr});
    runtime::Profile profile = engine.slowestProfile();
    if (run > 0) // the first one warms up
      seconds = std::min(seconds, profile.total - profile.communication);
  }
  return std::max(seconds, 0.0);
}

/// The step's compute on the rank that needs most, without its sites, and what sites do there beside their messages:
/// from the exact program, one with half of the channels deferred at every site, and one with all of them rounded. Of
/// three runs the least. A run that goes on takes what the first one measured: plans are chosen by it.
Workload Session::measureStep() {
  std::string what = "a step of at most " + std::to_string(options.stepTokens) + " tokens";
  auto [tokens, firstHalf] = describeStep();
  if (const std::vector<double> *known = store.findTimes(what); known && known->size() == 7) {
    const std::vector<double> &k = *known;
    return {static_cast<int64_t>(k[0]), k[1], k[2], k[3], k[4], k[5], k[6], firstHalf};
  }
  std::vector<Variant> variants;
  for (Choice choice :
       {Choice::full(), Choice::defer(0.5, Estimate::None, Order::Index), Choice::round(8, 0, true, Order::Index)}) {
    Choices plan;
    for (const runtime::SiteSpec &site : manifest().sites) {
      Choice mine = choice;
      mine.feedback = isPossible(choice, site);
      plan.push_back(isPossible(mine, site) ? mine : Choice::full());
    }
    auto others = std::count_if(plan.begin(), plan.end(), [](const Choice &c) { return !c.isFull(); });
    variants.push_back({fitter.fit(plan), static_cast<double>(others)});
  }
  double compute = INFINITY;
  for (int run = 0; run < 4; ++run)
    for (Variant &variant : variants) {
      engine.setPolicies(variant.policies);
      engine.resetProfile();
      auto begin = Clock::now();
      step(engine);
      double seconds = secondsSince(begin);
      if (run == 0) // warms up
        continue;
      variant.seconds = std::min(variant.seconds, seconds);
      runtime::Profile profile = engine.slowestProfile();
      compute = std::min(compute, profile.total - profile.communication);
    }
  auto sites = static_cast<double>(numSites());
  double sum = std::max(variants[0].seconds - compute, 0.0) / sites;
  // What is neither compute nor the work of full sums.
  auto work = [&](const Variant &variant) {
    double rest = variant.seconds - compute - (sites - variant.others) * sum;
    return variant.others > 0 ? std::max(rest / variant.others, 0.0) : 0;
  };
  // Estimates are products like the model's own.
  double flops = 0;
  for (const runtime::ParameterSpec &spec : engine.manifest().parameters)
    if (spec.linear)
      flops += 2 * static_cast<double>(tokens * spec.k() * spec.n());
  Workload workload{tokens,
                    compute,
                    flops > 0 ? compute / flops : 0,
                    sum,
                    work(variants[1]),
                    work(variants[2]),
                    std::min(measureHead(), compute),
                    firstHalf};
  store.addTimes(what, {static_cast<double>(tokens), compute, workload.flopSeconds, workload.sumSeconds,
                        workload.deferredSeconds, workload.roundedSeconds, workload.headSeconds});
  return workload;
}

} // namespace caat::ablate
